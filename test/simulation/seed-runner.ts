import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { FaultCounter } from './faults.ts';
import type { ProfileName } from './profiles.ts';
import { runSeed, stepsOf } from './run-seed.ts';
import { ProcessDied } from './simulated-process-disk.ts';

/** What is told of a seed that failed. */
const logLines = 12;

export interface SeedOptions {
  readonly seed: number;
  readonly count: number;
  /** By the profile, where nothing is said. */
  readonly steps?: number;
  readonly profile?: ProfileName;
  readonly verbose?: boolean;
  /** Processes, where there are several; as many as processors where nothing is said. */
  readonly jobs?: number;
  /** Ends at the first seed that fails. */
  readonly isFirstFailureEnough?: boolean;
}

export interface SeedReport {
  readonly seed: number;
  readonly profile: ProfileName;
  readonly failure: string | undefined;
  /** What happened before the failure. */
  readonly log: readonly string[];
  readonly records: number;
  readonly bytes: number;
  readonly events: number;
  readonly milliseconds: number;
}

export interface CampaignReport {
  readonly seeds: readonly SeedReport[];
  readonly counts: Record<string, number>;
}

/** What a child process tells. */
export type ChildMessage =
  | { readonly kind: 'seed'; readonly report: SeedReport }
  | { readonly kind: 'end'; readonly counts: Record<string, number> };

/** The command that shows a seed again. */
export function replayCommand({ seed, profile }: SeedReport, steps?: number): string {
  const isDefault = steps === undefined || steps === stepsOf(profile);
  return `scripts/simulate --seed ${seed} --profile ${profile}${isDefault ? '' : ` --steps ${steps}`}`;
}

/** Runs seeds one after the other in this process. */
export async function runHere(
  options: SeedOptions,
  tell: (report: SeedReport) => void,
): Promise<Record<string, number>> {
  const counter = new FaultCounter();
  const { seed: first, count, steps, profile, verbose, isFirstFailureEnough } = options;
  let seed = first;
  process.on('unhandledRejection', (error) => {
    // What a dying process does to itself hurts nobody.
    if (error instanceof ProcessDied) return;
    throw new Error(`seed ${seed}: nobody looked at an error`, { cause: error });
  });
  for (; seed < first + count; seed += 1) {
    const started = performance.now();
    const result = await runSeed(seed, counter, {
      ...(steps === undefined ? {} : { steps }),
      ...(profile === undefined ? {} : { profile }),
      ...(verbose === undefined ? {} : { verbose }),
    });
    tell({
      ...result,
      log: result.failure === undefined ? [] : result.log.slice(-logLines),
      milliseconds: performance.now() - started,
    });
    if (result.failure !== undefined && isFirstFailureEnough) break;
  }
  return counter.report();
}

/** Runs seeds in several processes. */
export async function runSeeds(
  options: SeedOptions,
  tell: (report: SeedReport) => void,
): Promise<CampaignReport> {
  const jobs = Math.min(options.count, options.jobs ?? availableParallelism());
  const counter = new FaultCounter();
  const seeds: SeedReport[] = [];
  let first = options.seed;
  const parts: SeedOptions[] = [];
  for (let job = 0; job < jobs; job += 1) {
    const count = Math.floor(options.count / jobs) + (job < options.count % jobs ? 1 : 0);
    parts.push({ ...options, seed: first, count });
    first += count;
  }
  const reports = parts.map((part) =>
    runInChild(part, (report) => {
      seeds.push(report);
      tell(report);
    }),
  );
  for (const counts of await Promise.all(reports)) {
    for (const [kind, times] of Object.entries(counts)) counter.count(kind, times);
  }
  seeds.sort((left, right) => left.seed - right.seed);
  return { seeds, counts: counter.report() };
}

/** `directory`: where the sources are, in place of this file's own. */
export function runInChild(
  options: SeedOptions,
  tell: (report: SeedReport) => void,
  directory?: string,
): Promise<Record<string, number>> {
  const here = fileURLToPath(new URL('./simulate-child.ts', import.meta.url));
  const script = directory === undefined ? here : `${directory}/test/simulation/simulate-child.ts`;
  return new Promise((resolve, reject) => {
    const child = fork(script, [JSON.stringify(options)], {
      execArgv: ['--import', import.meta.resolve('tsx')],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    let counts: Record<string, number> | undefined;
    child.on('message', (message: ChildMessage) => {
      if (message.kind === 'seed') tell(message.report);
      else counts = message.counts;
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (counts) resolve(counts);
      else reject(new Error(`a simulation process ended with ${signal ?? `status ${code}`}`));
    });
  });
}
