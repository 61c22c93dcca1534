import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { crc32 } from '../../src/platform/checksum.ts';
import { KiB } from '../../src/platform/limits.ts';
import {
  type Region,
  RegionSet,
  regionGrainBytes,
  regionsMax,
} from '../../src/volume/region-set.ts';

const bytes = 40;
const volumes = 3;
const volume = fc.nat({ max: volumes - 1 });
const step = fc.record({
  kind: fc.constantFrom('add', 'add', 'add', 'remove', 'through', 'clip', 'forget', 'look'),
  volume,
  offset: fc.nat({ max: bytes - 1 }),
  length: fc.nat({ max: 12 }),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Every byte that is in the set. */
class Model {
  readonly bytes = new Set<string>();

  do({ kind, volume, offset, length }: Step): void {
    const all = [...Array(bytes * 2).keys()];
    const chosen = {
      add: all.slice(offset, offset + length),
      remove: all.slice(offset, offset + length),
      through: all.slice(0, offset),
      clip: all.slice(offset),
      forget: all,
      look: [],
    }[kind] as number[];
    for (const at of chosen) {
      if (kind === 'add') this.bytes.add(`${volume}/${at}`);
      else this.bytes.delete(`${volume}/${at}`);
    }
  }
}

function doWith(set: RegionSet, { kind, volume, offset, length }: Step): void {
  if (kind === 'add') set.add(volume, offset, length);
  else if (kind === 'remove') set.remove(volume, offset, length);
  else if (kind === 'through') set.removeThrough(volume, offset);
  else if (kind === 'clip') set.clip(volume, offset);
  else if (kind === 'forget') set.forget(volume);
  else assert.equal(set.count, [...set.ranges()].length);
}

function bytesOf(regions: Iterable<Region>): Set<string> {
  const found = new Set<string>();
  for (const { volume, offset, length } of regions) {
    for (let at = offset; at < offset + length; at += 1) found.add(`${volume}/${at}`);
  }
  return found;
}

function expectInOrder(regions: readonly Region[]): void {
  const wrong = regions.filter(({ volume, offset, length }, at) => {
    const next = regions[at + 1];
    const isBefore =
      next === undefined ||
      next.volume > volume ||
      (next.volume === volume && next.offset > offset + length);
    return length <= 0 || !isBefore;
  });
  expect(wrong).toEqual([]);
}

test('holds the bytes that were added and not removed, in order, none touching another', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const set = new RegionSet();
      const model = new Model();
      for (const each of steps) {
        doWith(set, each);
        model.do(each);
      }
      const regions = [...set.ranges()];
      expect(bytesOf(regions)).toEqual(model.bytes);
      expectInOrder(regions);
      expect(set.bytes).toBe(model.bytes.size);
      expect(set.count).toBe(regions.length);
      expect(set.isEmpty).toBe(model.bytes.size === 0);
      expect(set.volumes()).toEqual([...new Set(regions.map((region) => region.volume))]);
      for (const { volume, offset, length } of steps) {
        const all = bytesOf([{ volume, offset, length }]);
        const isCovered = [...all].every((byte) => model.bytes.has(byte));
        expect(set.covers(volume, offset, length)).toBe(isCovered);
      }
    }),
    { numRuns: 500 },
  );
});

const anywhere = fc.record({
  volume: fc.nat({ max: 0xffff }),
  offset: fc.nat({ max: 2 ** 48 - 2 ** 33 }),
  length: fc.integer({ min: 1, max: 2 ** 33 }),
});

test('gives back after encoding what it had', () => {
  fc.assert(
    fc.property(fc.array(anywhere, { maxLength: 50 }), (regions) => {
      const set = RegionSet.of(regions);
      const encoded = set.encode();
      const decoded = RegionSet.decode(encoded, 'it');
      expect([...decoded.ranges()]).toEqual([...set.ranges()]);
      expect(Buffer.compare(decoded.encode(), encoded)).toBe(0);
      for (const region of regions) {
        expect(decoded.covers(region.volume, region.offset, region.length)).toBe(true);
      }
    }),
  );
});

test('adds another set', () => {
  fc.assert(
    fc.property(fc.array(anywhere), fc.array(anywhere), (a, b) => {
      const set = RegionSet.of(a);
      set.addAll(RegionSet.of(b));
      expect([...set.ranges()]).toEqual([...RegionSet.of([...b, ...a]).ranges()]);
    }),
  );
});

/** So many regions of `length`, each `apart` from the next, in an order that is none. */
function* scattered(count: number, apart: number, length: number): Generator<Region> {
  for (let i = 0; i < count; i += 1) {
    const at = (i * 7919) % count;
    yield { volume: at % 3, offset: at * apart, length };
  }
}

test.each([
  { count: regionsMax, apart: 8 * KiB, grain: 1 },
  { count: regionsMax + 1, apart: 128 * KiB, grain: regionGrainBytes * 8 },
  { count: regionsMax * 3, apart: 8 * KiB, grain: regionGrainBytes },
  { count: regionsMax * 4, apart: 32 * KiB, grain: regionGrainBytes },
])(
  'keeps all of $count regions $apart apart, in no more than it may',
  ({ count, apart, grain }) => {
    const length = 4 * KiB;
    const regions = [...scattered(count, apart, length)];
    const set = RegionSet.of(regions);
    expect(set.count).toBeLessThanOrEqual(regionsMax);
    const missing = regions.filter(({ volume, offset }) => !set.covers(volume, offset, length));
    expect(missing).toEqual([]);
    const found = [...set.ranges()];
    expectInOrder(found);
    const bytesMax = grain === 1 ? count * length : count * (2 * grain + length);
    expect(set.bytes).toBeGreaterThanOrEqual(count * length);
    expect(set.bytes).toBeLessThanOrEqual(bytesMax);
    const decoded = RegionSet.decode(set.encode(), 'it');
    expect([...decoded.ranges()]).toEqual(found);
  },
);

test('takes the end of the address space, and no more', () => {
  const set = RegionSet.of([{ volume: 0xffff, offset: 2 ** 48 - 1, length: 1 }]);
  expect(set.bytes).toBe(1);
  expect(RegionSet.decode(set.encode(), 'it').covers(0xffff, 2 ** 48 - 1, 1)).toBe(true);
  expect(() => set.add(1, 2 ** 48, 1)).toThrow('48 bits');
  expect(() => set.add(1, -1, 2)).toThrow('48 bits');
});

test('is laid out as written in FORMAT.md', () => {
  const set = RegionSet.of([
    { volume: 0x0201, offset: 0x0605_0403_0201, length: 0x1000 },
    { volume: 1, offset: 0, length: 512 },
  ]);
  const hex = Buffer.from(set.encode()).toString('hex');
  const contents = [
    '6a524731', // jRG1
    '0100', // version
    '0000',
    '02000000', // regions
    '0100' + '000000000000' + '000200000000',
    '0102' + '010203040506' + '001000000000',
  ].join('');
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(Buffer.from(contents, 'hex')));
  expect(hex).toBe(contents + checksum.toString('hex'));
});

test('an empty set is 16 bytes', () => {
  const encoded = new RegionSet().encode();
  expect(encoded.length).toBe(16);
  expect(RegionSet.decode(encoded, 'it').isEmpty).toBe(true);
});

test('refuses what is damaged in any byte, cut off, or newer', () => {
  const encoded = Buffer.from(RegionSet.of([{ volume: 1, offset: 4096, length: 512 }]).encode());
  for (let at = 0; at < encoded.length; at += 1) {
    const changed = Buffer.from(encoded);
    changed.writeUInt8(changed.readUInt8(at) ^ 0x10, at);
    expect(() => RegionSet.decode(changed, `it, byte ${at}`)).toThrow(`byte ${at} is damaged`);
    expect(() => RegionSet.decode(encoded.subarray(0, at), 'it')).toThrow('damaged');
  }
  const newer = Buffer.from(encoded);
  newer.writeUInt16LE(2, 4);
  newer.writeUInt32LE(crc32(newer.subarray(0, -4)), newer.length - 4);
  expect(() => RegionSet.decode(newer, 'dirty-7')).toThrow('dirty-7 has format 2');
});
