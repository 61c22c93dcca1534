import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PlantedMistake } from './mistakes/mistake.ts';
import type { ProfileName } from './profiles.ts';
import { SeedProcess, type SeedReport, seedsFrom } from './seed-runner.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const copied = [
  'src',
  'test/simulation',
  'test/replicator/fleet.ts',
  'test/journal/test-host.ts',
  'package.json',
  'tsconfig.json',
];

/** Where neither the search nor the mistake says how many. */
const seedsMax = 50;

export interface Search {
  /** The first seed. */
  readonly seed: number;
  /** How many seeds, at most. */
  readonly count?: number;
  /** For all of them. */
  readonly profile?: ProfileName;
}

export interface PlantedResult {
  readonly mistake: PlantedMistake;
  /** The seed that found it; `undefined`: none did. */
  readonly found: SeedReport | undefined;
  /** That seed fails without the mistake too: it says nothing. */
  readonly failsWithout: boolean;
  readonly seeds: number;
  readonly milliseconds: number;
}

/** Runs seeds against a copy of the sources with the mistake in it until one fails, and that one `without`, too. */
export async function findMistake(
  mistake: PlantedMistake,
  search: Search,
  without: SeedProcess,
): Promise<PlantedResult> {
  const started = performance.now();
  const directory = mkdtempSync(join(tmpdir(), 'jnbd-planted-'));
  const profile = search.profile ?? mistake.profile;
  const count = search.count ?? mistake.seeds ?? seedsMax;
  const tasks = seedsFrom(search.seed, count, profile === undefined ? {} : { profile });
  let found: SeedReport | undefined;
  let seeds = 0;
  let process: SeedProcess | undefined;
  try {
    for (const path of copied) cpSync(join(root, path), join(directory, path), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
    for (const [file, text] of plantedFiles(mistake)) {
      writeFileSync(join(directory, 'src', file), text);
    }
    process = new SeedProcess(directory);
    for (const task of tasks) {
      const report = await process.run(task);
      seeds += 1;
      if (report.failure === undefined) continue;
      found = report;
      break;
    }
  } finally {
    process?.close();
    rmSync(directory, { recursive: true, force: true });
  }
  // A text that is no program any more breaks no rule.
  if (found && /\b(?:Syntax|Reference)Error\b/.test(found.failure ?? '')) {
    throw new Error(`${mistake.name} does not run: ${found.failure}`);
  }
  let failsWithout = false;
  if (found) {
    const { seed, profile } = found;
    failsWithout = (await without.run({ seed, profile })).failure !== undefined;
  }
  return { mistake, found, failsWithout, seeds, milliseconds: performance.now() - started };
}

/** The sources that a mistake changes, with it in them; names relative to `src`. */
export function plantedFiles(mistake: PlantedMistake): Map<string, string> {
  const files = new Map<string, string>();
  for (const { file, find, replace } of mistake.edits) {
    const text = files.get(file) ?? readFileSync(join(root, 'src', file), 'utf8');
    files.set(file, plant(text, find, replace, `${mistake.name}: ${file}`));
  }
  return files;
}

/** Replaces the one place where `find` stands. */
export function plant(text: string, find: string, replace: string, what: string): string {
  const parts = text.split(find);
  if (parts.length !== 2) {
    throw new Error(`${what}: the text to replace stands there ${parts.length - 1} times: ${find}`);
  }
  return parts.join(replace);
}
