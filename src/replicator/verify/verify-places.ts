import type { Group } from '../../group/order/group.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { PeerPlace } from './verify-peer.ts';
import type { VerifiedSystem } from '../../group/system/verification.ts';

/** Throws JnbdError state_refuses. */
export function sourcePlace({ name, role, follow: { state } }: Group): PeerPlace {
  if (state && role === 'secondary') {
    return { systemId: state.sourceSystemId, name: state.sourceName, url: state.url };
  }
  throw new JnbdError('state_refuses', `group ${name} is ${role} here, and follows nobody`);
}

/**
 * With whom a group is compared: a follower with its source, a primary with those that follow it, and who cannot be
 * asked. With `only`, which is who is right, with that one alone. Throws JnbdError: follower_not_found, state_refuses.
 */
export function placesToCompare(
  group: Group,
  only: string | undefined,
): { readonly places: readonly PeerPlace[]; readonly failed: readonly VerifiedSystem[] } {
  const { name, role, follow, followers } = group;
  if (role !== 'primary') {
    const places = follow.state && role === 'secondary' ? [sourcePlace(group)] : [];
    if (only !== undefined && only !== places[0]?.name) {
      throw new JnbdError(
        'state_refuses',
        `group ${name} is ${role} here, and can be repaired from its source alone${places[0] ? `, which is ${places[0].name}` : ', but follows nobody'}`,
      );
    }
    if (!follow.state?.isSuspended) return { places, failed: [] };
    const reason = `receiving is suspended here; go on with it first: jnbd resume ${name}`;
    return { places: [], failed: places.map((each) => failedSystem(each.name, reason)) };
  }
  const all = followers.list().filter((each) => only === undefined || each.name === only);
  if (only !== undefined && all.length === 0) {
    const names = followers.list().map((each) => each.name);
    throw new JnbdError(
      'follower_not_found',
      `no system ${only} follows group ${name}; there is: ${names.join(', ') || 'nobody'}. To repair a follower from here, say so there`,
    );
  }
  const places: PeerPlace[] = [];
  const failed: VerifiedSystem[] = [];
  for (const { systemId, name: follower, state, listens } of all) {
    const reason = !listens
      ? 'it did not say where it listens'
      : state === 'following'
        ? undefined
        : `it is ${state}`;
    if (listens && reason === undefined) {
      places.push({ systemId, name: follower, url: listens.url });
    } else {
      failed.push(failedSystem(follower, reason ?? ''));
    }
  }
  return { places, failed };
}

function failedSystem(name: string, reason: string): VerifiedSystem {
  return { name, result: 'failed', reason, differingBytes: 0, differences: [] };
}
