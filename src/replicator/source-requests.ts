import type { Group } from '../group/group.ts';
import type { System } from '../group/system.ts';
import { JnbdError } from '../platform/errors.ts';
import { admit } from './admission.ts';
import { historyOf } from './members.ts';
import type { IncomingRequest, PeerIdentity } from './transport.ts';
import { decodeCaller, routeOf } from './wire.ts';
import {
  AdmissionRefused,
  jsonAnswer,
  type JsonAnswer,
  parseJson,
  problemAnswer,
  registrationSchema,
} from './wire-json.ts';

/**
 * Answers what is asked of a source beside its journals: to be followed, to be followed no more, and
 * which history it has.
 * `others` answers whatever is no matter of replication.
 */
export async function answerRequest(
  system: System,
  incoming: IncomingRequest,
  others: (incoming: IncomingRequest) => Promise<JsonAnswer>,
): Promise<JsonAnswer> {
  const route = routeOf(incoming.method, incoming.path);
  if (!route || route.kind === 'journal') return others(incoming);
  try {
    const caller = decodeCaller(incoming.headers);
    if (route.kind === 'lineage') {
      const group = findGroup(system, route.groupId);
      checkGroup(incoming.identity, group?.name ?? '');
      if (!group) {
        const text = `there is no group ${route.groupId} on system ${system.name}`;
        throw new JnbdError('group_not_found', text);
      }
      return jsonAnswer(200, historyOf(system, group));
    }
    if (route.kind === 'unregister') {
      if (route.systemId !== caller.systemId) {
        throw new JnbdError('follower_not_allowed', 'a system unregisters itself only');
      }
      const group = findGroup(system, route.groupId);
      checkGroup(incoming.identity, group?.name ?? '');
      const isDropped = group?.followers.drop(route.systemId) ?? false;
      return jsonAnswer(200, { result: isDropped ? 'done' : 'already_done' });
    }
    const registration = parseJson(registrationSchema, incoming.body, 'a registration');
    checkGroup(incoming.identity, route.groupName);
    return jsonAnswer(
      200,
      await admit(system, route.groupName, registration, incoming.identity, incoming.peer),
    );
  } catch (error) {
    if (error instanceof AdmissionRefused) return problemAnswer(error, error.details);
    if (error instanceof JnbdError) return problemAnswer(error);
    throw error;
  }
}

function findGroup(system: System, groupId: string): Group | undefined {
  return [...system.groups.values()].find(({ catalog }) => catalog.groupId === groupId);
}

/** A certificate may be limited to groups. */
function checkGroup(identity: PeerIdentity, groupName: string): void {
  if (identity.kind !== 'certificate') return;
  const { groups } = identity.rights;
  if (groups === 'all' || groups.includes(groupName)) return;
  throw new JnbdError(
    'follower_not_allowed',
    `the certificate of ${identity.certificate.subject} is for groups ${groups.join(', ')}, not for ${groupName}`,
  );
}
