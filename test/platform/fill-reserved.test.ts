import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { DiskFile, FileExtent } from '../../src/platform/disk.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

const sizeBytes = 2 * MiB;

let directory: TemporaryDirectory;
let file: DiskFile;

beforeEach(() => {
  directory = temporaryDirectory('fill-reserved');
  file = new NodeDisk().openSync(`${directory.path}/file`, 'create', 'segment');
  file.preallocateSync(0, sizeBytes);
});

afterEach(() => {
  file.closeSync();
  directory.remove();
});

function fill(isWanted: () => boolean = () => true): Promise<void> {
  return new Promise((resolve) => file.fillReserved(isWanted, resolve));
}

/** Of its bytes, how many are reserved only. */
function reservedBytes(): number {
  const extent: FileExtent = { storage: 'data', end: 0, work: 0 };
  let bytes = 0;
  for (let at = 0; at < sizeBytes; at = extent.end) {
    file.extentSync(at, sizeBytes, extent);
    if (extent.storage === 'reserved') bytes += extent.end - at;
  }
  return bytes;
}

describe('filling what is reserved', () => {
  test('leaves nothing reserved, and what was written as it was', async () => {
    const written = Buffer.alloc(8 * KiB, 7);
    file.writeSync(written, 0, written.length, 300 * KiB);
    await fill();
    expect(reservedBytes()).toBe(0);
    const expected = Buffer.alloc(sizeBytes);
    written.copy(expected, 300 * KiB);
    const found = Buffer.alloc(sizeBytes);
    expect(file.readSync(found, 0, sizeBytes, 0)).toBe(sizeBytes);
    expect(found.equals(expected)).toBe(true);
  });

  test('ends where it is not wanted any more', async () => {
    const before = reservedBytes();
    let asked = 0;
    await fill(() => {
      asked += 1;
      return asked <= 2;
    });
    expect(asked).toBe(3);
    expect(before - reservedBytes()).toBeLessThanOrEqual(512 * KiB);
  });

  test('ends where the file is closed, and says so', async () => {
    const done = fill();
    file.closeSync();
    await expect(done).resolves.toBeUndefined();
    file = new NodeDisk().openSync(`${directory.path}/file`, 'read-write', 'segment');
  });
});
