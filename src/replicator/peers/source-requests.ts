import type { Group } from '../../group/order/group.ts';
import type { System } from '../../group/system/system.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { OwnLoad } from '../../platform/own-load.ts';
import { admit } from './admission.ts';
import { loadPath } from './load-request.ts';
import { decodeAsker, historyOf, type Member } from './members.ts';
import { checkCertificate, checkPeer, peerUrl } from './peer-rights.ts';
import { answerFollowRoute, type Follows, followRouteOf } from './remote-follow.ts';
import type { IncomingRequest, PeerIdentity } from '../transport/transport.ts';
import { type Caller, decodeCaller, routeOf, type WireRoute } from '../protocol/wire.ts';
import {
  AdmissionRefused,
  jsonAnswer,
  type JsonAnswer,
  parseJson,
  problemAnswer,
  registrationSchema,
} from '../protocol/wire-json.ts';

export interface SourceRequestsDependencies {
  readonly system: System;
  readonly follows: Follows;
  /** Whether systems that showed no certificate may follow (`--insecure`). */
  readonly isOpenToAll: boolean;
  readonly load: () => OwnLoad;
  /** Somebody asked which history there is here, and listens at `url` himself. */
  readonly asked: (group: Group, member: Member, generation: number) => void;
  /** Answers whatever is no matter of replication. */
  readonly others: (incoming: IncomingRequest) => Promise<JsonAnswer>;
}

/**
 * Answers what is asked of a system beside its journals: to be followed, and to be followed no more, to
 * follow another one, and which history it has.
 */
export async function answerRequest(
  deps: SourceRequestsDependencies,
  incoming: IncomingRequest,
): Promise<JsonAnswer> {
  const { method, path } = incoming;
  const route = routeOf(method, path);
  const followRoute = followRouteOf(method, path);
  try {
    if (followRoute)
      return await answerFollowRoute(deps.system, deps.follows, followRoute, incoming);
    if (route?.kind === 'register') return await register(deps, route.groupName, incoming);
    if (route?.kind === 'unregister') return unregister(deps, route, incoming);
    if (route?.kind === 'lineage') return history(deps, route.groupId, incoming);
    if (method === 'GET' && path === loadPath) return load(deps, incoming);
    return await deps.others(incoming);
  } catch (error) {
    if (error instanceof AdmissionRefused) return problemAnswer(error, error.details);
    if (error instanceof JnbdError) return problemAnswer(error);
    throw error;
  }
}

function history(
  { system, isOpenToAll, asked }: SourceRequestsDependencies,
  groupId: string,
  { headers, identity, peer }: IncomingRequest,
): JsonAnswer {
  const caller = decodeCaller(headers);
  const group = system.findById(groupId);
  checkCertificate(identity, caller.name, group?.name ?? '', 'read', isOpenToAll);
  if (group) {
    const asker = decodeAsker(headers);
    if (asker && isHeard(group, caller, identity)) {
      const { port, generation } = asker;
      asked(group, { ...caller, url: peerUrl(identity, peer, port) }, generation);
    }
    return jsonAnswer(200, historyOf(system, group));
  }
  const text = `there is no group ${groupId} on system ${system.name}`;
  throw new JnbdError('group_not_found', text);
}

/**
 * Whether it counts that somebody says that it has taken over: hosts are refused for that. A certificate for
 * reading alone does not say it, unless its system is one of those that follow.
 */
function isHeard(
  { catalog, followers }: Group,
  { systemId, name }: Caller,
  identity: PeerIdentity,
) {
  if (identity.kind === 'loopback') return true;
  const isMember = followers.find(systemId)?.name === name;
  const isAllowed = catalog.allowedFollowers?.includes(name) ?? false;
  const mayChange = identity.kind === 'certificate' && identity.rights.access === 'change';
  return isMember || isAllowed || mayChange;
}

async function register(
  { system, isOpenToAll }: SourceRequestsDependencies,
  groupName: string,
  { headers, body, identity, peer }: IncomingRequest,
): Promise<JsonAnswer> {
  const caller = decodeCaller(headers);
  const registration = parseJson(registrationSchema, body, 'a registration');
  if (registration.systemId !== caller.systemId || registration.name !== caller.name) {
    throw new JnbdError('protocol_violated', 'a system registers itself only');
  }
  checkCertificate(identity, caller.name, groupName, 'read', isOpenToAll);
  return jsonAnswer(200, await admit(system, groupName, registration, identity, peer));
}

function load(
  { load: read, isOpenToAll }: SourceRequestsDependencies,
  { headers, identity }: IncomingRequest,
): JsonAnswer {
  checkPeer(identity, decodeCaller(headers).name, isOpenToAll);
  return jsonAnswer(200, read());
}

function unregister(
  { system, isOpenToAll }: SourceRequestsDependencies,
  { groupId, systemId }: WireRoute & { readonly kind: 'unregister' },
  { headers, identity }: IncomingRequest,
): JsonAnswer {
  const caller = decodeCaller(headers);
  const group = system.findById(groupId);
  const known = group?.followers.find(systemId);
  const isItself = systemId === caller.systemId && (known?.name ?? caller.name) === caller.name;
  if (!isItself) throw new JnbdError('follower_not_allowed', 'a system unregisters itself only');
  checkCertificate(identity, caller.name, group?.name ?? '', 'read', isOpenToAll);
  const isDropped = group?.followers.drop(systemId) ?? false;
  group?.synchronous.gaveUp(systemId);
  return jsonAnswer(200, { result: isDropped ? 'done' : 'already_done' });
}
