import type { Group } from '../../group/order/group.ts';
import { JnbdError } from '../../platform/errors.ts';
import { noteMembers } from './told-members.ts';
import { unregister } from './registration.ts';
import type { TransportClient } from '../transport/transport.ts';
import type { Caller } from '../protocol/wire.ts';
import { type JournalAnswer, pathSystemsMax } from '../protocol/wire.ts';

/** Whom the group's records come through, this system first, as far as is known. */
export function pathThrough({ role, follow }: Group, systemId: number): readonly number[] {
  if (role === 'primary' || !follow.state) return [systemId];
  return [systemId, ...follow.sourcePath].slice(0, pathSystemsMax);
}

/**
 * Takes over what the source says of whom it follows. Throws follow_loop where this system is among them:
 * then nobody in that ring ever gets a record that is new.
 */
export function noteSourcePath(group: Group, systemId: number, path: readonly number[]): void {
  const { follow } = group;
  const isSame =
    path.length === follow.sourcePath.length &&
    path.every((id, at) => id === follow.sourcePath[at]);
  if (!isSame) {
    follow.sourcePath = path;
    group.changed();
  }
  checkNoRing(group.name, systemId, path);
}

/** As `noteSourcePath`, and who else has the group. */
export function noteSourceAnswer(group: Group, systemId: number, answer: JournalAnswer): void {
  noteSourcePath(group, systemId, answer.path);
  noteMembers(group, answer);
}

/** What a source said at a registration: it is not to be followed, and not to keep anything, in a ring. */
export async function leaveRing(
  client: TransportClient,
  caller: Caller,
  { name, catalog }: Group,
  path: readonly number[],
): Promise<void> {
  if (!path.includes(caller.systemId)) return;
  await unregister(client, caller, catalog.groupId);
  checkNoRing(name, caller.systemId, path);
}

function checkNoRing(group: string, systemId: number, path: readonly number[]): void {
  if (!path.includes(systemId)) return;
  throw new JnbdError(
    'follow_loop',
    `the systems that group ${group} comes from follow this one in turn: nobody in the ring is its primary; follow that one, or promote one of them`,
  );
}
