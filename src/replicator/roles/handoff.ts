import { refuseRollingBack } from '../../group/apply/volume.ts';
import type { FollowState } from '../../group/catalog/follow-file.ts';
import type { FollowerPlace } from '../../group/catalog/follower-file.ts';
import type { FollowerCursor } from '../../group/followers/follower-cursor.ts';
import type { Group } from '../../group/order/group.ts';
import { type Lineage, positionOf } from '../../group/catalog/lineage.ts';
import { makeChange } from '../../group/order/numbered-change.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { System } from '../../group/system/system.ts';
import { followDefaults } from '../peers/follow-request.ts';
import { askMember, type MemberDependencies } from '../peers/members.ts';

/** So little is left that hosts hardly notice that they wait for it. */
const nearUpdates = 1000;
const nearMilliseconds = 20;
const askMilliseconds = 2000;

/** A follower that has everything, and can be followed. */
export type Heir = FollowerCursor & { readonly listens: FollowerPlace };

/** Throws JnbdError: state_refuses, follower_not_found. */
function checkHeir(group: Group, to: string): Heir {
  if (group.role !== 'primary' || group.state !== 'normal') {
    const what = group.state === 'normal' ? group.role : group.state;
    throw new JnbdError(
      'state_refuses',
      `group ${group.name} is ${what} here; its primary hands it over`,
    );
  }
  refuseRollingBack(group.name, group.volumes.values());
  const all = group.followers.list();
  const heir = all.find(({ name }) => name === to);
  if (!heir) {
    const names = all.map(({ name }) => name).join(', ') || 'nobody';
    throw new JnbdError(
      'follower_not_found',
      `no system ${to} follows group ${group.name}; there is: ${names}`,
    );
  }
  const { state, listens } = heir;
  if (state !== 'following' || !listens) {
    throw new JnbdError(
      'state_refuses',
      `system ${to} is ${state}: it has not all of group ${group.name}`,
    );
  }
  return { ...heir, listens };
}

/**
 * One that has given up its copy, or its place as a secondary, would never take over. One that does not answer
 * may be away for a while only. Rejects with state_refuses.
 */
async function checkIsThere(
  deps: MemberDependencies,
  system: System,
  group: Group,
  { systemId, name, listens }: Heir,
  milliseconds: number,
): Promise<void> {
  const member = { systemId, name, url: listens.url };
  const refuse = (why: string): never => {
    throw new JnbdError(
      'state_refuses',
      `group ${group.name} cannot be handed over to system ${name}: ${why}; where it is not to come back: jnbd secondary remove ${group.name} ${name}`,
    );
  };
  try {
    const { role, name: toldName } = await askMember(
      deps,
      system,
      group,
      member,
      milliseconds,
      true,
    );
    if (role !== 'secondary') refuse(`the group is ${role} on system ${toldName}`);
  } catch (error) {
    if (!(error instanceof JnbdError) || error.code === 'state_refuses') throw error;
    if (error.kind !== 'not_found') return;
    refuse(
      `it has the group no more; let it follow again: jnbd follow ${listens.groupName} --from URL, there`,
    );
  }
}

/** Written before the handoff, and of no effect while the group is primary. */
function followBack({ systemId, name, listens }: Heir): FollowState {
  return {
    formatVersion: 1,
    url: listens.url,
    sourceGroup: listens.groupName,
    sourceSystemId: systemId,
    sourceName: name,
    isSuspended: false,
    ...followDefaults,
    copies: [],
    shows: 0,
  };
}

/**
 * Whether that system is to be the group's primary now. The record of a handoff is read again by whoever
 * copies the group anew, or comes back late: what it gave is given once.
 */
export function isGivenTo(group: Group, systemId: number, sourceLineage: Lineage = []): boolean {
  const { catalog, role, follow } = group;
  const { handedOver, number } = catalog;
  if (handedOver?.to !== systemId || role !== 'secondary') return false;
  const { handoffsAfter = 0, handoffsThroughGeneration } = follow.state ?? {};
  const { generation } = positionOf(catalog.lineage, number);
  const isOfThen = generation <= (handoffsThroughGeneration ?? generation);
  if (number <= handoffsAfter && isOfThen) return false;
  return !sourceLineage.some(({ firstNumber }) => firstNumber > number);
}

/** So that hosts wait for as little as possible. Rejects with timed_out. */
async function untilNear(group: Group, systemId: number, deadline: number): Promise<void> {
  const { clock } = group;
  for (;;) {
    const { newest } = group.watermarks;
    const received = group.followers.find(systemId)?.received ?? 0;
    if (newest - received <= nearUpdates) return;
    if (clock.monotonicMilliseconds() >= deadline) {
      throw new JnbdError(
        'timed_out',
        `the follower of group ${group.name} is ${newest - received} updates behind; try again when it has caught up`,
      );
    }
    await new Promise<void>((resolve) => clock.after(nearMilliseconds, resolve));
  }
}

/**
 * Writes the record by which the heir alone may be primary; its number is the last one of this system.
 * Whom to follow then is written before: of no effect while the group is primary. A crash before the
 * record is durable leaves the primary as it was; after it, a secondary that follows its heir.
 */
async function giveAway(group: Group, heir: Heir): Promise<number> {
  const { systemId, name } = heir;
  group.follow.write(followBack(heir));
  group.hosts.hold(true);
  try {
    await makeChange(group, { change: 'handed_over', to: systemId, name });
  } catch (error) {
    group.follow.remove();
    throw error;
  } finally {
    group.hosts.hold(false);
  }
  const reason = `group ${group.name} was handed over to system ${name}`;
  for (const volume of group.volumes.values()) {
    for (const session of volume.sessions) session.client.revoke(reason);
  }
  return group.catalog.number;
}

/** Resolves with the number of the record. Rejects with JnbdError, and then nothing has changed. */
export async function handOver(
  deps: MemberDependencies,
  system: System,
  group: Group,
  to: string,
  waitMilliseconds: number,
): Promise<number> {
  const deadline = group.clock.monotonicMilliseconds() + waitMilliseconds;
  const asked = Math.min(askMilliseconds, waitMilliseconds);
  await checkIsThere(deps, system, group, checkHeir(group, to), asked);
  const heir = checkHeir(group, to);
  await untilNear(group, heir.systemId, deadline);
  return giveAway(group, heir);
}
