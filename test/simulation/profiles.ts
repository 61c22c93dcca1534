import { dirname } from 'node:path';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { Campaign } from './campaign.ts';
import type { FaultCounter, FaultRule } from './faults.ts';
import type { CrashKind } from './journal-simulation.ts';
import { checkpointOnDevice } from './journal-tap.ts';
import { SimulatedDaemon } from './simulated-daemon.ts';
import type { SimulatedRandom } from './simulated-random.ts';
import type { SimulatedFile } from './simulated-file.ts';

/** What a seed's campaign is mostly about. */
export interface Profile {
  readonly bytesMax: number;
  readonly cacheMissChance?: number;
  setUp(campaign: Campaign): Promise<void>;
  step(campaign: Campaign): Promise<void>;
  /** Before the last life. */
  heal?(campaign: Campaign): Promise<void>;
}

/** Crashes of every kind, often soon after one another. */
const crashes: Profile = {
  bytesMax: 24 * MiB,
  async setUp(campaign) {
    await campaign.createGroups(campaign.anyGroups());
  },
  async step(campaign) {
    const { random } = campaign;
    if (random.chance(0.4)) {
      // A short life: a few writes of the size that was usual before.
      await campaign.traffic({ ...campaign.anyWorkload(), sizes: [campaign.favouriteBytes] }, 2);
    } else {
      await campaign.traffic();
      if (random.chance(0.3)) await campaign.rest();
    }
    if (random.chance(0.2)) campaign.simulation.machine.dropCache();
    await campaign.end();
    await campaign.restart();
  },
};

const deathRoles = [
  undefined,
  undefined,
  'segment',
  'volume',
  'checkpoint',
  'catalog',
  'area',
] as const;

function anyDeath(random: SimulatedRandom): FaultRule {
  const role = deathRoles[random.int(deathRoles.length)];
  return {
    kind: 'death',
    operation: random.pick(['write', 'write', 'sync', 'entry', 'sync_directory', 'read'] as const),
    ...(role === undefined ? {} : { role }),
    nth: random.between(1, random.pick([2, 10, 50])),
  };
}

/** The process dies in the middle of what it does to the disk, also while it starts. */
const deaths: Profile = {
  bytesMax: 16 * MiB,
  async setUp(campaign) {
    await campaign.createGroups(campaign.anyGroups());
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    const isOfEntries = random.chance(0.2);
    simulation.machine.faults.add(
      isOfEntries
        ? { kind: 'death', operation: 'sync_directory', nth: random.between(1, 2) }
        : anyDeath(random),
    );
    if (isOfEntries || random.chance(0.3)) await changeSomething(campaign);
    if (isOfEntries && !simulation.isServing) {
      await campaign.end('power');
      await campaign.restart();
    }
    await campaign.traffic();
    await campaign.rest();
    await campaign.end();
    if (random.chance(0.4)) simulation.machine.faults.add(anyDeath(random));
    await campaign.restart();
  },
};

/** Writes and syncs fail. */
const errors: Profile = {
  bytesMax: 16 * MiB,
  async setUp(campaign) {
    await campaign.createGroups(campaign.anyGroups());
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    const { faults } = simulation.machine;
    if (random.chance(0.5)) await campaign.traffic();
    for (let count = random.between(1, 2); count > 0; count -= 1) {
      simulation.excuses.add('disk');
      faults.add(anyError(campaign));
    }
    await campaign.traffic();
    await campaign.rest();
    if (random.chance(0.5)) await campaign.traffic();
    if (random.chance(0.3)) simulation.machine.dropCache();
    if (random.chance(0.3)) {
      faults.clear();
      await campaign.rest();
    }
    const isFailed =
      simulation.isServing &&
      [...simulation.daemon.composed.system.groups.values()].some(
        ({ state }) => state === 'abnormal',
      );
    await campaign.end(isFailed ? 'kill' : undefined);
    if (random.chance(0.2)) faults.add(anyError(campaign));
    else simulation.excuses.delete('disk');
    await campaign.restart();
    if (isFailed && random.chance(0.5)) {
      // What the page cache shows may be all there is of it.
      await campaign.end('power');
      simulation.excuses.delete('disk');
      await campaign.restart();
    }
  },
};

function anyError(campaign: Campaign): FaultRule {
  const { random } = campaign;
  const times = random.pick([1, 1, 3]);
  const nth = random.between(1, random.pick([1, 4, 20]));
  const rules: FaultRule[] = [
    { kind: 'sync_error', operation: 'sync', role: 'segment', nth, times },
    { kind: 'sync_error', operation: 'sync', role: 'segment', nth, times },
    { kind: 'write_error', operation: 'write', role: 'segment', nth, times },
    { kind: 'write_error', operation: 'write', role: 'volume', nth, times },
    { kind: 'sync_error', operation: 'sync', role: 'volume', nth, times: 1 },
    { kind: 'read_error', operation: 'read', role: 'segment', nth, times },
    { kind: 'read_error', operation: 'read', role: 'volume', nth, times },
    { kind: 'sync_error', operation: 'sync', role: 'checkpoint', nth: 1, times: 1 },
    { kind: 'write_error', operation: 'write', role: 'checkpoint', nth: 1, times: 1 },
    { kind: 'no_space', operation: 'write', role: 'volume', nth, times },
  ];
  return random.pick(rules);
}

/** The journal goes round and round while reads of what is in it take long. */
const rounds: Profile = {
  bytesMax: 150 * MiB,
  cacheMissChance: 0.3,
  async setUp(campaign) {
    const { random } = campaign;
    await campaign.createGroups([
      {
        name: 'alpha',
        areas: random.pick([0, 2]),
        layout: random.pick(['striped', 'spare']),
        volumes: [
          { name: 'v0', sizeBytes: 3 * MiB },
          { name: 'v1', sizeBytes: 1 * MiB + 512 },
        ],
      },
    ]);
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    const { faults } = simulation.machine;
    if (random.chance(0.7)) {
      faults.add({
        kind: 'slow',
        operation: 'read',
        role: 'segment',
        probability: 0.2,
        milliseconds: random.pick([100, 3000, 20_000]),
        isLaterOnly: true,
      });
    }
    await campaign.traffic(
      {
        mix: { write: 60, fua: 1, flush: 2, trim: 1, zeroes: 1, read: 20, status: 1, cache: 0 },
        sizes: [1 * MiB, 1 * MiB, 256 * KiB, 256 * KiB - 92, 4 * KiB],
        alignment: 512,
        hotBytes: 3 * MiB,
        depth: random.pick([4, 16]),
      },
      random.pick([40, 40, 200]),
      random.pick([8, 8, 50]) * MiB,
    );
    if (random.chance(0.2)) await campaign.rest();
    if (random.chance(0.3)) {
      await campaign.end();
      await campaign.restart();
    } else if (random.chance(0.31)) {
      // Power fails just when the journal has gone on in another segment.
      campaign.connectHosts();
      for (const host of simulation.hosts) host.work(60, 24 * MiB);
      const { rolls } = simulation.tap;
      await simulation.until(
        () => simulation.tap.rolls > rolls || [...simulation.hosts].every(({ isIdle }) => isIdle),
      );
      await simulation.pass(random.fraction() * 2);
      await campaign.end('power');
      await campaign.restart();
    }
  },
};

/** The disk is small, and now and then somebody else fills it. */
const space: Profile = {
  bytesMax: 70 * MiB,
  async setUp(campaign) {
    const { simulation, random } = campaign;
    campaign.simulation.standingExcuses.add('space');
    campaign.simulation.healed();
    await campaign.createGroups([
      {
        name: 'alpha',
        areas: 0,
        volumes: [
          { name: 'v0', sizeBytes: 8 * MiB },
          { name: 'v1', sizeBytes: 40 * MiB },
        ],
      },
    ]);
    // Of what is free 16 MiB are left for the file system itself.
    const { machine } = simulation;
    machine.capacityBytes = machine.allocatedBytes + (16 + random.pick([2, 6, 12])) * MiB;
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    const { machine } = simulation;
    await campaign.traffic(
      {
        ...campaign.anyWorkload(),
        sizes: random.pick([[4 * KiB, 64 * KiB, 256 * KiB], [1 * MiB]]),
        clearSizes: [4 * KiB, 1 * MiB, 32 * MiB],
        hotBytes: 40 * MiB,
      },
      undefined,
      24 * MiB,
    );
    // With nobody else on the disk, what was accepted fits.
    if (!campaign.isSpaceShared && campaign.hasBeenFull) {
      simulation.fail('apply had no room for what was accepted');
    }
    if (random.chance(0.2)) {
      const capacityBytes = machine.capacityBytes;
      machine.capacityBytes = machine.allocatedBytes + random.pick([0, 64 * KiB, 1 * MiB]);
      simulation.counter.count('space taken by others');
      campaign.isSpaceShared = true;
      await campaign.rest();
      await campaign.traffic();
      machine.capacityBytes = capacityBytes;
      if (simulation.isServing) await simulation.hostsDone();
    } else if (simulation.isServing) {
      await campaign.rest();
    }
    if (random.chance(0.4)) {
      await campaign.end();
      await campaign.restart();
    }
  },
};

/** Bits flip, areas vanish and come back. */
const damage: Profile = {
  bytesMax: 16 * MiB,
  async setUp(campaign) {
    const { random } = campaign;
    await campaign.createGroups([
      {
        name: 'alpha',
        areas: random.pick([0, 2, 3]),
        layout: random.pick(['striped', 'spare']),
        volumes: campaign.anyVolumes(),
      },
    ]);
  },
  async step(campaign) {
    const { random } = campaign;
    await campaign.traffic();
    if (random.chance(0.5)) await campaign.rest();
    await campaign.end(random.pick<CrashKind>(['kill', 'kill', 'stop', 'power']));
    const harm = random.pick([rotRecord, rotRecord, rotHeader, rotSmallFile, loseArea]);
    await harm(campaign);
  },
};

/** The file below a path, for whoever wants to harm it while nobody uses it. */
function fileAt(campaign: Campaign, path: string): SimulatedFile | undefined {
  const node = campaign.simulation.machine.tree.find(path);
  return node === undefined || node.isDirectory ? undefined : node;
}

/** Flips one bit; returns what flips it back, or `undefined` where the device does not show it. */
function flip(file: SimulatedFile, position: number, bit: number): (() => void) | undefined {
  const before = new Uint8Array(1);
  const after = new Uint8Array(1);
  file.readDirect(before, 0, 1, position);
  file.flipBitAt(position, bit);
  file.readDirect(after, 0, 1, position);
  if (before[0] !== after[0]) return () => file.flipBitAt(position, bit);
  file.flipBitAt(position, bit);
  return undefined;
}

/** What recovery will start behind. */
function checkpointOf(campaign: Campaign, group: string): number {
  return checkpointOnDevice(campaign.simulation.machine, `/data/groups/${group}`) ?? 0;
}

/** A record that was durable, and that something says was durable, changes (SAFETY 3). */
async function rotRecord(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const model = simulation.modelOf('alpha');
  const applied = checkpointOf(campaign, 'alpha');
  const evidence = simulation.tap.evidence(model.groupId);
  const records = [...model.recordsAfter(applied)].filter(
    ({ number, file, changeNumber, isWhole }) =>
      number <= evidence && isWhole && simulation.tap.syncs.isDurable(file, changeNumber),
  );
  const record = records.length > 0 ? random.pick(records) : undefined;
  if (!record) {
    await campaign.restart();
    return;
  }
  const bytes = 28 + (record.payload?.length ?? 0);
  const flipBack = flip(record.file, record.position + random.int(bytes), random.int(8));
  if (!flipBack) {
    await campaign.restart();
    return;
  }
  simulation.counter.count('bit_rot');
  simulation.note(`bit of update ${record.number} flips, ${evidence} was marked durable`);
  simulation.expectedDamage.set('alpha', record.number);
  await campaign.restart();
  if (random.chance(0.3)) await campaign.rest();
  await campaign.end();
  flipBack();
  simulation.expectedDamage.delete('alpha');
  await campaign.restart();
}

/** One of the two copies of a segment's header changes: nobody notices. */
async function rotHeader(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const model = simulation.modelOf('alpha');
  const records = [...model.recordsAfter(0)];
  const record = records.length > 0 ? random.pick(records) : undefined;
  const at = random.pick([0, 2048]) + random.int(96);
  const flipBack = record && flip(record.file, at, random.int(8));
  if (flipBack) simulation.counter.count('bit_rot');
  await campaign.restart();
  if (!flipBack) return;
  await campaign.end();
  flipBack();
  await campaign.restart();
}

/** The catalog, the checkpoint or the identity of an area changes: it is found, and nothing is lost. */
async function rotSmallFile(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const directory = dirname(
    simulation.modelOf('alpha').record(simulation.modelOf('alpha').newest)?.path ?? '/none/x',
  );
  const path = random.pick([
    '/data/groups/alpha/catalog',
    '/data/groups/alpha/checkpoint',
    '/data/groups/alpha/checkpoint',
    '/data/groups/alpha/head',
    `${directory}/area`,
  ]);
  const file = fileAt(campaign, path);
  const undo: (() => void)[] = [];
  if (file) {
    const isCheckpoint = path.endsWith('checkpoint') || path.endsWith('head');
    const slots = isCheckpoint ? random.pick([[0], [4096], [0, 4096]]) : [0];
    for (const slot of slots) {
      const at = slot + random.int(isCheckpoint ? 80 : file.sizeBytes);
      const flipBack = flip(file, at, random.int(8));
      if (flipBack) undo.push(flipBack);
    }
  }
  if (undo.length === 0) {
    await campaign.restart();
    return;
  }
  simulation.counter.count('bit_rot');
  simulation.excuses.add('start');
  simulation.expectedDamage.set('alpha', 'maybe');
  simulation.note(`a bit of ${path} flips`);
  const result = await simulation.start();
  if (result === 'serving') await campaign.end();
  for (const flipBack of undo) flipBack();
  simulation.excuses.delete('start');
  simulation.expectedDamage.delete('alpha');
  await campaign.restart();
}

/** A directory of the journal is not there for a while. */
async function loseArea(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const { machine } = simulation;
  const areas = machine.tree.find('/areas');
  const names = areas?.isDirectory ? [...areas.entries.keys()] : [];
  const name = names.length > 0 ? random.pick(names) : undefined;
  if (!name) {
    await campaign.restart();
    return;
  }
  const move = (from: string, to: string): void => {
    machine.faults.without(() => {
      const disk = machine.attach();
      disk.renameSync(from, to);
      disk.syncDirectorySync('/');
      disk.syncDirectorySync('/areas');
      disk.kill();
    });
  };
  simulation.note(`area ${name} vanishes`);
  simulation.counter.count('area vanished');
  move(`/areas/${name}`, `/${name}`);
  simulation.expectedDamage.set('alpha', 'maybe');
  simulation.excuses.add('start');
  // What was not durable may be gone with it: nothing else could know of it.
  simulation.expectDurableOnly();
  const result = await simulation.start();
  if (result === 'serving') {
    if (random.chance(0.7)) {
      await campaign.traffic();
      if (random.chance(0.3)) await campaign.rest();
    }
    await campaign.end();
  }
  move(`/${name}`, `/areas/${name}`);
  simulation.note(`area ${name} is back`);
  simulation.expectedDamage.delete('alpha');
  simulation.excuses.delete('start');
  await campaign.restart();
}

/** Volumes that store nothing: their journal is all there is. */
const journalOnly: Profile = {
  bytesMax: 90 * MiB,
  async setUp(campaign) {
    const { simulation, random } = campaign;
    const onFull = random.pick(['suspend', 'throttle', 'fail'] as const);
    simulation.standingExcuses.add('space').add('stall');
    simulation.healed();
    await campaign.createGroups([
      {
        name: 'alpha',
        areas: random.pick([0, 2]),
        layout: random.pick(['striped', 'spare']),
        onFull,
        volumes: [
          { name: 'v0', sizeBytes: 16 * MiB, journalOnly: true },
          ...(random.chance(0.5) ? [{ name: 'v1', sizeBytes: 1 * MiB }] : []),
        ],
      },
    ]);
  },
  async step(campaign) {
    const { random } = campaign;
    await campaign.traffic(
      {
        mix: { write: 60, fua: 2, flush: 2, trim: 2, zeroes: 2, read: 3, status: 1, cache: 1 },
        sizes: [1 * MiB, 256 * KiB, 64 * KiB, 4 * KiB],
        alignment: 512,
        hotBytes: 16 * MiB,
        depth: 8,
      },
      60,
    );
    if (random.chance(0.5)) await campaign.rest();
    if (random.chance(0.3)) {
      await campaign.end();
      await campaign.restart();
    }
  },
};

/** Volumes and groups come, grow and go; areas are slow; the wall clock jumps. */
const changes: Profile = {
  bytesMax: 16 * MiB,
  async setUp(campaign) {
    await campaign.createGroups(campaign.anyGroups());
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    await campaign.traffic();
    if (random.chance(0.3)) {
      simulation.clock.jumpWall(random.pick([-86_400_000, -1000, 1000, 86_400_000 * 40]));
      simulation.counter.count('clock jumped');
    }
    if (random.chance(0.3)) {
      simulation.machine.faults.add({
        kind: 'slow',
        operation: 'sync',
        role: 'segment',
        times: random.between(1, 6),
        milliseconds: random.pick([500, 2000, 5000]),
      });
    }
    for (let count = random.between(1, 3); count > 0; count -= 1) await changeSomething(campaign);
    await campaign.traffic();
    await failSlowArea(campaign);
    if (random.chance(0.2)) await campaign.simulation.pass(31_000);
    if (random.chance(0.5)) {
      await campaign.end();
      await campaign.restart();
    }
  },
};

/** Where an area is slow, the others fail, and then it does too. */
async function failSlowArea(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  const groups = [...simulation.daemon.composed.system.groups.values()];
  if (!groups.some(({ areas }) => areas.some(({ state }) => state === 'slow'))) return;
  if (random.chance(0.5)) return;
  simulation.excuses.add('disk');
  const times = random.between(1, 4);
  simulation.machine.faults.add({ kind: 'sync_error', operation: 'sync', role: 'segment', times });
  await campaign.traffic();
  await campaign.end();
  simulation.excuses.delete('disk');
  await campaign.restart();
}

async function changeSomething(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  const groups = [...simulation.daemon.composed.system.groups.values()];
  const group = groups.length > 0 ? random.pick(groups) : undefined;
  if (!group || group.state !== 'normal') return;
  const volumes = [...group.volumes.values()];
  const volume = volumes.length > 0 ? random.pick(volumes) : undefined;
  const name = `${group.name}/n${simulation.clock.events}-${random.int(1000)}`;
  const what = random.pick(['create', 'create', 'resize', 'delete', 'import', 'refused', 'second']);
  if (what === 'create') {
    await simulation.verb('volume-create', { volume: name, size: '256KiB' });
  } else if (what === 'import') {
    await importVolume(campaign, name);
  } else if (what === 'second') {
    await secondDaemon(campaign);
  } else if (!volume) {
    return;
  } else if (what === 'resize') {
    const size = volume.catalog.sizeBytes + random.pick([512, 64 * KiB, 300 * KiB]);
    await simulation.verb('volume-resize', {
      volume: `${group.name}/${volume.catalog.name}`,
      size: String(size),
    });
  } else if (what === 'delete') {
    if (volumes.length === 1) return;
    for (const host of simulation.hosts) {
      if (host.group === group.name && host.volume === volume.catalog.name)
        simulation.disconnect(host);
    }
    if ((await simulation.pass(5)) !== 'done') return;
    await simulation.verb('volume-delete', {
      volume: `${group.name}/${volume.catalog.name}`,
      force: true,
    });
  } else {
    const path = `${group.name}/${volume.catalog.name}`;
    const size = String(volume.catalog.sizeBytes + 512);
    const [verb, input, code] = random.pick([
      ['volume-create', { volume: path, size }, 'exists_differently'],
      ['volume-resize', { volume: path, size: '512' }, 'volume_shrink'],
      [
        'volume-delete',
        { volume: path },
        volume.sessions.size > 0 ? 'volume_in_use' : 'confirmation_needed',
      ],
      ['group-delete', { group: group.name }, 'group_not_empty'],
      ['volume-resize', { volume: `${group.name}/none`, size }, 'volume_not_found'],
    ] as const);
    await simulation.verb(verb, input, code);
  }
}

/** A file with holes. */
function writeSource({ simulation, random }: Campaign, contents: Buffer): void {
  const disk = simulation.machine.attach();
  const file = disk.openSync('/source', 'open-or-create', 'import');
  file.truncateSync(0);
  file.truncateSync(contents.length);
  for (let at = 0; at < contents.length; at += 32 * KiB) {
    if (random.chance(0.3)) continue;
    const length = Math.min(32 * KiB, contents.length - at);
    random.fill(contents, at, length);
    file.writeSync(contents, at, length, at);
  }
  disk.kill();
}

async function importVolume(campaign: Campaign, name: string): Promise<void> {
  const { simulation, random } = campaign;
  const contents = Buffer.alloc(random.pick([64 * KiB, 300 * KiB + 512, 1 * MiB]));
  simulation.machine.faults.without(() => writeSource(campaign, contents));
  simulation.tap.ledger.imports.add(contents);
  const isAborted = random.chance(0.2);
  await simulation.verb(
    'volume-create',
    { volume: name, from: '/source' },
    isAborted ? 'state_refuses' : undefined,
    isAborted ? new AbortController() : undefined,
  );
  simulation.tap.ledger.imports.delete(contents);
}

/** Another daemon on the same directory is refused, and harms nobody. */
async function secondDaemon(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const second = new SimulatedDaemon(simulation, random.fork(`second ${simulation.clock.events}`));
  const result = await simulation.settled(second.starting);
  const isKilled = second.isDead;
  second.exited();
  if (isKilled || typeof result === 'string') return;
  if (!('error' in result)) return simulation.fail('two daemons serve one data directory');
  const code: unknown = Reflect.get(result.error as object, 'code');
  simulation.counter.count(`start refused: ${String(code)}`);
  if (code !== 'data_directory_locked')
    simulation.fail(`the second daemon: ${String(result.error)}`);
}

export const profiles = {
  crashes,
  deaths,
  errors,
  rounds,
  space,
  damage,
  journalOnly,
  changes,
} as const satisfies Record<string, Profile>;

export type ProfileName = keyof typeof profiles;
export const profileNames = Object.keys(profiles) as ProfileName[];

export interface SeedResult {
  readonly seed: number;
  readonly profile: ProfileName;
  readonly campaign: Campaign;
  readonly failure: string | undefined;
}

/** Runs one seed. The profile follows from it where none is named. */
export async function runSeed(
  seed: number,
  counter: FaultCounter,
  options: { readonly profile?: ProfileName; readonly steps?: number; readonly verbose?: boolean },
): Promise<SeedResult> {
  const name = options.profile ?? profileNames[seed % profileNames.length] ?? 'crashes';
  const profile: Profile = profiles[name];
  const { cacheMissChance, bytesMax } = profile;
  const campaign = new Campaign(
    seed,
    counter,
    {
      verbose: options.verbose ?? false,
      ...(cacheMissChance === undefined ? {} : { cacheMissChance }),
    },
    bytesMax,
  );
  const { simulation } = campaign;
  let failure: string | undefined;
  try {
    await simulation.start();
    await profile.setUp(campaign);
    for (let step = 0; step < (options.steps ?? 12); step += 1) await profile.step(campaign);
    simulation.machine.capacityBytes = Number.POSITIVE_INFINITY;
    await campaign.wind();
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  return { seed, profile: name, campaign, failure };
}
