/** Files of the tests of the real disk: in a directory that is gone when the tests of a file are done. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import type { DiskFile, FileRole, OpenMode } from '../../src/platform/disk.ts';
import { systemErrorCode } from '../../src/platform/errors.ts';
import { NodeDisk } from '../../src/platform/node-disk.ts';
import * as systemCalls from '../../src/platform/system-calls.ts';
import { inProbeDirectory, isInMemory, temporaryDirectory } from './temporary-directory.ts';

/** Of the test file that runs: modules are shared by several. */
export let directory = '';
export const disk = new NodeDisk();
export const isRoot = process.getuid?.() === 0;
export const canMount = isRoot && mounts();
/** Not on every file system (overlayfs) and kernel. */
export const tellsWhatIsCached = !isInMemory && tells();
let files = 0;

/** To be called by each test file, before its tests. */
export function useRealFiles(): void {
  directory = temporaryDirectory();
}

export function newPath(): string {
  return path.join(directory, `file-${files++}`);
}

export function open(
  file = newPath(),
  mode: OpenMode = 'open-or-create',
  role: FileRole = 'volume',
): DiskFile {
  const opened = disk.openSync(file, mode, role);
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

/** A file system mounted for one test. */
export function mounted(type: string, options: string, source: string): string {
  const mount = newPath();
  fs.mkdirSync(mount);
  execFileSync('mount', ['-t', type, '-o', options, source, mount], { stdio: 'pipe' });
  onTestFinished(() => {
    execFileSync('umount', ['-l', mount]);
  });
  return mount;
}

/** Root in a container may not. */
function mounts(): boolean {
  return inProbeDirectory((probes) => {
    try {
      execFileSync('mount', ['-t', 'tmpfs', 'jnbd-test', probes], { stdio: 'pipe' });
      execFileSync('umount', [probes]);
      return true;
    } catch {
      return false;
    }
  });
}

function tells(): boolean {
  return inProbeDirectory((probes) => {
    const probe = path.join(probes, 'probe');
    fs.writeFileSync(probe, 'x');
    const descriptor = fs.openSync(probe, 'r');
    const count = systemCalls.readCached(descriptor, new Uint8Array(1), 0, 1, 0);
    fs.closeSync(descriptor);
    return count !== systemCalls.cannotTell;
  });
}
