import type { Checkpoint } from '../../journal/checkpoint.ts';
import type { Retention } from '../../journal/retention.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Watermarks } from '../../journal/watermarks.ts';
import type { ApplyDriver } from '../apply/apply-driver.ts';
import type { Catalog, ReleaseRule } from '../catalog/catalog.ts';
import type { Conditions } from '../catalog/conditions.ts';
import { dirtyMapOwner, type KeptMap } from '../catalog/dirty-map-files.ts';
import type { FollowerCursor } from './follower-cursor.ts';
import type { KeptFollower } from '../catalog/follower-file.ts';
import type { Member } from '../catalog/members.ts';
import type { GroupState } from '../catalog/states.ts';
import { historyOwner } from '../views/history-group.ts';

/** What systems that do not follow this one may need. */
export const floorOwner = 'floor';

/** What dirty maps need of their group. */
export interface MappedGroup extends FollowedGroup {
  readonly name: string;
  readonly driver: ApplyDriver;
  readonly applyState: string;
  readonly isReadable: boolean;
  readonly state: GroupState;
  /** Ids of volumes whose records change blocks here. */
  readonly storing: ReadonlySet<number>;
}

/** What followers need of their group. */
export interface FollowedGroup {
  readonly catalog: Catalog;
  readonly chain: SegmentChain;
  readonly retention: Retention;
  readonly watermarks: Watermarks;
  readonly conditions: Conditions;
  /** Another follower, or another state of one. */
  changed(): void;
  /** A hold moved or is gone. */
  release(): void;
  readonly synchronous: { heard(cursor: FollowerCursor): void };
}

function hasJournalOnlyVolumes({ volumes }: Catalog): boolean {
  return volumes.some(({ journalOnly }) => journalOnly);
}

/** Where the catalog does not say. */
export const releaseRuleDefault: ReleaseRule = 'received';

function ownerOf(systemId: number): string {
  return `follower ${systemId}`;
}

/** While nobody follows a group with volumes that store nothing, all of its journal is kept (SAFETY 7). */
const journalOnlyOwner = 'journal-only';

/**
 * From where on the journal of a group that starts has to be there. Positions in the file are at most
 * as high as the true ones, so more may be gone, and nobody needs that.
 */
export function keptFrom(
  followers: readonly KeptFollower[],
  maps: readonly KeptMap[],
  members: readonly Member[],
  catalog: Catalog,
  { applied, released }: Checkpoint,
  oldestBase?: number,
): { readonly released: number; readonly mayBeReleased: boolean } {
  const holding = followers.filter(({ state }) => state !== 'behind');
  const { takenOver } = catalog;
  const others = [...maps.map(({ through }) => through), ...members.map((other) => other.received)];
  if (takenOver) others.push(takenOver.fork);
  if (oldestBase !== undefined) others.push(oldestBase);
  if (holding.length === 0 && others.length === 0) {
    return { released: hasJournalOnlyVolumes(catalog) ? released : applied, mayBeReleased: false };
  }
  const rule = catalog.release ?? releaseRuleDefault;
  const needed = holding.map((follower) => follower[rule]);
  const lowest = Math.min(applied, ...needed, ...others);
  return { released: Math.max(released, lowest), mayBeReleased: true };
}

/** Which positions of followers keep which records of the journal: their holds in the retention. */
export class FollowerHolds {
  readonly #group: FollowedGroup;

  constructor(group: FollowedGroup) {
    this.#group = group;
  }

  get rule(): ReleaseRule {
    return this.#group.catalog.release ?? releaseRuleDefault;
  }

  /** Holds move up only: what a stricter rule would have kept is gone. */
  set(follower: KeptFollower): void {
    const { retention, watermarks } = this.#group;
    const owner = ownerOf(follower.systemId);
    const before = retention.get(owner) ?? watermarks.released;
    retention.set(owner, Math.max(before, follower[this.rule]));
  }

  setAll(followers: readonly KeptFollower[]): void {
    for (const follower of followers) if (follower.state !== 'behind') this.set(follower);
  }

  /** The one that holds most back. */
  lowest<T extends KeptFollower>(followers: readonly T[]): T | undefined {
    const { rule } = this;
    return followers
      .filter(({ state }) => state !== 'behind')
      .reduce<T | undefined>(
        (lowest, each) => (lowest && lowest[rule] <= each[rule] ? lowest : each),
        undefined,
      );
  }

  drop(systemId: number): void {
    this.#group.retention.drop(ownerOf(systemId));
  }

  /** What of the journal it has, whatever it said: the rest is held for it. */
  reachedBy(follower: KeptFollower): number {
    return Math.max(follower.received, this.#group.retention.get(ownerOf(follower.systemId)) ?? 0);
  }

  /** Nobody's position keeps records, or somebody's does again; or volumes that store nothing came or went. */
  keepAll(isFollowed: boolean): void {
    const { catalog, retention, watermarks } = this.#group;
    if (isFollowed || !hasJournalOnlyVolumes(catalog)) {
      retention.drop(journalOnlyOwner);
    } else if (retention.get(journalOnlyOwner) === undefined) {
      retention.set(journalOnlyOwner, watermarks.released);
    }
  }

  /** The journal has no room for a record of `bytes`, and it is holds that keep the oldest segment. */
  keepJournalFull(bytes: number): boolean {
    const { chain, retention } = this.#group;
    if (!chain.isFullFor(bytes)) return false;
    const [oldest] = chain.live();
    if (!oldest) return false;
    // Dirty maps are on their way, and the floor and the history give way: what they keep is free soon.
    const giveWay = [dirtyMapOwner, floorOwner, historyOwner];
    const releasable = retention.releasable(oldest.lastNumber, ...giveWay);
    return oldest.lastNumber > releasable;
  }
}
