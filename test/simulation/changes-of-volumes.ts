import { KiB, MiB } from '../../src/platform/limits.ts';
import type { Campaign } from './campaign.ts';
import { SimulatedDaemon } from './simulated-daemon.ts';

/** Creates, fills, grows or deletes a volume, or tries what must be refused. */
export async function changeSomething(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  const groups = [...simulation.groups.values()];
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
        simulation.hosts.disconnect(host);
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
