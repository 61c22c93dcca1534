import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type CertificateRights,
  formatRights,
  parseRights,
  rightsOf,
} from '../../src/platform/certificate-rights.ts';

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
const rights: fc.Arbitrary<CertificateRights> = fc.record({
  system: name,
  groups: fc.oneof(
    fc.constant('all' as const),
    fc.uniqueArray(name, { minLength: 1, maxLength: 5 }),
  ),
  access: fc.constantFrom('read', 'change'),
});

describe('rights', () => {
  it('are read back as they are written, among other names', () => {
    fc.assert(
      fc.property(rights, fc.array(fc.webUrl()), (each, others) => {
        expect(parseRights([...others, ...formatRights(each)])).toEqual(each);
      }),
    );
  });

  it('are these', () => {
    const system = 'urn:jnbd:system:paris';
    expect(parseRights([system])).toEqual({ system: 'paris', groups: 'all', access: 'change' });
    expect(parseRights([system, 'urn:jnbd:group:main', 'urn:jnbd:access:read'])).toEqual({
      system: 'paris',
      groups: ['main'],
      access: 'read',
    });
  });

  it.each([
    [[]],
    [['https://example.org/urn:jnbd:system:a']],
    [['urn:jnbd:group:main']],
    [['urn:jnbd:system:a', 'urn:jnbd:system:b']],
    [['urn:jnbd:system:a b']],
    [['urn:jnbd:system:a/../b']],
    [['urn:jnbd:system:a', 'urn:jnbd:group:']],
    [['urn:jnbd:system:a', 'urn:jnbd:group:*']],
    [['urn:jnbd:system:a', 'urn:jnbd:access:all']],
    [['urn:jnbd:system:a', 'urn:jnbd:volume:main/disk']],
    [['urn:jnbd:system:a', 'URN:JNBD:group:main']],
    [['urn:jnbd:system:a', 'urn:jnbd:']],
  ])('are none where a certificate says %j', (uris) => {
    expect(parseRights(uris)).toBeUndefined();
  });

  it('only shrink with what is added', () => {
    fc.assert(
      fc.property(rights, fc.array(name.map((each) => `urn:jnbd:${each}`)), (each, more) => {
        const got = parseRights([...formatRights(each), ...more]);
        expect(got === undefined || got.access === each.access).toBe(true);
      }),
    );
  });
});

async function certificateWith(names: x509.JsonGeneralNames): Promise<Uint8Array> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=test',
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.SubjectAlternativeNameExtension(names)],
  });
  return new Uint8Array(certificate.rawData);
}

describe('the rights of a certificate', () => {
  it('stand in its URIs', async () => {
    const raw = await certificateWith([
      { type: 'dns', value: 'paris' },
      { type: 'url', value: 'urn:jnbd:system:paris' },
      { type: 'url', value: 'urn:jnbd:group:a.b-c_1' },
    ]);
    expect(rightsOf({ raw })).toEqual({ system: 'paris', groups: ['a.b-c_1'], access: 'change' });
  });

  it.each<[string, x509.JsonGeneralNames]>([
    ['a host with a comma', [{ type: 'dns', value: 'a, URI:urn:jnbd:system:paris' }]],
    ['a host with a quote', [{ type: 'dns', value: 'a", URI:"urn:jnbd:system:paris' }]],
    ['a host', [{ type: 'dns', value: 'urn:jnbd:system:paris' }]],
    ['a URI with two', [{ type: 'url', value: 'urn:jnbd:system:paris, URI:urn:jnbd:group:a' }]],
    ['none', [{ type: 'dns', value: 'a' }]],
  ])('do not stand in %s', async (_, names) => {
    expect(rightsOf({ raw: await certificateWith(names) })).toBeUndefined();
  });

  it('are none where there is no certificate', () => {
    expect(rightsOf({ raw: new Uint8Array() })).toBeUndefined();
    expect(rightsOf({ raw: new Uint8Array([0x30, 0x82, 1, 0, 1, 2]) })).toBeUndefined();
  });
});
