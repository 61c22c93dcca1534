import type { CatalogSnapshot } from '../../../src/group/catalog/snapshots.ts';
import type { Group } from '../../../src/group/order/group.ts';
import { JnbdError } from '../../../src/platform/errors.ts';
import { KiB } from '../../../src/platform/limits.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { Fleet, type FleetSystem } from '../../replicator/fleet.ts';
import type { FaultCounter } from '../faults.ts';
import type { SimulatedRandom } from '../simulated-random.ts';
import { WrittenDisk, type WritingMachine } from '../written-disk.ts';

/** What was promised did not hold. */
export class IdentityFailed extends Error {}

export const groupName = 'g';
export const volumes = [
  { name: 'v', sizeBytes: 768 * KiB },
  // No multiple of a block.
  { name: 'w', sizeBytes: 97 * KiB + 512 },
] as const;

/** What somebody writes to on one system alone. */
export interface KnownClone {
  readonly system: FleetSystem;
  readonly name: string;
  /** The number of its snapshot, or of what its view shows. */
  readonly number: number;
  readonly kind: 'clone' | 'view';
  readonly disk: WrittenDisk;
}

/** A primary, one that follows it, and one that follows that one: all of them have the same. */
export class IdentityCampaign {
  readonly random: SimulatedRandom;
  readonly counter: FaultCounter;
  readonly fleet: Fleet;
  /** The primary is the first, and each follows the one before it. */
  readonly systems: FleetSystem[] = [];
  readonly history = new History();
  readonly clones = new Set<KnownClone>();
  readonly log: string[] = [];
  readonly #isVerbose: boolean;
  #names = 0;
  records = 0;
  bytes = 0;

  constructor(seed: number, counter: FaultCounter, isVerbose: boolean) {
    this.counter = counter;
    this.#isVerbose = isVerbose;
    this.fleet = new Fleet(`identity ${seed}`, { counter, cacheMissChance: 0.1 });
    this.random = this.fleet.random.fork('campaign');
  }

  async setUp(): Promise<void> {
    const { random } = this;
    const names = ['alpha', 'beta', 'gamma'].slice(0, random.between(2, 3));
    for (const name of names) this.systems.push(await this.fleet.start(name));
    const { primary } = this;
    await primary.verb('group create', { group: groupName, journalSize: '64MiB' });
    for (const { name, sizeBytes } of volumes)
      await primary.verb('volume create', { volume: `${groupName}/${name}`, size: sizeBytes });
    await this.write(random.between(1, 40));
    for (const [at, follower] of this.followers.entries())
      await follower.verb('follow', { group: groupName, from: this.systems[at]?.url });
    await this.caughtUp();
  }

  get primary(): FleetSystem {
    const [first] = this.systems;
    if (!first) throw new Error('nobody is there');
    return first;
  }

  get followers(): readonly FleetSystem[] {
    return this.systems.slice(1);
  }

  newName(letter: string): string {
    this.#names += 1;
    return `${letter}${this.#names}`;
  }

  note(text: string): void {
    const line = `${this.fleet.clock.monotonicMilliseconds().toFixed(3)} ${text}`;
    this.log.push(line);
    if (this.#isVerbose) console.log(line);
  }

  fail(text: string): never {
    throw new IdentityFailed(text);
  }

  async pass(milliseconds: number): Promise<void> {
    let isOver = false;
    this.fleet.clock.after(milliseconds, () => {
      isOver = true;
    });
    await this.fleet.clock.runUntil(() => isOver, milliseconds + 1000);
  }

  /** One after the other, by a host at the primary. */
  async write(count: number): Promise<void> {
    const { random, primary } = this;
    const { name, sizeBytes } = random.pick(volumes);
    const host = new TestHost(primary, `${groupName}/${name}`, this.history);
    for (let left = count; left > 0; left -= 1) {
      const length = 512 * random.between(1, random.pick([8, 24, 80]));
      const offset = 512 * random.int((sizeBytes - length) / 512 + 1);
      if (random.chance(0.1)) await host.clear(random.pick(['zero', 'hole']), offset, length);
      else await host.write(offset, random.bytes(length));
      this.records += 1;
      this.bytes += length;
    }
    if (random.chance(0.5)) await host.flush();
    host.close();
  }

  /** Everybody has all, and it is in the volumes. */
  async caughtUp(): Promise<void> {
    const { primary } = this;
    const isThere = (): boolean => {
      const { newest } = primary.group().watermarks;
      return this.systems.every((system) => {
        // Not there while its journal begins anew.
        const group = system.system.groups.get(groupName);
        if (!group || group.watermarks.applied !== newest) return false;
        const followers = group.followers.list();
        return isComplete(group) && followers.every(({ state }) => state === 'following');
      });
    };
    await this.fleet.clock.runUntil(isThere, 120_000);
  }

  /** Snapshots of users that are there. */
  snapshotsOf(system: FleetSystem): readonly CatalogSnapshot[] {
    const { snapshots, catalog } = system.group();
    return snapshots.living.filter(
      ({ number, name }) => number <= catalog.number && !name.startsWith('.'),
    );
  }

  /** What the volume held at that number. */
  contents(volume: (typeof volumes)[number], number: number): Buffer {
    return this.history.contents(`${groupName}/${volume.name}`, volume.sizeBytes, number);
  }

  addClone(
    system: FleetSystem,
    kind: KnownClone['kind'],
    name: string,
    number: number,
    volume = this.random.pick(volumes),
  ): void {
    const disk = new WrittenDisk(
      machineOf(system, this.random),
      `${groupName}/${volume.name}@${name}`,
      this.contents(volume, number),
    );
    this.clones.add({ system, name, number, kind, disk });
  }

  /** As its daemon answers; a refusal is a JnbdError. */
  async ask(system: FleetSystem, verb: string, input: object): Promise<unknown> {
    this.note(`${system.host}: ${verb} ${JSON.stringify(input)}`);
    try {
      return await system.verb(verb, input);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      this.note(`${system.host}: ${error.code}: ${error.message}`);
      return error;
    }
  }
}

function isComplete({ follow, state }: Group): boolean {
  const { copies = [], resync } = follow.state ?? {};
  return state === 'normal' && copies.length === 0 && !resync;
}

function machineOf(system: FleetSystem, random: SimulatedRandom): WritingMachine {
  const own = random.fork(`written ${system.host}`);
  return {
    random: own,
    get system() {
      return system.system;
    },
    get disk() {
      return system.disk;
    },
    until: (isDone) => system.until(isDone),
    run: (promise) => system.run(promise),
  };
}
