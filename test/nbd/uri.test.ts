import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatNbdUri, isNbdUri, parseNbdUri } from '../../src/nbd/uri.ts';

describe('NBD URIs', () => {
  it.each([
    ['nbd://example.com/g/v', { kind: 'tcp', host: 'example.com', port: 10809 }, 'g/v'],
    ['nbd://example.com:1234', { kind: 'tcp', host: 'example.com', port: 1234 }, ''],
    ['nbd://[::1]:99//disk', { kind: 'tcp', host: '::1', port: 99 }, '/disk'],
    ['nbd:///a%20b%2Fc', { kind: 'tcp', host: 'localhost', port: 10809 }, 'a b/c'],
    ['nbd+unix:///g/v?socket=/run/x', { kind: 'unix', path: '/run/x' }, 'g/v'],
    ['NBD+UNIX:///?socket=%2Frun%2Fy%20z', { kind: 'unix', path: '/run/y z' }, ''],
  ])('%s', (text, address, exportName) => {
    expect(isNbdUri(text)).toBe(true);
    expect(parseNbdUri(text)).toMatchObject({ address, exportName, isSecure: false });
  });

  it('say how TLS is to be done', () => {
    const uri = parseNbdUri(
      'nbds://alice@h/x?tls-type=psk&tls-psk-file=/k&tls-verify-peer=0&tls-hostname=n&tls-certificates=/c',
    );
    expect(uri).toMatchObject({ isSecure: true, userName: 'alice' });
    expect(uri.tls).toEqual({
      type: 'psk',
      hostName: 'n',
      verifyPeer: false,
      certificatesDirectory: '/c',
      preSharedKeyFile: '/k',
    });
    expect(parseNbdUri('nbds+unix:///?socket=/s')).toMatchObject({ isSecure: true });
  });

  it.each([
    'http://h/',
    'nbd:/h/x',
    'nbd://h:99999/',
    'nbd://h:x/',
    'nbd+unix:///x',
    'nbd://h/?socket=/x',
    'nbd://h/?surprise=1',
    'nbd://h/%zz',
    'nbds://h/?tls-type=magic',
    'nbds://h/?tls-verify-peer=maybe',
  ])('%s is refused', (text) => {
    expect(() => parseNbdUri(text)).toThrowError(/is no usable NBD URI/);
  });

  it('are read as they were written', () => {
    const address = fc.oneof(
      fc.record({
        kind: fc.constant('tcp' as const),
        host: fc.constantFrom('127.0.0.1', '::1', 'a.example'),
        port: fc.integer({ min: 1, max: 65535 }),
      }),
      fc.record({
        kind: fc.constant('unix' as const),
        path: fc.string({ minLength: 1, unit: 'grapheme' }).filter((path) => !path.includes('\0')),
      }),
    );
    const name = fc.string({ maxLength: 30, unit: 'grapheme' });
    fc.assert(
      fc.property(address, name, fc.boolean(), (where, exportName, isSecure) => {
        const parsed = parseNbdUri(formatNbdUri(where, exportName, isSecure));
        expect(parsed).toMatchObject({ address: where, exportName, isSecure });
      }),
    );
  });
});
