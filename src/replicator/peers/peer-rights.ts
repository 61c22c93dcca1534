import type { CertificateRights } from '../../platform/certificate-rights.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { PeerIdentity } from '../transport/transport.ts';

/** As `checkCertificate`, of what is no matter of a group. */
export function checkPeer(identity: PeerIdentity, system: string, isOpenToAll: boolean): void {
  if (identity.kind === 'loopback' || (identity.kind === 'anonymous' && isOpenToAll)) return;
  if (identity.kind === 'certificate' && identity.rights.system === system) return;
  throw new JnbdError(
    'follower_not_allowed',
    `system ${system} showed no certificate of its own; see jnbd pki issue`,
  );
}

/**
 * Whether who asks is the system that it says, and may do this to the group (SAFETY 20, 33). Who comes
 * from this machine may. Whoever showed no certificate may only where `isOpenToAll`, and never change
 * anything. Throws JnbdError follower_not_allowed.
 */
export function checkCertificate(
  identity: PeerIdentity,
  system: string,
  group: string,
  access: CertificateRights['access'],
  isOpenToAll = false,
): void {
  if (identity.kind === 'loopback') return;
  if (identity.kind === 'anonymous') {
    if (isOpenToAll && access === 'read') return;
    throw new JnbdError(
      'follower_not_allowed',
      `system ${system} showed no certificate, and group ${group} is for systems that have one`,
    );
  }
  const what = missingRight(identity.rights, system, group, access);
  if (what === undefined) return;
  throw new JnbdError(
    'follower_not_allowed',
    `the certificate of ${identity.certificate.subject} does not allow ${what}; issue one that does: jnbd pki issue`,
  );
}

function missingRight(
  rights: CertificateRights,
  system: string,
  group: string,
  access: CertificateRights['access'],
): string | undefined {
  if (rights.system !== system) return `system ${system} to use it: it is for ${rights.system}`;
  if (rights.groups !== 'all' && !rights.groups.includes(group)) {
    return `to touch group ${group}: it is for ${rights.groups.join(', ')}`;
  }
  return access === 'change' && rights.access === 'read' ? 'to change anything' : undefined;
}

/** Where whoever asks listens: at the address that it asks from. */
export function peerUrl({ kind }: PeerIdentity, peer: string, port: number): string {
  const scheme = kind === 'certificate' ? 'https' : 'http';
  return `${scheme}://${peer.replace(/:\d+$/, '')}:${port}`;
}
