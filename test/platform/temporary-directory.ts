import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';

const tmpfsType = 0x01021994;

function isMemory(directory: string): boolean {
  return statfsSync(directory).type === tmpfsType;
}

const parent = [tmpdir(), '/var/tmp', process.cwd()].find((at) => !isMemory(at)) ?? tmpdir();

/** Whether the directories are on tmpfs: no device below, and holes of its own kind. */
export const isInMemory = isMemory(parent);

/** A directory for what is found out at once. */
export function inProbeDirectory<T>(run: (directory: string) => T): T {
  const directory = mkdtempSync(path.join(parent, 'jnbd-platform-'));
  try {
    return run(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A directory of its own for a test file, on a disk where there is one; gone when its tests are done. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(path.join(parent, 'jnbd-platform-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
