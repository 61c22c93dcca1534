import { shownVolumes } from '../../src/group/apply/volume.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { checkBackingFiles } from './backing-files.ts';
import type { FaultCounter } from './faults.ts';
import type { CrashKind } from './crash-kind.ts';
import { JournalSimulation, type Outcome, type SimulationOptions } from './journal-simulation.ts';
import type { SimulatedRandom } from './simulated-random.ts';
import type { Workload } from './work-host.ts';

export interface VolumeShape {
  readonly name: string;
  readonly sizeBytes: number;
  readonly journalOnly?: boolean;
}

export interface GroupShape {
  readonly name: string;
  readonly volumes: readonly VolumeShape[];
  /** Journal directories of its own; 0: one below the data directory. */
  readonly areas: number;
  readonly layout?: 'striped' | 'spare';
  readonly onFull?: 'suspend' | 'throttle' | 'fail';
}

const volumeSizesDefault = [64 * KiB, 1 * MiB, 1 * MiB + 512, 2 * MiB];

/** What profiles are made of: hosts at work, crashes, restarts and checks, as the seed wants them. */
export class Campaign {
  readonly simulation: JournalSimulation;
  readonly random: SimulatedRandom;
  /** Somebody else took space: apply may be short of it. */
  isSpaceShared = false;
  readonly #fullBefore: number;
  readonly #favouriteBytes: number;
  /** What hosts may still write in all. */
  #bytesLeft: number;

  constructor(
    seed: number | string,
    counter: FaultCounter,
    options: SimulationOptions,
    bytesMax: number,
  ) {
    this.simulation = new JournalSimulation(seed, counter, options);
    this.random = this.simulation.random.fork('campaign');
    this.#favouriteBytes = this.random.pick([512, 4 * KiB, 4 * KiB, 4 * KiB, 16 * KiB]);
    this.#bytesLeft = bytesMax;
    this.#fullBefore = counter.of('disk_full');
  }

  /** Something did not fit the disk. */
  get hasBeenFull(): boolean {
    return this.simulation.counter.of('disk_full') > this.#fullBefore;
  }

  get favouriteBytes(): number {
    return this.#favouriteBytes;
  }

  /** How much a host may write, of what a profile would like. */
  bytesLeft(wanted: number): number {
    return Math.max(0, Math.min(wanted, this.#bytesLeft));
  }

  /** Nothing but chance: one or two groups of a few small volumes. */
  anyGroups(sizes?: readonly number[]): GroupShape[] {
    const { random } = this;
    return ['alpha', 'beta'].slice(0, random.between(1, 2)).map((name) => ({
      name,
      areas: random.pick([0, 0, 2, 3]),
      layout: random.pick(['striped', 'spare']),
      volumes: this.anyVolumes(sizes),
    }));
  }

  anyVolumes(sizes: readonly number[] = volumeSizesDefault): VolumeShape[] {
    const { random } = this;
    return Array.from({ length: random.between(1, 3) }, (_, at) => ({
      name: `v${at}`,
      sizeBytes: random.pick(sizes),
    }));
  }

  async createGroups(shapes: readonly GroupShape[]): Promise<void> {
    const { simulation, random } = this;
    for (const { name, areas, layout, onFull, volumes } of shapes) {
      const journalDir = Array.from({ length: areas }, (_, at) => `/areas/${name}-${at}`);
      const result = await simulation.verb('group-create', {
        group: name,
        journalSize: '64MiB',
        ...(areas === 0 ? {} : { journalDir, areas: layout ?? 'striped' }),
        ...(onFull === undefined ? {} : { onFull }),
        syncInterval: random.pick(['1ms', '20ms', '50ms']),
      });
      if (result !== 'done') return;
      simulation.tap.forgetOthers(name, simulation.groups.get(name)?.catalog.groupId);
      simulation.restarts.groupNames.add(name);
      for (const { name: volume, sizeBytes, journalOnly } of volumes) {
        await simulation.verb('volume-create', {
          volume: `${name}/${volume}`,
          size: String(sizeBytes),
          ...(journalOnly ? { journalOnly } : {}),
        });
      }
    }
  }

  /** Groups that nobody uses, but that share the memory: little is left for what is not synced. */
  async createCrowd(count: number): Promise<void> {
    for (let at = 0; at < count; at += 1) {
      const name = `a${String(at).padStart(2, '0')}`;
      await this.createGroups([{ name, areas: 0, volumes: [] }]);
    }
  }

  anyWorkload(): Workload {
    const { random } = this;
    const small = [512, 1 * KiB, 4 * KiB, 4 * KiB, 8 * KiB, 12 * KiB];
    const large = [64 * KiB, 256 * KiB, 1 * MiB, 700_001];
    const sizes = random.chance(0.5)
      ? [this.#favouriteBytes]
      : random.chance(0.7)
        ? [...small, this.#favouriteBytes, 64 * KiB]
        : [...small, ...large];
    return {
      mix: {
        write: 50,
        fua: random.pick([0, 2, 10]),
        flush: random.pick([0, 2, 10]),
        trim: random.pick([0, 3, 10]),
        zeroes: random.pick([0, 3, 10]),
        read: random.pick([0, 10, 20]),
        status: 3,
        cache: 1,
      },
      sizes,
      alignment: random.pick([1, 512, 512, 4096]),
      hotBytes: random.pick([16 * KiB, 128 * KiB, 1 * MiB]),
      depth: random.pick([1, 4, 16, 64]),
    };
  }

  /** Hosts on some of the volumes, several on one now and then. */
  connectHosts(workload?: Workload): void {
    const { simulation, random } = this;
    for (const group of simulation.groups.values()) {
      if (group.state !== 'normal') continue;
      for (const volume of shownVolumes(group.volumes)) {
        if (volume.state !== 'normal' || volume.rollsBackTo !== undefined) continue;
        for (let count = random.pick([0, 1, 1, 2]); count > 0; count -= 1) {
          simulation.hosts.connect(group.name, volume.catalog.name, workload ?? this.anyWorkload());
        }
      }
    }
  }

  disconnectHosts(): void {
    const { simulation } = this;
    for (const host of simulation.hosts) simulation.hosts.disconnect(host);
  }

  /** Hosts write and read for a while; they may be in the middle of it when this returns. */
  async traffic(workload?: Workload, requestsMax?: number, bytesMax = 8 * MiB): Promise<Outcome> {
    const { simulation, random } = this;
    if (!simulation.isServing) return 'dead';
    if (simulation.hosts.size === 0 || random.chance(0.3)) {
      if (random.chance(0.5)) this.disconnectHosts();
      this.connectHosts(workload);
    }
    const requests = requestsMax ?? random.pick([1, 3, 20, 100, 300]);
    for (const host of simulation.hosts) {
      const bytes = this.bytesLeft(bytesMax);
      if (bytes > 0) host.work(random.int(requests) + 1, bytes);
    }
    const before = simulation.tap.segments.recordBytes;
    const outcome = random.chance(0.3)
      ? await simulation.pass(random.fraction() * random.pick([1, 5, 50]))
      : await simulation.hostsDone();
    this.#bytesLeft -= simulation.tap.segments.recordBytes - before;
    return outcome;
  }

  /** Time in which what is due gets done: syncs, marks, apply, checkpoints. */
  async rest(): Promise<Outcome> {
    if (!this.simulation.isServing) return 'dead';
    return this.simulation.pass(this.random.pick([1, 30, 100, 1500, 8000]));
  }

  anyCrash(): CrashKind {
    return this.random.pick<CrashKind>(['kill', 'kill', 'power', 'power', 'stop']);
  }

  /** Ends this life of the daemon, if a fault has not done so. */
  async end(kind: CrashKind = this.anyCrash()): Promise<void> {
    const { simulation } = this;
    if (!simulation.isServing) {
      simulation.crash(kind === 'power' ? 'power' : 'kill');
      return;
    }
    if (kind === 'stop') await simulation.stop();
    else simulation.crash(kind);
  }

  /** Starts the daemon, again and again until it serves. */
  async restart(): Promise<void> {
    const { simulation, random } = this;
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const result = await simulation.start();
      if (result === 'serving') {
        if (random.chance(0.4)) await this.verify();
        return;
      }
      simulation.note(`start ended: ${result}`);
      simulation.machine.faults.clear();
      if (result === 'dead') simulation.crash(random.pick<CrashKind>(['kill', 'power']));
    }
    simulation.fail('the daemon does not start');
  }

  async verify(): Promise<void> {
    if (this.simulation.isServing) await this.simulation.verify();
  }

  /** A life without faults: everything heals, is applied and is looked at. */
  async wind(): Promise<void> {
    const { simulation } = this;
    simulation.machine.faults.clear();
    await this.end();
    simulation.excuses.healed();
    await this.restart();
    await simulation.pass(20_000);
    checkBackingFiles(simulation);
    await simulation.verify();
    await simulation.stop();
    await this.restart();
    await simulation.verify();
    await simulation.stop();
  }
}
