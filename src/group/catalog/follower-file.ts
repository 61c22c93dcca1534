import type { Disk } from '../../platform/disk.ts';
import { readSealedJson, writeSealedJson } from './sealed-json.ts';
import type { FollowerState } from './states.ts';

export interface FollowerPlace {
  readonly url: string;
  readonly groupName: string;
}

/** What is kept of a follower over a restart. Positions may be older than what it said last. */
export interface KeptFollower {
  readonly systemId: number;
  /** Of the following system. */
  readonly name: string;
  readonly state: FollowerState;
  /** Everything up to here is durable at the follower. */
  readonly received: number;
  /** Everything up to here is in the follower's volumes. */
  readonly applied: number;
  readonly registeredAtMilliseconds: number;
  /** Where it listens, and what the group is called there, if it said so. */
  readonly listens?: FollowerPlace | undefined;
  /** It has not asked to follow yet: it had the group before this system became its primary. */
  readonly isExpected?: boolean;
  /** Replies to hosts are to wait for what it has durably. */
  readonly synchronous?: boolean;
}

interface FollowerFile {
  readonly formatVersion: 1;
  readonly groupId: string;
  readonly followers: readonly KeptFollower[];
}

export function writeFollowers(
  disk: Disk,
  path: string,
  groupId: string,
  followers: readonly KeptFollower[],
): void {
  const file: FollowerFile = { formatVersion: 1, groupId, followers };
  writeSealedJson(disk, path, file);
}

/**
 * None where there is no file: nobody ever followed. Throws catalog_damaged, format_newer: without it
 * what a follower still needs could be released.
 */
export function readFollowers(disk: Disk, path: string): readonly KeptFollower[] {
  return readSealedJson<FollowerFile>(disk, path)?.followers ?? [];
}
