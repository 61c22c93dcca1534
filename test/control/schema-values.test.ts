import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAddress, parseDuration, parseSize } from '../../src/control/schema-values.ts';
import { formatAddress } from '../../src/platform/network.ts';

describe('sizes', () => {
  it('are bytes, or numbers with a binary unit', () => {
    expect(parseSize('4096')).toBe(4096);
    expect(parseSize('1.5TiB')).toBe(1.5 * 2 ** 40);
    expect(parseSize('64 MiB')).toBe(64 * 2 ** 20);
    expect(parseSize('7B')).toBe(7);
  });

  it.each(['', '10G', '10GB', '10gib', '-1', '1e3', '0x10', 'KiB', '1.5', '99999999TiB', '1 2'])(
    'do not come as %j',
    (text) => expect(parseSize(text)).toBeUndefined(),
  );
});

describe('times', () => {
  it('have a unit', () => {
    expect(parseDuration('20ms')).toBe(20);
    expect(parseDuration('1.5s')).toBe(1500);
    expect(parseDuration('24h')).toBe(86_400_000);
    expect(parseDuration('20')).toBeUndefined();
    expect(parseDuration('1d')).toBeUndefined();
  });
});

describe('addresses', () => {
  it('are host and port, or a path', () => {
    expect(parseAddress('127.0.0.1:10809')).toEqual({
      kind: 'tcp',
      host: '127.0.0.1',
      port: 10809,
    });
    expect(parseAddress('[::1]:0')).toEqual({ kind: 'tcp', host: '::1', port: 0 });
    expect(parseAddress('unix:/run/x y')).toEqual({ kind: 'unix', path: '/run/x y' });
  });

  it.each(['', 'host', ':10809', 'host:', 'host:65536', '::1:10809', 'unix:', 'http://host:1'])(
    'do not come as %j',
    (text) => expect(parseAddress(text)).toBeUndefined(),
  );

  it('are read back as they are shown', () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
    fc.assert(
      fc.property(host, fc.integer({ min: 0, max: 65535 }), (name, port) => {
        const address = { kind: 'tcp', host: name, port } as const;
        expect(parseAddress(formatAddress(address))).toEqual(address);
      }),
    );
  });
});
