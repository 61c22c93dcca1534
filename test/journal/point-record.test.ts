import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodePoint, encodePoint } from '../../src/journal/point-record.ts';
import { recordType } from '../../src/journal/record.ts';

const word = fc.nat(0xffff_ffff);
const point = fc.record({
  number: fc.nat(2 ** 48 - 1),
  sums: fc.array(fc.record({ volume: fc.nat(0xffff), low: word, high: word }), { maxLength: 20 }),
});

test('what is told comes back', () => {
  fc.assert(
    fc.property(point, (told) => {
      expect(decodePoint(encodePoint(told))).toEqual(told);
    }),
  );
  expect(decodePoint(encodePoint(undefined))).toEqual({ number: 0, sums: [] });
});

test('anything shorter or longer is none', () => {
  fc.assert(
    fc.property(point, fc.nat(300), (told, length) => {
      const bytes = Buffer.concat([encodePoint(told), Buffer.alloc(300)]);
      const isWhole = length === encodePoint(told).length;
      expect(decodePoint(bytes.subarray(0, length)) !== undefined).toBe(isWhole);
    }),
  );
});

test('the bytes are those of FORMAT.md', () => {
  const sums = [{ volume: 0x0102, low: 0x03040506, high: 0x0708090a }];
  const hex = Buffer.from(encodePoint({ number: 0x0b0c0d0e0f10, sums })).toString('hex');
  expect(hex).toBe('100f0e0d0c0b010002010000060504030a090807');
  expect(recordType.point).toBe(7);
});
