import type { Group } from '../../group/order/group.ts';
import type { JournalAnswer } from '../protocol/wire.ts';

/** Takes over whom a group's source names with an answer, and the source, which does not name itself. */
export function noteMembers(group: Group, { members, watermarks }: JournalAnswer): void {
  const { state } = group.follow;
  if (!state) return;
  const { sourceSystemId: systemId, sourceName: name, url } = state;
  const source = { systemId, name, url, received: watermarks.durable };
  group.followers.sourceTold([source, ...members]);
}
