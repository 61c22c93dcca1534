import type { Group } from '../../group/order/group.ts';
import { generationOf } from '../../group/catalog/lineage.ts';
import type { System } from '../../group/system/system.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { ClientCredentials, Transport } from '../transport/transport.ts';
import { wholeAnswer } from '../transport/whole-answer.ts';
import { type Caller, encodeCaller, paths, type WireHeaders } from '../protocol/wire.ts';
import { historySchema, type ToldGroup } from '../protocol/wire-history.ts';
import { parseJson, readProblem } from '../protocol/wire-json.ts';

/** Another system that has the group, as far as this one knows. */
export interface Member {
  readonly systemId: number;
  readonly name: string;
  readonly url: string;
}

/** Those that can be asked. */
export function membersOf(group: Group): Member[] {
  const members: Member[] = [];
  for (const { systemId, name, url } of group.followers.members.list()) {
    if (url !== undefined) members.push({ systemId, name, url });
  }
  return members;
}

export interface MemberDependencies {
  readonly transport: Transport;
  /** For members at `https:`. */
  readonly credentials: ClientCredentials | undefined;
  /** Where other systems reach this one. */
  readonly listenPort: () => number;
}

const windowBytes = 65_536;

/**
 * Rejects with what the member says, or that it cannot be reached. Unless it asked itself, it is told where
 * this system listens, and may ask back.
 */
export async function askMember(
  { transport, credentials, listenPort }: MemberDependencies,
  { systemId, name }: Pick<System, 'systemId' | 'name'>,
  group: Group,
  { url }: Member,
  milliseconds: number,
  isAskedBack: boolean,
): Promise<ToldGroup> {
  const caller: Caller = { systemId, name };
  const { groupId, lineage } = group.catalog;
  const own = {
    'jnbd-listen-port': String(listenPort()),
    'jnbd-generation': String(generationOf(lineage)),
  };
  const headers = { ...encodeCaller(caller), ...(isAskedBack ? {} : own) };
  const client = transport.connect({
    url,
    connections: 1,
    windowBytes,
    ...(credentials ? { credentials } : {}),
  });
  try {
    const answer = await wholeAnswer(
      client,
      { method: 'GET', path: paths.lineage(groupId), headers },
      { headMilliseconds: milliseconds, silenceMilliseconds: milliseconds },
    );
    if (answer.status >= 400) throw readProblem(answer.status, answer.body).error;
    const told = parseJson(historySchema, answer.body, 'what a member says of its history');
    if (told.groupId === groupId) return told;
    throw new JnbdError('protocol_violated', `${url} told of group ${told.groupId}`);
  } finally {
    client.close();
  }
}

/** What whoever asks says of himself. Undefined: nothing. */
export function decodeAsker(
  headers: WireHeaders,
): { readonly port: number; readonly generation: number } | undefined {
  const port = Number(headers['jnbd-listen-port']);
  const generation = Number(headers['jnbd-generation']);
  const isPort = Number.isInteger(port) && port > 0 && port <= 0xffff;
  return isPort && Number.isInteger(generation) ? { port, generation } : undefined;
}

/** What this system says when it is asked. */
export function historyOf(system: System, group: Group): ToldGroup {
  const { groupId, lineage, name } = group.catalog;
  return {
    groupId,
    systemId: system.systemId,
    name: system.name,
    groupName: name,
    role: group.role,
    lineage: [...lineage],
    newest: group.watermarks.durable,
  };
}
