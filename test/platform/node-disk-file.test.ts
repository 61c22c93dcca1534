import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { DiskFile, FileRole } from '../../src/platform/disk.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { addressOf } from '../../src/platform/native.ts';
import * as systemCalls from '../../src/platform/system-calls.ts';
import {
  areEqual,
  canMount,
  contents,
  disk,
  dropCache,
  mounted,
  newPath,
  open,
  pattern,
  tellsWhatIsCached,
  useRealFiles,
} from './real-files.ts';
import { isInMemory } from './temporary-directory.ts';

useRealFiles();

/** By this process, in bytes. */
function readFromDevices(): number {
  const counts = fs.readFileSync('/proc/self/io', 'utf8');
  return Number(/^read_bytes: (\d+)$/m.exec(counts)?.[1]);
}

/** A volume of which nothing is in the page cache. */
function notCached(length: number): DiskFile {
  const file = open();
  file.writeSync(pattern(length), 0, length, 0);
  dropCache(file);
  return file;
}

/** Of this process, and whatever else it writes meanwhile. */
function writeCalls(): number {
  const counts = fs.readFileSync('/proc/self/io', 'utf8');
  return Number(/^syscw: (\d+)$/m.exec(counts)?.[1]);
}

test('a volume is written in small calls, for the page cache to keep it in small folios', () => {
  const bytes = pattern(MiB);
  const callsOf = (role: FileRole): number => {
    const file = open(newPath(), 'create', role);
    const before = writeCalls();
    file.writeSync(bytes, 5, MiB - 5, 3);
    const calls = writeCalls() - before;
    expect(contents(file, 3, MiB)).toEqual(bytes.subarray(5));
    return calls;
  };
  expect(callsOf('volume')).toBeGreaterThanOrEqual(32);
  expect(callsOf('segment')).toBeLessThan(16);
});

test('what is written is read back, at any offset, short only at the end', () => {
  const file = open();
  const bytes = pattern(10_000);
  file.writeSync(bytes, 100, 9000, 5000);
  expect(file.sizeSync()).toBe(14_000);
  expect(contents(file, 5000, 9000)).toEqual(bytes.subarray(100, 9100));
  expect(contents(file, 0, 5000)).toEqual(new Uint8Array(5000));
  expect(contents(file, 13_000, 4096)).toEqual(bytes.subarray(8100, 9100));
  expect(contents(file, 14_000, 10)).toHaveLength(0);
  expect(contents(file, 1 * MiB, 10)).toHaveLength(0);
});

test.skipIf(!tellsWhatIsCached && !isInMemory)(
  'a cached read gives the same bytes and leaves the rest of the buffer alone',
  () => {
    const file = open();
    const bytes = pattern(3 * 4096);
    file.writeSync(bytes, 0, bytes.length, 0);
    const slab = new Uint8Array(64 * KiB).fill(0xee);
    const view = slab.subarray(1000, 20_000);
    expect(file.readIfCachedSync(view, 10, 5000, 777)).toBe(5000);
    expect(view.subarray(10, 5010)).toEqual(bytes.subarray(777, 5777));
    expect(slab.subarray(0, 1010).every((byte) => byte === 0xee)).toBe(true);
    expect(slab.subarray(6010).every((byte) => byte === 0xee)).toBe(true);
    const tiny = new Uint8Array(16);
    expect(file.readIfCachedSync(tiny, 0, 16, 4)).toBe(16);
    expect(tiny).toEqual(bytes.subarray(4, 20));
    expect(file.readIfCachedSync(view, 0, 8192, 2 * 4096)).toBe(4096);
    expect(file.readIfCachedSync(view, 0, 10, 9 * 4096)).toBe(0);
    const shared = new Uint8Array(new SharedArrayBuffer(4096));
    expect(file.readIfCachedSync(shared, 0, 4096, 4096)).toBe(4096);
    expect(Uint8Array.from(shared)).toEqual(bytes.subarray(4096, 8192));
  },
);

test.skipIf(!tellsWhatIsCached || isInMemory)(
  'of a volume that is not cached only the two ends of a write are read from the device',
  () => {
    const file = notCached(2 * MiB);
    const readBefore = readFromDevices();
    file.writeSync(pattern(1 * MiB, 2), 0, 1 * MiB, 512);
    expect(readFromDevices() - readBefore).toBeLessThan(16 * 4096);
    expect(contents(file, 512, 1 * MiB)).toEqual(pattern(1 * MiB, 2));
  },
);

test.skipIf(!tellsWhatIsCached || isInMemory)(
  'what is appended to a file that is not cached is written without reading the device',
  () => {
    const file = notCached(1 * MiB);
    const readBefore = readFromDevices();
    const bytes = pattern(4124);
    for (let at = 0; at < 100 * 4124; at += 4124) file.appendSync(bytes, 0, 4124, at);
    expect(readFromDevices() - readBefore).toBeLessThan(20 * 4096);
    for (let at = 0; at < 100 * 4124; at += 4124) expect(contents(file, at, 4124)).toEqual(bytes);
    const end = 100 * 4124;
    const filled = end + (4096 - (end % 4096));
    expect(contents(file, end, filled - end)).toEqual(new Uint8Array(filled - end));
    expect(contents(file, filled, 4096)).toEqual(pattern(1 * MiB).subarray(filled, filled + 4096));
  },
);

test.skipIf(!tellsWhatIsCached)('a range is cached when all of its pages are', () => {
  const file = open();
  file.truncateSync(4 * MiB);
  file.writeSync(pattern(1 * MiB), 0, 1 * MiB, 0);
  // Before Linux 6.5 nothing is known; then it must be no.
  const isKnown = systemCalls.hasPagesCached(file.descriptor, 0, 4096) !== undefined;
  expect(file.isCachedSync(0, 1 * MiB)).toBe(isKnown);
  expect(file.isCachedSync(4095, 2)).toBe(isKnown);
  expect(file.isCachedSync(1 * MiB - 100, 100)).toBe(isKnown);
  expect(file.isCachedSync(0, 2 * MiB)).toBe(false);
  expect(file.isCachedSync(2 * MiB, 64 * KiB)).toBe(false);
  expect(file.isCachedSync(4 * MiB, 64 * KiB)).toBe(false);
  dropCache(file);
  expect(file.isCachedSync(0, 64 * KiB)).toBe(false);
  contents(file, 0, 1 * MiB);
  expect(file.isCachedSync(0, 1 * MiB)).toBe(isKnown);
  file.closeSync();
  expect(file.isCachedSync(0, 64 * KiB)).toBe(false);
});

test('a cached read outside of the buffer throws and writes nowhere', () => {
  const file = open();
  file.writeSync(pattern(8192), 0, 8192, 0);
  const bytes = new Uint8Array(4096);
  for (const [start, length] of [
    [0, 4097],
    [4096, 1],
    [-1, 10],
    [0, -1],
    [Number.NaN, 10],
  ] as const) {
    expect(() => systemCalls.readCached(file.descriptor, bytes, start, length, 0)).toThrow(
      RangeError,
    );
  }
  const moved = new Uint8Array(4096);
  structuredClone(moved.buffer, { transfer: [moved.buffer] });
  expect(() => file.readIfCachedSync(moved, 0, 4096, 0)).toThrow(RangeError);
});

test.skipIf(!tellsWhatIsCached)(
  'a cached read says when the device would have to be asked',
  async () => {
    const file = open();
    const bytes = pattern(4 * MiB);
    file.writeSync(bytes, 0, bytes.length, 0);
    dropCache(file);
    const slab = new Uint8Array(4096);
    expect(file.readIfCachedSync(slab, 0, 4096, 2 * MiB)).toBe(-1);
    const count = await new Promise((resolve, reject) => {
      file.read(slab, 0, 4096, 2 * MiB, (error, read) => (error ? reject(error) : resolve(read)));
    });
    expect(count).toBe(4096);
    expect(slab).toEqual(bytes.subarray(2 * MiB, 2 * MiB + 4096));
    slab.fill(0);
    expect(file.readIfCachedSync(slab, 0, 4096, 2 * MiB)).toBe(4096);
    expect(slab).toEqual(bytes.subarray(2 * MiB, 2 * MiB + 4096));
  },
);

test.skipIf(!tellsWhatIsCached)(
  'a cached read of a range of which only the beginning is cached says so',
  async () => {
    const file = open();
    file.writeSync(pattern(4 * MiB), 0, 4 * MiB, 0);
    const slab = new Uint8Array(4 * MiB);
    const readAfterFirstBlock = (): number => {
      dropCache(file);
      file.readSync(slab, 0, 4096, 0);
      return file.readIfCachedSync(slab, 0, 4 * MiB, 0);
    };
    // On a busy machine the kernel can have read ahead to the end meanwhile.
    await expect.poll(readAfterFirstBlock, { timeout: 30_000 }).toBe(-1);
  },
);

test.skipIf(!tellsWhatIsCached)('the page cache can be filled ahead', async () => {
  const file = open();
  file.writeSync(pattern(1 * MiB), 0, 1 * MiB, 0);
  dropCache(file);
  const slab = new Uint8Array(4096);
  expect(file.readIfCachedSync(slab, 0, 4096, 512 * KiB)).toBe(-1);
  file.adviseNeeded(512 * KiB, 4096);
  await expect.poll(() => file.readIfCachedSync(slab, 0, 4096, 512 * KiB)).toBe(4096);
});

test.skipIf(!tellsWhatIsCached)(
  'what the device has leaves the page cache when nobody wants it',
  () => {
    const file = open();
    file.writeSync(pattern(1 * MiB), 0, 1 * MiB, 0);
    const slab = new Uint8Array(4096);
    const isCached = (position: number): boolean =>
      file.readIfCachedSync(slab, 0, 4096, position) === 4096;
    file.dataSyncSync();
    expect(isCached(512 * KiB)).toBe(true);
    file.adviseNotNeeded(512 * KiB, 512 * KiB);
    expect(isCached(1 * MiB - 4096)).toBe(false);
    expect(isCached(0)).toBe(true);
    expect(contents(file, 0, 1 * MiB)).toEqual(pattern(1 * MiB));
  },
);

test.skipIf(!canMount)(
  'where the cache cannot be asked, a cached read says that it would have to',
  () => {
    const below = mounted('tmpfs', 'size=1m', 'jnbd-test');
    for (const name of ['lower', 'upper', 'work']) fs.mkdirSync(path.join(below, name));
    const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => path.join(below, name));
    const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
    const file = open(path.join(mounted('overlay', options, 'jnbd-test'), 'x'));
    file.writeSync(pattern(4096), 0, 4096, 0);
    const bytes = new Uint8Array(4096);
    const count = systemCalls.readCached(file.descriptor, bytes, 0, 4096, 0);
    const expected = count === systemCalls.cannotTell ? -1 : 4096;
    expect(file.readIfCachedSync(bytes, 0, 4096, 0)).toBe(expected);
    expect(file.readIfCachedSync(bytes, 0, 4096, 0)).toBe(expected);
    expect(contents(file, 0, 4096)).toEqual(pattern(4096));
  },
);

test('asynchronous reads and syncs call back once, later', async () => {
  const file = open();
  file.writeSync(pattern(8192), 0, 8192, 0);
  const calls: string[] = [];
  const bytes = new Uint8Array(8192);
  const all = new Promise<void>((resolve) => {
    file.read(bytes, 0, 8192, 4096, (error, count) => calls.push(`read ${error} ${count}`));
    file.read(bytes, 0, 10, 9000, (error, count) => calls.push(`past ${error} ${count}`));
    file.dataSync((error) => calls.push(`sync ${error}`));
    setTimeout(resolve, 200);
  });
  expect(calls).toEqual([]);
  await all;
  expect(calls.toSorted()).toEqual(['past null 0', 'read null 4096', 'sync null']);
});

test('closing lets asynchronous calls end on the file they were for', async () => {
  const bytes = pattern(1 * MiB);
  const file = open();
  file.writeSync(bytes, 0, bytes.length, 0);
  const target = new Uint8Array(1 * MiB);
  const read = new Promise((resolve, reject) => {
    file.read(target, 0, target.length, 0, (error, count) =>
      error ? reject(error) : resolve(count),
    );
  });
  const synced = new Promise((resolve) => file.dataSync(resolve));
  const descriptor = file.descriptor;
  file.closeSync();
  expect(file.descriptor).toBe(-1);
  const other = open();
  expect(other.descriptor).not.toBe(descriptor);
  expect(await read).toBe(1 * MiB);
  expect(await synced).toBeNull();
  expect(areEqual(target, bytes)).toBe(true);
  expect(() => fs.fstatSync(descriptor)).toThrow('EBADF');
  expect(() => file.writeSync(bytes, 0, 1, 0)).toThrow('out of range');
  expect(() => file.readIfCachedSync(target, 0, 1, 0)).toThrow('EBADF');
});

test('holes are punched, found, and give their space back', () => {
  const file = open();
  file.truncateSync(8 * MiB);
  expect(file.allocatedBytesSync()).toBe(0);
  expect(file.nextDataSync(0)).toBe(8 * MiB);
  expect(file.nextHoleSync(0)).toBe(0);
  file.writeSync(pattern(1 * MiB), 0, 1 * MiB, 2 * MiB);
  file.dataSyncSync();
  expect(file.allocatedBytesSync()).toBe(1 * MiB);
  expect(file.nextDataSync(0)).toBe(2 * MiB);
  expect(file.nextDataSync(2 * MiB + 5)).toBe(2 * MiB + 5);
  expect(file.nextHoleSync(2 * MiB)).toBe(3 * MiB);
  file.punchHoleSync(2 * MiB + 4096, 8192);
  expect(file.sizeSync()).toBe(8 * MiB);
  expect(file.allocatedBytesSync()).toBe(1 * MiB - 8192);
  expect(file.nextHoleSync(2 * MiB)).toBe(2 * MiB + 4096);
  expect(file.nextDataSync(2 * MiB + 4096)).toBe(2 * MiB + 12_288);
  expect(contents(file, 2 * MiB + 4096, 8192)).toEqual(new Uint8Array(8192));
  expect(contents(file, 2 * MiB, 4096)).toEqual(pattern(1 * MiB).subarray(0, 4096));
  for (const position of [8 * MiB, 9 * MiB]) {
    expect(file.nextDataSync(position)).toBe(8 * MiB);
    expect(file.nextHoleSync(position)).toBe(8 * MiB);
  }
});

test('punching past the end changes no size, and an unaligned range reads as zero', () => {
  const file = open();
  file.writeSync(pattern(20_000), 0, 20_000, 0);
  file.punchHoleSync(1000, 100_000);
  expect(file.sizeSync()).toBe(20_000);
  expect(contents(file, 0, 1000)).toEqual(pattern(20_000).subarray(0, 1000));
  expect(contents(file, 1000, 19_000)).toEqual(new Uint8Array(19_000));
});

test('preallocation grows the file, reserves its space and keeps contents', () => {
  const file = open();
  file.writeSync(pattern(5000), 0, 5000, 0);
  file.preallocateSync(0, 16 * MiB);
  expect(file.sizeSync()).toBe(16 * MiB);
  expect(file.allocatedBytesSync()).toBeGreaterThanOrEqual(16 * MiB);
  expect(contents(file, 0, 5000)).toEqual(pattern(5000));
  expect(contents(file, 5000, 10_000)).toEqual(new Uint8Array(10_000));
});

test('a zeroed range reads as zero, stays allocated and grows the file as a write does', () => {
  const file = open();
  file.writeSync(pattern(1 * MiB), 0, 1 * MiB, 0);
  file.zeroRangeSync(1000, 500_000);
  expect(contents(file, 0, 1000)).toEqual(pattern(1000));
  expect(areEqual(contents(file, 1000, 500_000), new Uint8Array(500_000))).toBe(true);
  expect(contents(file, 501_000, 10)).toEqual(pattern(1 * MiB).subarray(501_000, 501_010));
  file.zeroRangeSync(1 * MiB, 1 * MiB);
  file.dataSyncSync();
  expect(file.sizeSync()).toBe(2 * MiB);
  expect(file.allocatedBytesSync()).toBeGreaterThanOrEqual(2 * MiB);
});

test('direct reads see what was written, renamed or not, and stop at the end', () => {
  const from = newPath();
  const file = open(from);
  const bytes = pattern(10_000);
  file.writeSync(bytes, 0, bytes.length, 0);
  disk.renameSync(from, `${from}-renamed`);
  fs.writeFileSync(from, new Uint8Array(16_384).fill(7));
  const aligned = disk.allocateAligned(16_384);
  expect(file.readDirectSync(aligned, 0, 16_384, 0)).toBe(10_000);
  expect(aligned.subarray(0, 10_000)).toEqual(bytes);
  expect(file.readDirectSync(aligned, 4096, 4096, 4096)).toBe(4096);
  expect(aligned.subarray(4096, 8192)).toEqual(bytes.subarray(4096, 8192));
  expect(file.readDirectSync(aligned, 0, 4096, 12_288)).toBe(0);
  expect(() => file.readDirectSync(aligned, 1, 4096, 0)).toThrow('direct reads are aligned');
});

test('aligned buffers are aligned', () => {
  for (const length of [1, 4096, 100_000, 1 * MiB]) {
    const bytes = disk.allocateAligned(length);
    expect(bytes).toHaveLength(length);
    expect((addressOf(bytes) ?? 1) % 4096).toBe(0);
  }
});

test('blocks that cannot be shared are refused quietly', () => {
  const tooFar = disk.openSync('/proc/version', 'read', 'import');
  onTestFinished(() => tooFar.closeSync());
  const to = open();
  expect(to.cloneRangeSync(tooFar, 0, 4096, 0)).toBe(false);
  expect(to.sizeSync()).toBe(0);
  expect(to.cloneRangeSync(tooFar, 0, 0, 0)).toBe(true);
});

test.skipIf(!canMount || !fs.existsSync('/usr/sbin/mkfs.xfs'))('XFS shares blocks', () => {
  // In memory: making a file system syncs a lot.
  const image = path.join('/dev/shm', `jnbd-test-${process.pid}.xfs`);
  onTestFinished(() => fs.rmSync(image));
  open(image).truncateSync(512 * MiB);
  execFileSync('mkfs.xfs', ['-q', image]);
  const mount = mounted('xfs', 'loop', image);
  const from = disk.openSync(path.join(mount, 'from'), 'create', 'segment');
  const to = disk.openSync(path.join(mount, 'to'), 'create', 'volume');
  const bytes = pattern(16 * MiB);
  from.writeSync(bytes, 0, bytes.length, 0);
  from.dataSyncSync();
  const before = disk.freeBytesSync(mount);
  expect(to.cloneRangeSync(from, 4096, 8 * MiB, 1 * MiB)).toBe(true);
  expect(to.cloneRangeSync(from, 100, 4096, 0)).toBe(false);
  expect(areEqual(contents(to, 1 * MiB, 8 * MiB), bytes.subarray(4096, 8 * MiB + 4096))).toBe(true);
  expect(before - disk.freeBytesSync(mount)).toBeLessThan(1 * MiB);
  from.closeSync();
  to.closeSync();
});
