import type { FollowerCursor } from '../../group/followers/follower-cursor.ts';
import type { Catalog } from '../../group/catalog/catalog.ts';
import type { FollowerPlace } from '../../group/catalog/follower-file.ts';
import type { Group } from '../../group/order/group.ts';
import { isIncomplete } from '../../group/volumes/missing-contents.ts';
import { agreesAt, forkOf, generationOf } from '../../group/catalog/lineage.ts';
import type { System } from '../../group/system/system.ts';
import { giveWay, takeOverBy } from '../../group/order/take-over.ts';
import { JnbdError } from '../../platform/errors.ts';
import { MiB } from '../../platform/limits.ts';
import { pathThrough } from './follow-ring.ts';
import { resyncFor, untilCatalogIsApplied } from './resync-admission.ts';
import { peerUrl } from './peer-rights.ts';
import type { PeerIdentity } from '../transport/transport.ts';
import { formatPosition } from '../protocol/wire.ts';
import { AdmissionRefused, type Registered, type Registration } from '../protocol/wire-json.ts';

/** A journal that is shorter than the volumes' contents, and this, brings a follower all by itself. */
const contentsWorthCopyingBytes = 64 * MiB;

/**
 * Admits a follower to a group and keeps from now on what it needs. Whoever is not on this machine has
 * to be allowed by name, so that nobody pins a journal uninvited (SAFETY 20). Doing it again is no
 * error. Rejects with JnbdError: group_not_found, follower_not_allowed, follow_loop, exists_differently,
 * diverged, position_released, group_state.
 */
export async function admit(
  system: System,
  groupName: string,
  registration: Registration,
  identity: PeerIdentity,
  peer: string,
): Promise<Registered> {
  const group = system.group(groupName);
  const told = await admitTo(system, group, registration, identity, peer);
  const { systemId, synchronous } = registration;
  if (synchronous !== undefined && group.followers.find(systemId)) {
    group.followers.setSynchronous(systemId, synchronous);
  }
  return told;
}

async function admitTo(
  system: System,
  group: Group,
  registration: Registration,
  identity: PeerIdentity,
  peer: string,
): Promise<Registered> {
  checkCaller(system, group, registration, identity);
  checkGeneration(system, group, registration, placeOf(registration, identity, peer));
  if (group.state !== 'normal' || group.role === 'diverged') {
    const state = group.state === 'normal' ? group.role : group.state;
    const text = `group ${group.name} is ${state} on system ${system.name}: ${group.failureText}`;
    throw new AdmissionRefused('group_state', text, { state });
  }
  if (registration.groupId !== null && registration.groupId !== group.catalog.groupId) {
    throw new JnbdError(
      'exists_differently',
      `group ${group.name} on system ${system.name} is another group than the one of that name on ${registration.name}; follow it under another name`,
    );
  }
  checkComplete(system, group);
  checkNames(system, group, registration);
  if (registration.position !== null) {
    checkHistory(system, group, registration, registration.position);
    const { systemId, name, position } = registration;
    if (position.number < group.watermarks.released) {
      const resync = await resyncFor(group, systemId, position.number);
      if (resync) return { ...registered(system, group, resync.through, false), resync };
    }
    group.followers.register(
      systemId,
      name,
      position.number,
      placeOf(registration, identity, peer),
    );
    return registered(system, group, registration.position.number, false);
  }
  return admitNew(system, group, registration, placeOf(registration, identity, peer));
}

async function admitNew(
  system: System,
  group: Group,
  registration: Registration,
  listens: FollowerPlace | undefined,
): Promise<Registered> {
  const { released } = group.watermarks;
  const { journalOnly = false } = group.catalog;
  const isEnough = journalOnly || !isWorthCopying(group);
  const hasWhole = released === 0 && isEnough && !registration.compare;
  if (journalOnly && !hasWhole && !registration.journalOnly) {
    const text = `group ${group.name} of system ${system.name} is a journal alone, from update ${released + 1} on, and has no contents to copy: follow another system first, and then this one`;
    throw new AdmissionRefused('position_released', text, { oldest: released + 1 });
  }
  if (hasWhole || registration.journalOnly) {
    // Behind the last change of its volumes: one that has less, and follows another system then, would have changes
    // that are no part of its history.
    const from = hasWhole ? 0 : Math.max(released, group.catalog.number);
    group.followers.register(registration.systemId, registration.name, from, listens);
    return registered(system, group, from, false);
  }
  await untilCatalogIsApplied(group);
  const from = group.watermarks.applied;
  group.followers.register(registration.systemId, registration.name, from, listens);
  return registered(system, group, from, true);
}

function registered(system: System, group: Group, from: number, copy: boolean): Registered {
  const { groupId, lineage, journalCapacityBytes } = group.catalog;
  return {
    groupId,
    systemId: system.systemId,
    name: system.name,
    lineage: [...lineage],
    from,
    newest: group.watermarks.newest,
    catalog: from === 0 ? emptyCatalog : toldCatalog(group.catalog),
    journalCapacityBytes,
    copy,
    path: [...pathThrough(group, system.systemId)],
  };
}

/** The follower knows its port, and its source the address that it asks from. */
function placeOf(
  { listenPort, groupName }: Registration,
  identity: PeerIdentity,
  peer: string,
): FollowerPlace | undefined {
  if (listenPort === null || groupName === null) return undefined;
  return { url: peerUrl(identity, peer, listenPort), groupName };
}

function toldCatalog({
  number,
  nextVolumeId,
  volumes,
  snapshots,
  snapshotSchedule: rules,
}: Catalog): Registered['catalog'] {
  return {
    number,
    nextVolumeId,
    volumes: [...volumes],
    ...(snapshots === undefined
      ? {}
      : { snapshots: snapshots.map((each) => ({ ...each, areas: [...each.areas] })) }),
    ...(rules === undefined ? {} : { snapshotSchedule: [...rules] }),
  };
}

/** Before the first record. */
const emptyCatalog: Registered['catalog'] = { number: 0, nextVolumeId: 1, volumes: [] };

function isWorthCopying({ volumes, chain }: Group): boolean {
  let allocatedBytes = 0;
  for (const { file } of volumes.values()) allocatedBytes += file?.allocatedBytesSync() ?? 0;
  return chain.usedBytes > allocatedBytes + contentsWorthCopyingBytes;
}

function checkCaller(
  system: System,
  group: Group,
  { systemId, name }: Registration,
  identity: PeerIdentity,
): void {
  if (systemId === system.systemId) {
    throw new JnbdError(
      'follow_loop',
      `system ${name} cannot follow itself; --from names another system`,
    );
  }
  const { state } = group.follow;
  // Whoever the group was handed over to has still to fetch the record that says so.
  const isHeir = group.catalog.handedOver?.to === systemId;
  if (group.role !== 'primary' && !isHeir && state?.sourceSystemId === systemId) {
    throw new JnbdError(
      'follow_loop',
      `group ${group.name} of system ${system.name} follows system ${name}, which cannot follow it in turn`,
    );
  }
  const isLocal = identity.kind === 'loopback';
  const isNamed = group.catalog.allowedFollowers?.includes(name) ?? false;
  if (isLocal || isNamed) return;
  throw new JnbdError(
    'follower_not_allowed',
    `system ${name} may not follow group ${group.name} of system ${system.name}; allow it there: jnbd secondary allow ${group.name} ${name}`,
  );
}

/**
 * Commands, permissions and certificates name systems: two that go by one name at the same time would be
 * mistaken for each other. One that is not heard any more may have come back with an empty directory.
 */
function checkNames(system: System, group: Group, { systemId, name }: Registration): void {
  const { followers, clock } = group;
  if (followers.find(systemId)?.name === name) return;
  const isPresent = ({ heardMilliseconds, dueMilliseconds = 0 }: FollowerCursor): boolean =>
    heardMilliseconds !== undefined && clock.monotonicMilliseconds() <= dueMilliseconds;
  const isTaken = followers
    .list()
    .some((each) => each.name === name && each.systemId !== systemId && isPresent(each));
  if (name !== system.name && !isTaken) return;
  const whose =
    name === system.name
      ? 'which is that of its source too; give it another'
      : `which another follower of group ${group.name} has too; where that one is gone, try again in some seconds, else give it another`;
  throw new JnbdError(
    'exists_differently',
    `the system that asks is named ${name}, ${whose}: stop it, and start it with jnbd serve --rename NAME`,
  );
}

/** Whoever is incomplete has nothing to give (SAFETY 11). */
function checkComplete(system: System, group: Group): void {
  const { state } = group.follow;
  if (state?.resync) {
    const text = `the volumes of group ${group.name} of system ${system.name} are of no one instant while they are brought up to date; follow it when that is over`;
    throw new AdmissionRefused('group_state', text, { state: 'resyncing' });
  }
  if (isIncomplete(group)) {
    const text = `group ${group.name} of system ${system.name} is being copied itself; follow it when that is complete`;
    throw new AdmissionRefused('group_state', text, { state: 'copying' });
  }
  if (!group.changes.isFileBehind) return;
  throw new JnbdError('disk_full', `the catalog of group ${group.name} cannot be written`);
}

/** Whoever asks knows a newer generation: this system is not the primary of what it follows (invariant 6). */
function checkGeneration(
  system: System,
  group: Group,
  { groupId, lineage, position, systemId, name }: Registration,
  listens: FollowerPlace | undefined,
): void {
  if (groupId !== group.catalog.groupId || position === null) return;
  const { url = null, groupName = group.name } = listens ?? {};
  const told = { lineage, newest: position.number };
  const takeOver = takeOverBy(group, told, { systemId, name, url, groupName });
  if (!takeOver) return;
  const own = [...group.catalog.lineage];
  if (group.role === 'primary') giveWay(group, takeOver);
  throw new AdmissionRefused(
    'generation_newer',
    `system ${name} has generation ${takeOver.generation} of group ${group.name}, system ${system.name} has ${generationOf(own)}; follow a system that has the newer one`,
    { lineage: own, fork: takeOver.fork },
  );
}

function checkHistory(
  system: System,
  group: Group,
  { lineage, name }: Registration,
  position: NonNullable<Registration['position']>,
): void {
  const own = group.catalog.lineage;
  // Sent ahead of its sync, and lost with the power: the number will be another update's here.
  const isLost = group.role === 'primary' && position.number > group.watermarks.newest;
  if (!isLost && agreesAt(own, position)) return;
  const fork = forkOf(own, group.watermarks.durable, lineage, position.number);
  throw new AdmissionRefused(
    'diverged',
    `group ${group.name} of system ${name} is at ${formatPosition(position)}, which system ${system.name} never had: their histories part behind update ${fork}`,
    { fork, lineage: [...own] },
  );
}
