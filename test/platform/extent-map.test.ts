import { readSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DiskFile, FileExtent } from '../../src/platform/disk.ts';
import { seekExtent } from '../../src/platform/extent-map.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { tellsReserved } from '../support/reserved-space.ts';
import { directory, open, pattern, useRealFiles } from './real-files.ts';

useRealFiles();

const isTold = tellsReserved(directory);
const extent: FileExtent = { storage: 'data', end: 0, work: 0 };

/** Neighbours of one kind joined: `kind from-end`. */
function mapOf(file: DiskFile, from: number, end: number): string[] {
  const found: { storage: string; from: number; end: number }[] = [];
  for (let at = from; at < end; at = extent.end) {
    file.extentSync(at, end, extent);
    expect(extent.end).toBeGreaterThan(at);
    expect(extent.end).toBeLessThanOrEqual(end);
    const last = found.at(-1);
    if (last?.storage === extent.storage) last.end = extent.end;
    else found.push({ storage: extent.storage, from: at, end: extent.end });
  }
  return found.map((one) => `${one.storage} ${one.from / KiB}-${one.end / KiB}`);
}

describe.skipIf(!isTold)('on a file system that tells', () => {
  test('data, reserved space and holes are told apart', () => {
    const file = open();
    file.truncateSync(16 * MiB);
    expect(mapOf(file, 0, 16 * MiB)).toEqual(['hole 0-16384']);
    file.writeSync(pattern(MiB), 0, MiB, MiB);
    file.zeroRangeSync(4 * MiB, MiB);
    file.dataSyncSync();
    const expected = [
      'hole 0-1024',
      'data 1024-2048',
      'hole 2048-4096',
      'reserved 4096-5120',
      'hole 5120-16384',
    ];
    expect(mapOf(file, 0, 16 * MiB)).toEqual(expected);
    expect(mapOf(file, 4 * MiB + 512, 4 * MiB + 1024)).toEqual(['reserved 4096.5-4097']);
    // Zeroes that were read are in the page cache, and still were never written.
    readSync(file.descriptor, Buffer.alloc(4 * MiB), 0, 4 * MiB, 3 * MiB);
    expect(mapOf(file, 0, 16 * MiB)).toEqual(expected);
    file.punchHoleSync(MiB, MiB);
    expect(mapOf(file, 0, 4 * MiB)).toEqual(['hole 0-4096']);
  });

  test('what is only in the page cache is data, wherever it is', () => {
    const file = open();
    file.truncateSync(8 * MiB);
    file.zeroRangeSync(0, 4 * MiB);
    file.dataSyncSync();
    for (const at of [1 * MiB, 5 * MiB]) {
      file.writeSync(pattern(4096), 0, 4096, at);
      file.extentSync(at, 8 * MiB, extent);
      expect(extent.storage).toBe('data');
      // Not more of what is beside it is called data than has to be.
      expect(extent.end).toBeLessThanOrEqual(at + 64 * KiB);
      file.extentSync(at - 512 * KiB, 8 * MiB, extent);
      expect(extent).toMatchObject({ storage: at < 4 * MiB ? 'reserved' : 'hole' });
      expect(extent.end).toBeLessThanOrEqual(at);
      // In part of a folio that was written.
      file.zeroRangeSync(at + 64 * KiB, 64 * KiB);
      file.writeSync(pattern(256 * KiB), 0, 256 * KiB, at + 256 * KiB);
      file.zeroRangeSync(at + 320 * KiB, 64 * KiB);
      expect(mapOf(file, at + 256 * KiB, at + 512 * KiB)).toEqual([
        `data ${at / KiB + 256}-${at / KiB + 320}`,
        `reserved ${at / KiB + 320}-${at / KiB + 384}`,
        `data ${at / KiB + 384}-${at / KiB + 512}`,
      ]);
      file.punchHoleSync(at + 64 * KiB, 448 * KiB);
      if (at < 4 * MiB) file.zeroRangeSync(at + 64 * KiB, 448 * KiB);
    }
    file.dataSyncSync();
    expect(mapOf(file, 0, 8 * MiB)).toEqual([
      'reserved 0-1024',
      'data 1024-1028',
      'reserved 1028-4096',
      'hole 4096-5120',
      'data 5120-5124',
      'hole 5124-8192',
    ]);
  });

  test('what was written is data at every moment while it goes to the device', async () => {
    const file = open();
    const count = 120;
    file.truncateSync(count * 3 * 16 * KiB);
    file.zeroRangeSync(0, count * 16 * KiB);
    file.dataSyncSync();
    let looks = 0;
    for (let at = 0; at < count; at += 1) {
      // Reserved, or a hole.
      const position = (at % 2 === 0 ? at : count + at * 2) * 16 * KiB;
      file.writeSync(pattern(4096, at), 0, 4096, position);
      let isDone = false;
      const done = (): void => {
        isDone = true;
      };
      if (at % 3 === 0) file.dataSync(done);
      else file.writeBack(position, 4096, done);
      for (let after = 0; after < 3; after += isDone ? 1 : 0) {
        for (let look = 0; look < 20; look += 1) {
          file.extentSync(position, position + 4096, extent);
          looks += 1;
          expect([at, extent.storage]).toEqual([at, 'data']);
        }
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    }
    expect(looks).toBeGreaterThan(count * 20);
  });

  test('a look is bounded, however many extents there are', () => {
    const file = open();
    const count = 2000;
    file.truncateSync(count * 8 * KiB);
    for (let at = 0; at < count; at += 1) file.zeroRangeSync(at * 8 * KiB, 4 * KiB);
    file.dataSyncSync();
    file.extentSync(0, count * 8 * KiB, extent);
    expect(extent).toMatchObject({ storage: 'reserved', end: 4 * KiB });
    expect(extent.work).toBeLessThan(500);
    expect(mapOf(file, 0, count * 8 * KiB).length).toBe(2 * count);
  });
});

test('nothing written is ever told as anything but data', () => {
  const blocks = 64;
  const block = 4 * KiB;
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          what: fc.constantFrom('write', 'zero', 'punch', 'reserve', 'sync'),
          start: fc.integer({ min: 0, max: blocks * 8 - 1 }),
          length: fc.integer({ min: 1, max: 100 }),
        }),
        { maxLength: 30 },
      ),
      (steps) => {
        const file = open();
        file.truncateSync(blocks * block);
        const model = Buffer.alloc(blocks * block);
        for (const { what, start, length } of steps) {
          const at = start * 512;
          const bytes = Math.min(length * 512, blocks * block - at);
          if (what === 'write') {
            file.writeSync(pattern(bytes), 0, bytes, at);
            model.set(pattern(bytes), at);
          } else if (what === 'reserve') file.preallocateSync(at, bytes);
          else if (what === 'sync') file.dataSyncSync();
          else {
            if (what === 'zero') file.zeroRangeSync(at, bytes);
            else file.punchHoleSync(at, bytes);
            model.fill(0, at, at + bytes);
          }
          for (let from = 0; from < blocks * block; from = extent.end) {
            file.extentSync(from, blocks * block, extent);
            expect(extent.end % block).toBe(0);
            const isZero = model.subarray(from, extent.end).every((byte) => byte === 0);
            expect(isZero || extent.storage === 'data').toBe(true);
          }
        }
        file.closeSync();
      },
    ),
    { numRuns: 60 },
  );
});

test('where it is not told, SEEK_HOLE says what it can', () => {
  const file = open();
  file.truncateSync(4 * MiB);
  file.writeSync(pattern(MiB), 0, MiB, MiB);
  seekExtent(file, 0, 4 * MiB, extent);
  expect(extent).toMatchObject({ storage: 'hole', end: MiB });
  seekExtent(file, MiB, 4 * MiB, extent);
  expect(extent).toMatchObject({ storage: 'data', end: 2 * MiB });
  seekExtent(file, MiB, MiB + 512, extent);
  expect(extent).toMatchObject({ storage: 'data', end: MiB + 512 });
  seekExtent(file, 3 * MiB, 4 * MiB, extent);
  expect(extent).toMatchObject({ storage: 'hole', end: 4 * MiB });
});
