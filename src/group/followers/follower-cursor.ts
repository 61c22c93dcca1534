import type { Clock } from '../../platform/clock.ts';
import type { ToldChecksums } from '../apply/compared-points.ts';
import type { KeptMap } from '../catalog/dirty-map-files.ts';
import type { FollowerPlace, KeptFollower } from '../catalog/follower-file.ts';
import type { Member, RememberedMember } from '../catalog/members.ts';
import { changeFollowerState } from '../catalog/states.ts';

/** What a source knows of one follower. */
export interface FollowerCursor extends KeptFollower {
  /** The last number that was put into an answer for it. */
  readonly sent: number;
  /** How much of each volume it has, while it copies. */
  readonly copied: readonly { readonly volume: number; readonly address: number }[];
  /** When it was last heard of, on the monotonic clock; undefined: not since the start. */
  readonly heardMilliseconds: number | undefined;
  /** When it is to be heard again at the latest, on the monotonic clock; undefined: nobody knows. */
  readonly dueMilliseconds: number | undefined;
}

/** What says nothing of the sort asks again, or tries to, within this. */
const returnMilliseconds = 10_000;
/** A read that is no later than this may be on its way. */
const travelMilliseconds = 1000;

/** What a follower said with a journal read. */
export interface Acknowledgement {
  readonly systemId: number;
  readonly received: number;
  readonly applied: number;
  readonly sent: number;
  readonly copied: FollowerCursor['copied'];
  /** It asks for contents of parts of volumes. */
  readonly isResyncing?: boolean;
  /** By then it says something again, if nothing is wrong; undefined: it did not say. */
  readonly dueMilliseconds?: number | undefined;
  /** Who follows it in turn; undefined: as it said before. */
  readonly members?: readonly Member[] | undefined;
  /** What it found where checksums were compared; undefined: as it said before. */
  readonly checksums?: ToldChecksums | undefined;
}

/** As the files have them when a group is opened. */
export interface KnownFollowers {
  readonly kept: readonly KeptFollower[];
  readonly maps: readonly KeptMap[];
  readonly members: readonly RememberedMember[];
}

/** One that has everything up to `from` and says with its first read how much of that it applied. */
export function newCursor(
  clock: Clock,
  systemId: number,
  name: string,
  from: number,
  applied: number,
): FollowerCursor {
  return {
    systemId,
    name,
    state: 'registered',
    received: from,
    applied: Math.min(from, applied),
    sent: from,
    copied: [],
    registeredAtMilliseconds: clock.wallMilliseconds(),
    heardMilliseconds: undefined,
    dueMilliseconds: clock.monotonicMilliseconds() + returnMilliseconds,
  };
}

/**
 * As the file has it, at the start: it comes back. What it has that was lost here, up to `newest` now, is no
 * part of this history any more.
 */
export function keptCursor(clock: Clock, follower: KeptFollower, newest: number): FollowerCursor {
  const received = Math.min(follower.received, newest);
  return {
    ...follower,
    received,
    applied: Math.min(follower.applied, received),
    sent: received,
    copied: [],
    heardMilliseconds: undefined,
    dueMilliseconds: clock.monotonicMilliseconds() + returnMilliseconds,
  };
}

/** One that registers again: for a position or a name that is not the one known of it. */
export function renewedCursor(before: FollowerCursor, cursor: FollowerCursor): FollowerCursor {
  const isStopped = before.state === 'suspended' && before.isExpected !== true;
  const state = changeFollowerState(before.state, isStopped ? 'suspended' : 'registered');
  const { registeredAtMilliseconds, synchronous = false } = before;
  const listens = cursor.listens ?? before.listens;
  return { ...cursor, state, listens, registeredAtMilliseconds, synchronous };
}

/** It has said something just now. */
export function heardCursor(
  clock: Clock,
  cursor: FollowerCursor,
  dueMilliseconds = returnMilliseconds,
): FollowerCursor {
  const heardMilliseconds = clock.monotonicMilliseconds();
  const due = heardMilliseconds + dueMilliseconds + travelMilliseconds;
  return { ...cursor, heardMilliseconds, dueMilliseconds: due };
}

/**
 * What peers say is believed only where it can be true, and never takes anything back (SAFETY 2): they may have
 * durably what is not durable here yet.
 */
export function acknowledged(
  before: FollowerCursor,
  told: Acknowledgement,
  newest: number,
): FollowerCursor {
  const received = Math.max(before.received, Math.min(told.received, newest));
  const applied = Math.max(before.applied, Math.min(told.applied, received));
  const isCopying = told.copied.length > 0 || told.isResyncing === true;
  const state = changeFollowerState(before.state, isCopying ? 'copying' : 'following');
  const { copied } = told;
  return { ...before, state, received, applied, sent: Math.max(told.sent, received), copied };
}

export function isSamePlace(
  before: FollowerPlace | undefined,
  now: FollowerPlace | undefined,
): boolean {
  return now === undefined || (now.url === before?.url && now.groupName === before.groupName);
}
