/**
 * Setting up following from the source (K11): it asks another system to follow it, and to follow it no
 * more. Both sides of the exchange; PROTOCOL.md, "Asking to be followed".
 */
import type { FollowWish } from '../../group/catalog/follow-wish.ts';
import { z } from 'zod';
import type { Group } from '../../group/order/group.ts';
import type { System } from '../../group/system/system.ts';
import { JnbdError } from '../../platform/errors.ts';
import { namePattern, updateNumberMax } from '../../platform/limits.ts';
import { checkCertificate, peerUrl } from './peer-rights.ts';
import type { IncomingRequest, TransportClient } from '../transport/transport.ts';
import { wholeAnswer } from '../transport/whole-answer.ts';
import { type Caller, decodeCaller, encodeCaller, isGroupId } from '../protocol/wire.ts';
import { jsonAnswer, type JsonAnswer, parseJson, readProblem } from '../protocol/wire-json.ts';

const name = z.string().regex(namePattern);

const followAskSchema = z.object({
  /** Of the system that is asked: another one may have come to listen there. */
  target: name,
  groupId: z.string().regex(/^[0-9a-f]{32}$/),
  /** The group's name at the source, which asks. */
  sourceGroup: name,
  /** Where the source listens; its host is the one that it asks from. */
  listenPort: z.int().min(1).max(65535),
  journalOnly: z.boolean(),
  /** Replies to the source's hosts are to wait for it; left out: as it was. */
  synchronous: z.boolean().optional(),
  journalCapacityBytes: z.int().min(1).max(updateNumberMax).nullable().default(null),
});
export type FollowAsk = z.infer<typeof followAskSchema>;

const followAnswerSchema = z.object({ result: z.enum(['done', 'already_done']) });

/** What a system that is asked can do. */
export interface Follows {
  follow(wanted: FollowWish): Promise<{ group: Group; changed: boolean }>;
  unfollow(name: string): Promise<boolean>;
}

type FollowRoute =
  | { readonly kind: 'follow'; readonly groupName: string }
  | { readonly kind: 'unfollow'; readonly groupId: string };

const paths = {
  /** POST; the group's name at the system that is asked. */
  follow: (groupName: string) => `/v1/groups/${groupName}/source`,
  /** DELETE */
  unfollow: (groupId: string) => `/v1/groups/${groupId}/source`,
} as const;

const limits = { headMilliseconds: 60_000, silenceMilliseconds: 10_000 };
const unfollowLimits = { headMilliseconds: 10_000, silenceMilliseconds: 10_000 };

/** `undefined`: it is about something else. */
export function followRouteOf(method: string, path: string): FollowRoute | undefined {
  const group = /^\/v1\/groups\/([A-Za-z0-9][A-Za-z0-9._-]{0,63})\/source$/.exec(path)?.[1];
  if (group === undefined) return undefined;
  if (method === 'POST') return { kind: 'follow', groupName: group };
  return method === 'DELETE' && isGroupId(group) ? { kind: 'unfollow', groupId: group } : undefined;
}

/** False: it follows already. Rejects with what the other system says. */
export async function askToFollow(
  client: TransportClient,
  caller: Caller,
  groupName: string,
  ask: FollowAsk,
): Promise<boolean> {
  const headers = { ...encodeCaller(caller), 'content-type': 'application/json' };
  const body = Buffer.from(JSON.stringify(ask));
  const path = paths.follow(groupName);
  const answer = await wholeAnswer(client, { method: 'POST', path, headers, body }, limits);
  if (answer.status >= 400) throw readProblem(answer.status, answer.body).error;
  const what = 'the answer of the system that is to follow';
  return parseJson(followAnswerSchema, answer.body, what).result === 'done';
}

export async function askToUnfollow(
  client: TransportClient,
  caller: Caller,
  groupId: string,
): Promise<void> {
  const request = {
    method: 'DELETE' as const,
    path: paths.unfollow(groupId),
    headers: encodeCaller(caller),
  };
  const answer = await wholeAnswer(client, request, unfollowLimits);
  if (answer.status >= 400) throw readProblem(answer.status, answer.body).error;
}

/**
 * Does what the source asks for: follows it from now on, or no more. Whoever asks to be followed must be
 * of this machine, or have a certificate that may change things here (SAFETY 20). Rejects with JnbdError.
 */
export async function answerFollowRoute(
  system: System,
  follows: Follows,
  route: FollowRoute,
  incoming: IncomingRequest,
): Promise<JsonAnswer> {
  const caller = decodeCaller(incoming.headers);
  if (route.kind === 'unfollow') return answerUnfollow(system, follows, route.groupId, incoming);
  const ask = parseJson(followAskSchema, incoming.body, 'the request to follow');
  checkCertificate(incoming.identity, caller.name, route.groupName, 'change');
  if (ask.target !== system.name) {
    throw new JnbdError(
      'exists_differently',
      `the system that was asked to follow is named ${system.name}, not ${ask.target}`,
    );
  }
  const known = system.groups.get(route.groupName);
  if (known && known.catalog.groupId !== ask.groupId) {
    throw new JnbdError(
      'exists_differently',
      `group ${route.groupName} on system ${system.name} is another group than ${ask.sourceGroup} of system ${caller.name}; follow it there under another name`,
    );
  }
  const { journalCapacityBytes } = ask;
  const { changed } = await follows.follow({
    group: route.groupName,
    url: peerUrl(incoming.identity, incoming.peer, ask.listenPort),
    sourceGroup: ask.sourceGroup,
    journalOnly: ask.journalOnly,
    rewind: false,
    compare: false,
    pace: undefined,
    batchSize: undefined,
    links: undefined,
    whenFull: undefined,
    synchronous: ask.synchronous,
    relief: undefined,
    seeds: [],
    settings: journalCapacityBytes === null ? {} : { journalCapacityBytes },
  });
  return jsonAnswer(200, { result: changed ? 'done' : 'already_done' });
}

/** Only its source takes a follower away. */
async function answerUnfollow(
  system: System,
  follows: Follows,
  groupId: string,
  { identity, headers }: IncomingRequest,
): Promise<JsonAnswer> {
  const caller = decodeCaller(headers);
  const group = system.findById(groupId);
  const { state } = group?.follow ?? {};
  if (!group || state?.sourceSystemId !== caller.systemId) {
    return jsonAnswer(200, { result: 'already_done' });
  }
  checkCertificate(identity, state.sourceName, group.name, 'change');
  const changed = await follows.unfollow(group.name);
  return jsonAnswer(200, { result: changed ? 'done' : 'already_done' });
}
