import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alternativeNames, isHostName, sameHost } from '../../src/platform/certificate-names.ts';

function names(subjectAltName: string) {
  return alternativeNames({ subjectAltName });
}

describe('alternative names', () => {
  it('are read in every form that Node.js writes', () => {
    expect(
      names(
        'DNS:a.b, IP Address:10.0.0.1, URI:urn:x:y, email:a@b, DirName:"CN=c, O=d", URI:"u,\\"v"',
      ),
    ).toEqual({ hosts: ['a.b', '10.0.0.1'], uris: ['urn:x:y', 'u,"v'] });
    expect(alternativeNames({ subjectAltName: undefined as unknown as string })).toEqual({
      hosts: [],
      uris: [],
    });
  });

  it.each([
    '',
    'URI',
    'URI:a,b',
    'URI:a, ',
    'URI:a, b',
    'URI:"a',
    'URI:"a" b',
    'URI:"\\x"',
    'URI:a"b"',
    ', URI:a',
  ])('are not guessed: %j', (text) => expect(names(text)).toBeUndefined());

  it('do not become others by what is in them', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { minLength: 1 }), (values) => {
        const text = values.map((value) => `DNS:${JSON.stringify(value)}`).join(', ');
        expect(names(text)).toEqual({ hosts: values, uris: [] });
      }),
    );
  });
});

describe('hosts', () => {
  it.each(['a', 'a-b.c', 'A1.example', '*.example', '10.0.0.1', '::1', 'x'.repeat(63)])(
    'are named %s',
    (text) => expect(isHostName(text)).toBe(true),
  );

  it.each(['', '-a', 'a-', 'a..b', 'a.', '*', 'a.*', 'a_b', 'a b', 'a,b', 'x'.repeat(64), 'é'])(
    'are not named %j',
    (text) => expect(isHostName(text)).toBe(false),
  );

  it('are the same however they are written', () => {
    expect(sameHost('0:0:0:0:0:0:0:1')).toBe('::1');
    expect(sameHost('FE80::A')).toBe('fe80::a');
    expect(sameHost('Example')).toBe('example');
    expect(sameHost('10.0.0.1')).toBe('10.0.0.1');
  });
});
