import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batchSize, pace, parseAddress } from '../../src/control/schema-values.ts';
import { formatAddress } from '../../src/platform/network.ts';

describe('paces and batches', () => {
  it('are read, and say what is wrong with a text', () => {
    expect(pace.parse('interval:5s')).toEqual({ mode: 'interval', intervalMilliseconds: 5000 });
    expect(batchSize.parse('1MiB')).toBe(2 ** 20);
    expect(pace.safeParse('quick').error?.issues[0]?.message).toMatch(/'quick' is no pace; write/);
    expect(batchSize.safeParse('1KiB').error?.issues[0]?.message).toMatch(/256KiB to 16MiB/);
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
