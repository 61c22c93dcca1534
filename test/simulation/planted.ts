import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PlantedMistake } from './planted-mistakes.ts';
import { runInChild, type SeedReport, stepsDefault } from './seed-runner.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const copied = ['src', 'test/simulation', 'package.json', 'tsconfig.json'];

export interface PlantedResult {
  readonly mistake: PlantedMistake;
  /** The seed that found it; `undefined`: none did. */
  readonly found: SeedReport | undefined;
  readonly seeds: number;
}

/** Runs seeds, from 0 on, against a copy of the sources with the mistake in it until one fails. */
export async function findMistake(mistake: PlantedMistake, count: number): Promise<PlantedResult> {
  const directory = mkdtempSync(join(tmpdir(), 'jnbd-planted-'));
  try {
    for (const path of copied) cpSync(join(root, path), join(directory, path), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
    for (const { file, find, replace } of mistake.edits) {
      const path = join(directory, 'src', file);
      writeFileSync(
        path,
        plant(readFileSync(path, 'utf8'), find, replace, `${mistake.name}: ${file}`),
      );
    }
    let found: SeedReport | undefined;
    let seeds = 0;
    await runInChild(
      { seed: 0, count, steps: stepsDefault, isFirstFailureEnough: true },
      (report) => {
        seeds += 1;
        if (report.failure !== undefined) found ??= report;
      },
      directory,
    );
    return { mistake, found, seeds };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Replaces the one place where `find` stands. */
export function plant(text: string, find: string, replace: string, what: string): string {
  const parts = text.split(find);
  if (parts.length !== 2) {
    throw new Error(`${what}: the text to replace stands there ${parts.length - 1} times: ${find}`);
  }
  return parts.join(replace);
}
