import type { Group } from '../../group/order/group.ts';
import { positionOf } from '../../group/catalog/lineage.ts';
import type { TransportClient } from '../transport/transport.ts';
import { type WholeAnswer, wholeAnswer } from '../transport/whole-answer.ts';
import { type Caller, encodeCaller, paths } from '../protocol/wire.ts';
import {
  AdmissionRefused,
  parseJson,
  type Registered,
  registeredSchema,
  type Registration,
  readProblem,
} from '../protocol/wire-json.ts';

/** What this system says of a group that it has. */
export function registrationOf(
  { name, catalog, watermarks, follow }: Group,
  listenPort: number,
): Omit<Registration, 'systemId' | 'name'> {
  return {
    groupId: catalog.groupId,
    position: positionOf(catalog.lineage, watermarks.durable),
    lineage: [...catalog.lineage],
    copyVolumes: (follow.state?.copies ?? []).map(({ volume }) => volume),
    journalOnly: catalog.journalOnly ?? false,
    listenPort,
    groupName: name,
    compare: false,
    synchronous: follow.state?.synchronous,
  };
}

const limits = { headMilliseconds: 10_000, silenceMilliseconds: 10_000 };

/**
 * Asks the source to keep from now on what this system needs. Doing it again is no error. Rejects with
 * what the source says: follower_not_allowed, group_not_found, diverged, position_released, ...
 */
export async function register(
  client: TransportClient,
  caller: Caller,
  groupName: string,
  wanted: Omit<Registration, 'systemId' | 'name'>,
): Promise<Registered> {
  const body = Buffer.from(JSON.stringify({ ...wanted, ...caller }));
  const path = paths.followers(groupName);
  const answer = await ask(client, caller, 'POST', path, body);
  return parseJson(registeredSchema, answer.body, 'the answer to a registration');
}

/** The source keeps nothing for this system any more. Doing it again is no error. */
export async function unregister(
  client: TransportClient,
  caller: Caller,
  groupId: string,
): Promise<void> {
  await ask(client, caller, 'DELETE', paths.follower(groupId, caller.systemId));
}

async function ask(
  client: TransportClient,
  caller: Caller,
  method: 'POST' | 'DELETE',
  path: string,
  body?: Uint8Array,
): Promise<WholeAnswer> {
  const headers = { ...encodeCaller(caller), 'content-type': 'application/json' };
  const request = { method, path, headers, ...(body ? { body } : {}) };
  const answer = await wholeAnswer(client, request, limits);
  if (answer.status >= 400) {
    const { error, details } = readProblem(answer.status, answer.body);
    throw new AdmissionRefused(error.code, error.message, details);
  }
  return answer;
}
