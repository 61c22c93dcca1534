import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  type SegmentHeader,
  segmentFileName,
  segmentFilePattern,
} from '../../src/journal/segment.ts';

const bits48 = fc.oneof(
  fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1),
  fc.integer({ min: 0, max: 2 ** 48 - 1 }),
);
const bits32 = fc.oneof(
  fc.constantFrom(0, 2 ** 31, 2 ** 32 - 1),
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
);
const headers: fc.Arbitrary<SegmentHeader> = fc.record({
  groupId: fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .map((id) => Buffer.from(id).toString('hex')),
  generation: bits32,
  generationSystem: bits48,
  incarnation: bits48,
  sequence: bits48,
  firstNumber: bits48,
  durable: bits48,
  timeBaseMilliseconds: bits48,
  salt: bits32,
});
const [sample] = fc.sample(headers, { numRuns: 1, seed: 7 });
const copies = [0, 2048];
const headerBytes = 96;

function sampleBlock(): Uint8Array {
  if (!sample) throw new Error('there is a sample');
  return encodeSegmentHeader(sample);
}

function flip(block: Uint8Array, bit: number): void {
  block[bit >> 3] = (block[bit >> 3] ?? 0) ^ (1 << (bit & 7));
}

test('what is encoded is decoded', () => {
  fc.assert(
    fc.property(headers, (header) => {
      const block = encodeSegmentHeader(header);
      expect(block.length).toBe(4096);
      expect(decodeSegmentHeader(block)).toEqual({ kind: 'header', header });
    }),
  );
});

test('the two copies are in two sectors', () => {
  const block = sampleBlock();
  expect(block.subarray(2048, 2048 + headerBytes)).toEqual(block.subarray(0, headerBytes));
  const outside = Buffer.concat([
    block.subarray(headerBytes, 2048),
    block.subarray(2048 + headerBytes),
  ]);
  expect(outside.every((byte) => byte === 0)).toBe(true);
});

describe('a flipped bit', () => {
  test.each(copies)('in the copy at %i leaves the other one', (at) => {
    const block = sampleBlock();
    for (let bit = at * 8; bit < (at + headerBytes) * 8; bit += 1) {
      flip(block, bit);
      expect(decodeSegmentHeader(block), `bit ${bit}`).toEqual({ kind: 'header', header: sample });
      flip(block, bit);
    }
  });

  test('in both copies is damage, never another header', () => {
    const bits = fc.integer({ min: 0, max: headerBytes * 8 - 1 });
    fc.assert(
      fc.property(bits, bits, (first, second) => {
        const block = sampleBlock();
        flip(block, first);
        flip(block, 2048 * 8 + second);
        expect(decodeSegmentHeader(block)).toEqual({ kind: 'bad' });
      }),
      { numRuns: 500 },
    );
  });
});

test('a copy that was not written whole leaves the other one', () => {
  const block = sampleBlock();
  for (const at of copies) {
    const torn = Uint8Array.from(block);
    torn.fill(0, at, at + 512);
    expect(decodeSegmentHeader(torn)).toEqual({ kind: 'header', header: sample });
  }
});

test('nothing but zeroes was never used', () => {
  expect(decodeSegmentHeader(new Uint8Array(4096))).toEqual({ kind: 'blank' });
  const almost = new Uint8Array(4096);
  almost[4095] = 1;
  expect(decodeSegmentHeader(almost)).toEqual({ kind: 'bad' });
  expect(decodeSegmentHeader(new Uint8Array(4095))).toEqual({ kind: 'bad' });
});

test('a newer format is told from damage', async () => {
  const { crc32 } = await import('../../src/platform/checksum.ts');
  const block = Buffer.from(sampleBlock());
  for (const at of copies) {
    block.writeUInt16LE(2, at + 8);
    block.writeUInt32LE(crc32(block.subarray(at, at + headerBytes - 4)), at + headerBytes - 4);
  }
  expect(decodeSegmentHeader(block)).toEqual({ kind: 'newer', formatVersion: 2 });
});

test('a newer format may have a longer header', async () => {
  const { crc32 } = await import('../../src/platform/checksum.ts');
  const block = Buffer.alloc(4096);
  for (const at of copies) {
    block.write('jnbdSEG1', at, 'latin1');
    block.writeUInt16LE(3, at + 8);
    block.writeUInt16LE(200, at + 10);
    block.writeUInt32LE(crc32(block.subarray(at, at + 196)), at + 196);
  }
  expect(decodeSegmentHeader(block)).toEqual({ kind: 'newer', formatVersion: 3 });
});

test('file names are six digits, in the order of slots', () => {
  const names = [0, 1, 9, 10, 999_999].map(segmentFileName);
  expect(names[0]).toBe('000000.segment');
  expect(names.every((name) => segmentFilePattern.test(name))).toBe(true);
  expect([...names].sort()).toEqual(names);
  expect(segmentFilePattern.test('0000000.segment')).toBe(false);
});
