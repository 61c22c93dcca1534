/** Files of the tests of the real disk: in a directory that is gone when the tests of a file are done. */
import path from 'node:path';
import { onTestFinished } from 'vitest';
import type { DiskFile, OpenMode } from '../../src/platform/disk.ts';
import { systemErrorCode } from '../../src/platform/errors.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';
import * as systemCalls from '../../src/platform/system-calls.ts';
import { temporaryDirectory } from './temporary-directory.ts';

export const directory = temporaryDirectory();
export const disk = new NodeDisk();
export const isRoot = process.getuid?.() === 0;
let files = 0;

export function newPath(): string {
  return path.join(directory, `file-${files++}`);
}

export function open(file = newPath(), mode: OpenMode = 'open-or-create'): DiskFile {
  const opened = disk.openSync(file, mode, 'volume');
  onTestFinished(() => opened.closeSync());
  return opened;
}

export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => ((at * 31 + seed * 97) % 255) + 1);
}

export function contents(file: DiskFile, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(0xee);
  return bytes.subarray(0, file.readSync(bytes, 0, length, position));
}

/** `toEqual` takes seconds for a MiB. */
export function areEqual(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}

export function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return systemErrorCode(error) ?? String(error);
  }
}

/** Waits for what the page cache holds to be only what the device holds, then drops it. */
export function dropCache(file: DiskFile): void {
  file.dataSyncSync();
  systemCalls.adviseNotNeeded(file.descriptor, 0, file.sizeSync());
}
