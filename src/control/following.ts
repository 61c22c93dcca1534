import type { Group } from '../group/order/group.ts';
import type { KnownLoss } from '../group/roles/known-loss.ts';
import type { FollowWish, SecondaryWish } from '../group/catalog/follow-wish.ts';

/** Following and being followed, as verbs and status need it; the replicator does it. */
export interface Following {
  follow(wish: FollowWish): Promise<{ group: Group; changed: boolean }>;
  /** False: the group followed nobody. */
  unfollow(group: string): Promise<boolean>;
  addSecondary(wish: SecondaryWish): Promise<{ group: Group; changed: boolean }>;
  /** It is told, where it can be reached. */
  removeSecondary(group: string, secondary: string): Promise<{ group: Group; changed: boolean }>;
  /** False: it was so already. */
  suspend(group: string, isSuspended: boolean): boolean;
  /** Resolves with the last update of the group as it was here. */
  handOff(group: string, to: string, waitMilliseconds: number): Promise<number>;
  /** `at`: as of that update; what is behind it becomes a branch. False: it was primary already. */
  promote(group: string, force: boolean, at: number | undefined): Promise<boolean>;
  /** How far others are that have the group, those first that have most; asked now, or as was told last. */
  others(group: Group, isAsked: boolean): Promise<readonly OtherCopy[]>;
  /** Undefined: the group follows nobody. */
  upstream(group: Group): UpstreamState | undefined;
}

/** Another system that has the group, beside the source. */
export interface OtherCopy {
  readonly systemId: number;
  readonly name: string;
  readonly url: string | null;
  readonly newest: number;
  /** Updates that are not here. */
  readonly aheadUpdates: number;
  readonly newerGeneration: number | null;
  readonly isHeard: boolean;
}

/** How a group's following goes. */
export interface UpstreamState {
  readonly state: string;
  /** Why it waits or was refused, or empty. */
  readonly failure: string;
  /** What holds the next read back; null: nothing, or nothing is known. */
  readonly limitedBy: string | null;
  /** What the source said last; undefined: it was not heard yet. */
  readonly newest: number | undefined;
  readonly unsentBytes: number;
  /** Age of the oldest update that the source has and this system has not. */
  readonly lagSeconds: number;
  /** For how long the source still waits for this system, by the newest record of that; 0: it may not. */
  readonly leaseMilliseconds: number;
  /** Whether what hosts were answered is here. */
  readonly loss: KnownLoss;
  /** Contents that a resync has still to bring; undefined: there is none. */
  readonly resync: ResyncProgress | undefined;
}

export interface ResyncProgress {
  readonly missingBytes: number;
  missingBytesOf(volumeId: number): number;
}
