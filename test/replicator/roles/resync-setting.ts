import type { Group } from '../../../src/group/order/group.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

export const sizeBytes = 8 * MiB;
const pieceBytes = 120 * KiB;
/** Where hosts write while a follower is away: the difference is no larger. */
export const changedBytes = 1 * MiB;

/** Whether all that the group's volumes hold is of one instant. */
export function isConsistent(group: Group): boolean {
  const { copies = [], shows = 0, resync } = group.follow.state ?? {};
  return copies.length === 0 && !resync && group.watermarks.applied >= shows;
}

/** A primary, a follower, and one that follows that. */
export class ResyncSetting {
  readonly fleet: Fleet;
  readonly history = new History();
  readonly primary: FleetSystem;
  readonly secondary: FleetSystem;
  readonly #cascade: FleetSystem | undefined;

  private constructor(
    fleet: Fleet,
    primary: FleetSystem,
    secondary: FleetSystem,
    cascade: FleetSystem | undefined,
  ) {
    this.fleet = fleet;
    this.primary = primary;
    this.secondary = secondary;
    this.#cascade = cascade;
  }

  static async begin(seed: string, hasCascade = false): Promise<ResyncSetting> {
    const fleet = new Fleet(seed);
    const primary = await fleet.startPrimary(sizeBytes);
    const secondary = await fleet.start('beta');
    await secondary.verb('follow', { group: 'g', from: primary.url });
    const cascade = hasCascade ? await fleet.start('gamma') : undefined;
    await cascade?.verb('follow', { group: 'g', from: secondary.url });
    const setting = new ResyncSetting(fleet, primary, secondary, cascade);
    await setting.write(60, 0, sizeBytes);
    await secondary.caughtUp(primary);
    await cascade?.caughtUp(primary);
    const { newest } = primary.group().watermarks;
    for (const source of cascade ? [primary, secondary] : [primary]) {
      await source.until(() => source.status().secondaries[0]?.received === newest);
    }
    return setting;
  }

  get cascade(): FleetSystem {
    if (this.#cascade) return this.#cascade;
    throw new Error('nobody follows the follower');
  }

  async write(count: number, from: number, to: number): Promise<void> {
    const host = new TestHost(this.primary, 'g/v', this.history);
    const { random } = this.fleet;
    for (let i = 0; i < count; i += 1) {
      const length = 512 * (1 + Math.floor(random.fraction() * (pieceBytes / 512)));
      const offset = from + 512 * Math.floor(random.fraction() * ((to - from - length) / 512));
      if (random.fraction() < 0.1) await host.clear('hole', offset, length);
      else await host.write(offset, Buffer.alloc(length, 1 + (random.next() % 255)));
    }
    await host.flush();
    host.close();
  }

  /** While the follower is away the journal of its source goes round. */
  async leaveBehind(at = 2 * MiB, follower = 'beta'): Promise<void> {
    const { primary } = this;
    const isBehind = (): boolean =>
      primary.status().secondaries.find(({ name }) => name === follower)?.state === 'behind';
    for (let round = 0; !isBehind(); round += 1) {
      if (round > 60) throw new Error('the follower is not left behind');
      await this.write(50, at, at + changedBytes);
    }
    await this.write(50, at, at + changedBytes);
  }

  expected(number: number): Buffer {
    return this.history.contents('g/v', sizeBytes, number);
  }

  /** All that the source has is there, and of one instant. */
  async resynced(system: FleetSystem, source = this.primary): Promise<void> {
    await system.until(() => {
      const group = system.system.groups.get('g');
      if (!group || !isConsistent(group)) return false;
      const { applied, newest } = group.watermarks;
      return applied === newest && newest === source.group().watermarks.newest;
    });
  }
}
