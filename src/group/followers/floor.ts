import { segmentBytes } from '../../platform/limits.ts';
import type { KeptFollower } from '../catalog/follower-file.ts';
import { floorOwner, type FollowedGroup } from './follower-holds.ts';
import type { Member, Members } from '../catalog/members.ts';

/** Of the journal's capacity, so much is kept for systems that do not follow this one. */
const shareMax = 0.5;

/**
 * Keeps what another system of the group may need, should it follow this one next (SAFETY 15): everything
 * behind the position of the one that is furthest behind, as far as it finds room in a share of the journal.
 */
export class Floor {
  readonly #group: FollowedGroup;
  readonly #members: Members;
  readonly #followers: () => readonly KeptFollower[];

  constructor(group: FollowedGroup, members: Members, followers: () => readonly KeptFollower[]) {
    this.#group = group;
    this.#members = members;
    this.#followers = followers;
  }

  /** True: more may be released than before. */
  update(): boolean {
    const { retention, watermarks } = this.#group;
    const before = retention.get(floorOwner);
    const others = this.#elsewhere();
    if (others.length === 0) {
      retention.drop(floorOwner);
      return before !== undefined;
    }
    const lowest = Math.min(...others.map(({ received }) => received));
    const floor = Math.max(watermarks.released, this.#lowestWithRoom(), lowest);
    if (floor === before) return false;
    retention.drop(floorOwner);
    retention.set(floorOwner, floor);
    return before !== undefined && floor > before;
  }

  /** Everybody else is more important. */
  letGo(): boolean {
    const { retention } = this.#group;
    const isHeld = retention.get(floorOwner) !== undefined;
    retention.drop(floorOwner);
    return isHeld;
  }

  /** Followers hold what they and those below them need. */
  #elsewhere(): readonly Member[] {
    const holding = new Set<number>();
    for (const { systemId, state } of this.#followers()) {
      holding.add(systemId);
      // Those below one that is behind are behind themselves.
      if (state !== 'behind') continue;
      for (const below of this.#members.toldBy(systemId)) holding.add(below.systemId);
    }
    return this.#members.list().filter(({ systemId }) => !holding.has(systemId));
  }

  #lowestWithRoom(): number {
    const { chain } = this.#group;
    let bytes = chain.usedBytes;
    const bytesMax = chain.capacityBytes * shareMax;
    let lowest = 0;
    for (const { lastNumber } of chain.live()) {
      if (bytes <= bytesMax) return lowest;
      lowest = lastNumber;
      bytes -= segmentBytes;
    }
    return lowest;
  }
}
