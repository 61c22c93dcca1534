import { describe, expect, test } from 'vitest';
import type { CertificateRights } from '../../../src/platform/certificate-rights.ts';
import { checkCertificate, checkPeer } from '../../../src/replicator/peers/peer-rights.ts';
import { violationOf } from '../protocol/violation.ts';
import type { PeerIdentity } from '../../../src/replicator/transport/transport.ts';

const loopback: PeerIdentity = { kind: 'loopback' };
const anonymous: PeerIdentity = { kind: 'anonymous' };

function certificate(rights: Partial<CertificateRights>): PeerIdentity {
  return {
    kind: 'certificate',
    certificate: { subject: 'beta', fingerprint: '', raw: new Uint8Array(0) },
    rights: { system: 'beta', groups: 'all', access: 'change', ...rights },
  };
}

describe('what a peer may do', () => {
  test.each<[PeerIdentity, 'read' | 'change', boolean, RegExp | undefined]>([
    [loopback, 'change', false, undefined],
    [anonymous, 'read', false, /no certificate/],
    [anonymous, 'read', true, undefined],
    [anonymous, 'change', true, /no certificate/],
    [certificate({}), 'change', false, undefined],
    [certificate({ access: 'read' }), 'read', false, undefined],
    [certificate({ access: 'read' }), 'change', false, /to change anything/],
    [certificate({ groups: ['g'] }), 'change', false, undefined],
    [certificate({ groups: ['h'] }), 'read', false, /to touch group g: it is for h/],
    [certificate({ system: 'gamma' }), 'read', false, /it is for gamma/],
    [certificate({ system: 'gamma' }), 'read', true, /it is for gamma/],
  ])('to group g as beta: %j, %s, open to all: %s', (identity, access, isOpen, refused) => {
    const check = () => checkCertificate(identity, 'beta', 'g', access, isOpen);
    expect(violationOf(check)?.message ?? 'allowed').toMatch(refused ?? /^allowed$/);
  });

  test('beside groups', () => {
    checkPeer(loopback, 'beta', false);
    checkPeer(certificate({ groups: ['x'], access: 'read' }), 'beta', false);
    checkPeer(anonymous, 'beta', true);
    expect(() => checkPeer(anonymous, 'beta', false)).toThrow('pki issue');
    expect(() => checkPeer(certificate({ system: 'gamma' }), 'beta', true)).toThrow('pki issue');
  });
});
