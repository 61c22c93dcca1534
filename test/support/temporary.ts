import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const live = new Set<string>();

// The last resort for a run that ends early. SIGKILL leaves the directory to the system's cleaning.
process.once('exit', () => {
  for (const path of live) rmSync(path, { recursive: true, force: true });
});

export interface TemporaryDirectory {
  readonly path: string;
  remove(): void;
}

/** A new directory below `parent` (by default the system's). Whoever makes it removes it. */
export function temporaryDirectory(purpose: string, parent = tmpdir()): TemporaryDirectory {
  const path = mkdtempSync(join(parent, `jnbd-${purpose}-`));
  live.add(path);
  return {
    path,
    remove() {
      rmSync(path, { recursive: true, force: true });
      live.delete(path);
    },
  };
}
