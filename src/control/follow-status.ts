import type { FollowerCursor } from '../group/followers/follower-cursor.ts';
import { synchronousDefaults } from '../group/catalog/protection.ts';
import { shownVolumes } from '../group/apply/volume.ts';
import type { Group } from '../group/order/group.ts';
import { segmentHeaderBytes } from '../platform/limits.ts';
import { followerChecksumsOf } from './checksum-status.ts';
import type { CopyClock } from './copy-clock.ts';
import type { ResyncProgress, UpstreamState } from './following.ts';
import type { LagClock } from './lag-clock.ts';
import type { GroupStatus } from './schema-status.ts';

type Pair = GroupStatus['pairs'][number];
type Lag = GroupStatus['secondaries'][number]['lag']['received'];

/** One that is a secondary's own, and was not heard for so long, is shown as away. */
const awaySeconds = 20;

/** Whom the group follows, and how far it is behind. */
export function upstreamStatus(
  group: Group,
  upstream: UpstreamState | undefined,
  lagClock: LagClock,
  copyClock: CopyClock<Group>,
): GroupStatus['upstream'] {
  const { state } = group.follow;
  if (!state || !upstream) return null;
  const { applied, newest } = group.watermarks;
  const sourceNewest = Math.max(newest, upstream.newest ?? newest);
  const { unsentBytes, lagSeconds } = upstream;
  const missing = sourceNewest - newest;
  return {
    url: state.url,
    preferredUrl: state.preferred ?? state.url,
    relief: [...(state.relief ?? [])],
    whenFull: state.whenFull ?? 'keep',
    name: state.sourceName,
    state: upstream.resync && upstream.state === 'reading' ? 'resyncing' : upstream.state,
    failure: upstream.failure,
    limitedBy: upstream.limitedBy,
    loss: upstream.loss,
    contents: copyClock.contents(group),
    lag: {
      received: { updates: missing, bytes: missing === 0 ? 0 : unsentBytes, seconds: lagSeconds },
      applied: {
        updates: sourceNewest - applied,
        bytes: (missing === 0 ? 0 : unsentBytes) + group.unappliedBytes,
        seconds: Math.max(lagSeconds, lagClock.ageSeconds(group, applied)),
      },
    },
  };
}

/** Who follows the group, and how far each is behind. */
export function secondariesStatus(group: Group, lagClock: LagClock): GroupStatus['secondaries'] {
  const lagOf = (reached: number, lateSeconds: number): Lag => ({
    updates: Math.max(0, group.watermarks.newest - reached),
    bytes: journalBytesAfter(group, reached),
    seconds: Math.max(lateSeconds, lagClock.ageSeconds(group, reached)),
  });
  const { followers } = group;
  return followers.list().map((cursor) => {
    const { systemId, name, sent, received, applied } = cursor;
    const isAway = mayBeElsewhere(group, cursor, lagClock);
    const late = isAway || !isActive(cursor) ? 0 : lagClock.lateSeconds(cursor.dueMilliseconds);
    return {
      name,
      state: isAway ? 'away' : cursor.state,
      synchronous: group.synchronous.stateOf(systemId) ?? null,
      sent,
      received,
      applied,
      lag: { received: lagOf(received, late), applied: lagOf(applied, late) },
      dirtyBytes: followers.maps.find(systemId)?.bytes ?? null,
      checksums: followerChecksumsOf(group, systemId),
    };
  });
}

/** Whether replies to hosts wait for followers; of a secondary, as its source has it. */
export function synchronousStatus({ catalog, replies }: Group): GroupStatus['synchronous'] {
  const { protection, synchronous = synchronousDefaults } = catalog;
  const namesOf = (members: readonly { readonly name: string }[]): string[] =>
    members.map(({ name }) => name);
  const settings = { ...synchronous, heldUpdates: replies.heldUpdates };
  if (!protection) {
    const nothing = { since: null, sinceUpdate: null, needed: 0, members: [], lost: [] };
    return { state: 'none', ...nothing, ...settings };
  }
  const isProtected = protection.state === 'protected';
  return {
    state: protection.state,
    since: new Date(protection.atMilliseconds).toISOString(),
    sinceUpdate: isProtected ? protection.number : protection.behind + 1,
    needed: isProtected ? protection.needed : 0,
    members: isProtected ? namesOf(protection.members) : [],
    lost: isProtected ? [] : namesOf(protection.lost),
    ...settings,
  };
}

/** It reads, or should. */
function isActive({ state }: FollowerCursor): boolean {
  return state !== 'suspended' && state !== 'behind';
}

/** What followed this system while it was primary, and is not heard, most likely follows another one now. */
function mayBeElsewhere({ role }: Group, cursor: FollowerCursor, lagClock: LagClock): boolean {
  if (role === 'primary' || !isActive(cursor)) return false;
  return lagClock.lateSeconds(cursor.dueMilliseconds) > awaySeconds;
}

/** Who has the group beside this system. */
export function membersStatus({ followers }: Group): GroupStatus['members'] {
  return followers.members
    .list()
    .map(({ name, received, url }) => ({ name, received, url: url ?? null }));
}

/** K3: each volume with each of its copies, as this system knows them. */
export function pairsStatus(
  group: Group,
  systemName: string,
  resync: ResyncProgress | undefined,
  lagClock: LagClock,
): Pair[] {
  const volumes = shownVolumes(group.volumes).map(({ catalog }) => catalog);
  const { state } = group.follow;
  const own = volumes.map(({ id, name, sizeBytes }): Pair => {
    const copy = state?.copies.find(({ volume }) => volume === id);
    const whole = state?.isSuspended ? 'suspended' : 'normal';
    const missing = resync?.missingBytesOf(id) ?? 0;
    return {
      volume: name,
      secondary: systemName,
      state: copy ? 'copying' : state?.resync ? 'resyncing' : whole,
      copyCompletionBytes: copy?.address ?? Math.max(0, sizeBytes - missing),
    };
  });
  const followed = group.followers.list().flatMap((cursor) =>
    volumes.map(({ id, name, sizeBytes }): Pair => {
      const copied = cursor.copied.find(({ volume }) => volume === id);
      return {
        volume: name,
        secondary: cursor.name,
        state: mayBeElsewhere(group, cursor, lagClock)
          ? 'suspended'
          : pairStateOf(cursor, copied !== undefined),
        copyCompletionBytes: copied?.address ?? (cursor.state === 'registered' ? 0 : sizeBytes),
      };
    }),
  );
  return [...(state ? own : []), ...followed];
}

function pairStateOf({ state }: FollowerCursor, isCopied: boolean): string {
  if (state === 'registered') return 'not-copied';
  if (state === 'suspended') return 'suspended';
  if (state === 'behind') return 'abnormal';
  return isCopied ? 'copying' : 'normal';
}

/** Whole segments: of the one that the number is in, all that it holds. */
function journalBytesAfter(group: Group, number: number): number {
  if (number >= group.watermarks.newest) return 0;
  let bytes = 0;
  for (const { lastNumber, endOffset } of group.chain.live()) {
    if (lastNumber > number) bytes += endOffset - segmentHeaderBytes;
  }
  return bytes;
}
