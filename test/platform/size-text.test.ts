import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatExactSize, formatSize, parseSize } from '../../src/platform/size-text.ts';

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

describe('sizes to look at', () => {
  it.each([
    [0, '0B'],
    [1023, '1023B'],
    [10 * 2 ** 30, '10GiB'],
    [1_471_026_299, '1.37GiB'],
  ])('%d reads %s', (bytes, text) => expect(formatSize(bytes)).toBe(text));

  it('are read back as they are written where a unit holds them', () => {
    const units = fc.constantFrom(1, 2 ** 10, 2 ** 20, 2 ** 30, 2 ** 40);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1023 }), units, (count, unit) => {
        expect(parseSize(formatSize(count * unit))).toBe(count * unit);
      }),
    );
  });
});

describe('sizes to compare', () => {
  it.each([
    [64 * 2 ** 20, '64MiB'],
    [1.5 * 2 ** 40, '1.5TiB'],
    [2 ** 30 + 512, '1048576.5KiB'],
    [2 ** 30 + 1, '1073741825B'],
    [2 ** 53 - 1, '9007199254740991B'],
  ])('%d reads %s', (bytes, text) => expect(formatExactSize(bytes)).toBe(text));

  it('are never rounded', () => {
    const quarters = fc
      .tuple(fc.integer({ min: 1, max: 4096 }), fc.constantFrom(8, 18, 28, 38))
      .map(([count, shift]) => count * 2 ** shift);
    fc.assert(
      fc.property(fc.oneof(fc.nat(2 ** 31 - 1), fc.maxSafeNat(), quarters), (bytes) => {
        expect(parseSize(formatExactSize(bytes))).toBe(bytes);
      }),
    );
  });
});
