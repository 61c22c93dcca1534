import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PreservedMap } from '../../src/history/preserved-map.ts';
import { blockBytes, KiB, MiB } from '../../src/platform/limits.ts';
import {
  areaBytes,
  blocksOf,
  blocksPerMapPage,
  mapRangeOf,
  mapStart,
} from '../../src/volume/area-layout.ts';
import { AreaMarks } from '../../src/volume/area-marks.ts';
import { BlockIndex } from '../../src/volume/block-index.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedRandom } from '../simulation/simulated-random.ts';

const sectors = fc.integer({ min: 1, max: (300 * MiB) / 512 });
const dataBytesOf = fc.oneof(
  sectors.map((count) => count * 512),
  fc.constantFrom(512, 4096, 4608, 128 * MiB, 128 * MiB + 512, 256 * MiB),
);

function newFile(sizeBytes: number) {
  const clock = new SimulatedClock();
  const disk = new SimulatedDisk({ clock, random: new SimulatedRandom('area') }).attach(
    () => undefined,
  );
  const file = disk.openSync('/area', 'create', 'volume');
  file.truncateSync(sizeBytes);
  return file;
}

describe('the layout of an area', () => {
  test('has a bit for each block, behind them', () => {
    fc.assert(
      fc.property(dataBytesOf, (dataBytes) => {
        const blocks = blocksOf(dataBytes);
        expect(mapStart(dataBytes)).toBe(blocks * blockBytes);
        const mapBytes = areaBytes(dataBytes) - mapStart(dataBytes);
        expect(mapBytes % 4096).toBe(0);
        expect(mapBytes * 8).toBeGreaterThanOrEqual(blocks);
        expect((mapBytes - 4096) * 8).toBeLessThan(blocks);
      }),
    );
  });

  test('says which pages of the map tell of some bytes', () => {
    fc.assert(
      fc.property(dataBytesOf, fc.nat(), fc.nat(), (dataBytes, from, count) => {
        const offset = (from % (dataBytes / 512)) * 512;
        const length = ((count % 600) + 1) * 512;
        const range = mapRangeOf(dataBytes, offset, length);
        if (range === undefined) throw new Error('some of it lies within the data');
        const first = Math.floor(offset / blockBytes);
        const last = Math.min(Math.ceil((offset + length) / blockBytes), blocksOf(dataBytes)) - 1;
        for (const block of [first, last]) {
          const byte = mapStart(dataBytes) + Math.floor(block / 8);
          expect(byte).toBeGreaterThanOrEqual(range.offset);
          expect(byte).toBeLessThan(range.offset + range.length);
        }
        expect(range.offset + range.length).toBeLessThanOrEqual(areaBytes(dataBytes));
      }),
    );
    expect(mapRangeOf(4096, 4096, 512)).toBeUndefined();
    expect(mapRangeOf(4096, 0, 0)).toBeUndefined();
  });
});

describe('the map of an area', () => {
  const ranges = fc.array(
    fc.record({ start: fc.nat(), length: fc.integer({ min: 1, max: 200 * KiB }) }),
    { maxLength: 20 },
  );

  test('has every block that was marked and no other, whatever way it is read', () => {
    fc.assert(
      fc.property(dataBytesOf, ranges, (dataBytes, marked) => {
        const file = newFile(areaBytes(dataBytes));
        const blocks = blocksOf(dataBytes);
        const expected = new Set<number>();
        const written: number[] = [];
        const marks = new AreaMarks((_volume, at) => written.push(at));
        for (const { start, length } of marked) {
          const offset = start % dataBytes;
          marks.mark(7, file, dataBytes, offset, length);
          const end = Math.min(Math.ceil((offset + length) / blockBytes), blocks);
          for (let block = Math.floor(offset / blockBytes); block < end; block += 1)
            expected.add(block);
        }
        marks.finish();
        for (const at of written) expect(at).toBeGreaterThanOrEqual(mapStart(dataBytes));
        const map = PreservedMap.load(file, 7, dataBytes, new BlockIndex(1024));
        const sorted = [...expected].sort((a, b) => a - b);
        expect(listed(map, true, blocks)).toEqual(sorted);
        for (const block of sorted.slice(0, 50)) {
          expect(map.has(block)).toBe(true);
          const end = map.next(false, block, blocks);
          expect(end === blocks || !expected.has(end)).toBe(true);
          expect(map.has(Math.max(0, block - 1))).toBe(expected.has(Math.max(0, block - 1)));
        }
        file.closeSync();
      }),
      { numRuns: 60 },
    );
  });

  test('has what is only in the journal', () => {
    const dataBytes = 256 * MiB;
    const file = newFile(areaBytes(dataBytes));
    const index = new BlockIndex(4096);
    index.active.insertData(7, 3 * blockBytes, 2 * blockBytes, 1, 1, 5000);
    index.active.insertData(8, 9 * blockBytes, blockBytes, 2, 1, 15_000);
    index.active.insertRange(7, 2, 64 * MiB, 128 * MiB, 3, 1, 20_000);
    index.freeze();
    index.active.insertData(7, 0, blockBytes, 4, 1, 25_000);
    const map = PreservedMap.load(file, 7, dataBytes, index);
    const blocks = blocksOf(dataBytes);
    const from = (64 * MiB) / blockBytes;
    const to = (192 * MiB) / blockBytes;
    expect(listed(map, true, blocks).length).toBe(3 + to - from);
    expect([map.has(0), map.has(1), map.has(3), map.has(4), map.has(5), map.has(9)]).toEqual([
      true,
      false,
      true,
      true,
      false,
      false,
    ]);
    expect(map.next(false, from, blocks)).toBe(to);
    expect(map.next(true, 5, blocks)).toBe(from);
    expect(map.next(true, to, blocks)).toBe(blocks);
    expect(map.bytes).toBe((2 * blocksPerMapPage) / 8);
    file.closeSync();
  });

  test('does not grow behind the data', () => {
    const map = new PreservedMap(4096 + 512);
    map.set(0, 10);
    expect([map.has(0), map.has(1), map.has(2)]).toEqual([true, true, false]);
  });
});

function listed(map: PreservedMap, isThere: boolean, blocks: number): number[] {
  const found: number[] = [];
  for (let at = map.next(isThere, 0, blocks); at < blocks; ) {
    found.push(at);
    at = map.next(isThere, at + 1, blocks);
  }
  return found;
}
