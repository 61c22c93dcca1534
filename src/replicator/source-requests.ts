import type { System } from '../group/system.ts';
import { JnbdError } from '../platform/errors.ts';
import { admit, AdmissionRefused } from './admission.ts';
import type { IncomingRequest, PeerIdentity } from './transport.ts';
import { decodeCaller, routeOf } from './wire.ts';
import {
  jsonAnswer,
  type JsonAnswer,
  parseJson,
  problemAnswer,
  registrationSchema,
} from './wire-json.ts';

/**
 * Answers what is asked of a source beside its journals: to be followed, and to be followed no more.
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
    if (route.kind === 'unregister') {
      if (route.systemId !== caller.systemId) {
        throw new JnbdError('follower_not_allowed', 'a system unregisters itself only');
      }
      const group = [...system.groups.values()].find(
        ({ catalog }) => catalog.groupId === route.groupId,
      );
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
