import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { must } from '../../src/platform/assert.ts';
import { FaultCounter } from './faults.ts';
import type { ProfileName } from './profiles.ts';
import { runSeed, stepsOf } from './run-seed.ts';
import { ProcessDied } from './simulated-process-disk.ts';

/** What is told of a seed that failed. */
const logLines = 12;

export interface SeedTask {
  readonly seed: number;
  /** By the seed, where nothing is said. */
  readonly profile?: ProfileName;
  /** By the profile, where nothing is said. */
  readonly steps?: number;
  readonly verbose?: boolean;
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
  /** How often what came to happen, 0 for what has to and did not. */
  readonly counts: Record<string, number>;
}

/** The command that shows a seed again. */
export function replayCommand({ seed, profile }: SeedReport, steps?: number): string {
  const isDefault = steps === undefined || steps === stepsOf(profile);
  return `scripts/simulate --seed ${seed} --profile ${profile}${isDefault ? '' : ` --steps ${steps}`}`;
}

/** The one that runs in this process. */
let running: number | undefined;

/** Runs one seed in this process, which runs one at a time. */
export async function runHere(task: SeedTask): Promise<SeedReport> {
  if (running === undefined) process.on('unhandledRejection', failProcess);
  running = task.seed;
  const counter = new FaultCounter();
  const started = performance.now();
  const result = await runSeed(task.seed, counter, task);
  return {
    ...result,
    log: result.failure === undefined ? [] : result.log.slice(-logLines),
    milliseconds: performance.now() - started,
    counts: counter.report(),
  };
}

function failProcess(error: unknown): void {
  // What a dying process does to itself hurts nobody.
  if (error instanceof ProcessDied) return;
  throw new Error(`seed ${running}: nobody looked at an error`, { cause: error });
}

/** A process that runs one seed after the other: to start one takes as long as some seeds. */
export class SeedProcess {
  readonly #child: ChildProcess;
  #settle: { resolve(report: SeedReport): void; reject(error: Error): void } | undefined;
  #failure: Error | undefined;

  /** `directory`: where the sources are, in place of this file's own. */
  constructor(directory?: string) {
    const here = fileURLToPath(new URL('./simulate-child.ts', import.meta.url));
    const script =
      directory === undefined ? here : `${directory}/test/simulation/simulate-child.ts`;
    this.#child = fork(script, [], {
      // What is young in a simulated world lives for some events: a larger place for it is cleared less often.
      execArgv: ['--max-semi-space-size=64', '--import', import.meta.resolve('tsx')],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child.on('message', (report: SeedReport) => {
      const settle = must(this.#settle, 'somebody waits for the seed');
      this.#settle = undefined;
      settle.resolve(report);
    });
    this.#child.once('error', (error) => this.#ended(error));
    this.#child.once('exit', (code, signal) =>
      this.#ended(new Error(`a simulation process ended with ${signal ?? `status ${code}`}`)),
    );
  }

  #ended(error: Error): void {
    this.#failure = error;
    this.#settle?.reject(error);
    this.#settle = undefined;
  }

  run(task: SeedTask): Promise<SeedReport> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#child.send(task);
    });
  }

  /** It ends by itself, as nobody can ask it any more. */
  close(): void {
    if (this.#child.connected) this.#child.disconnect();
  }
}

/** As many processes as processors, where nothing else is said. */
export class SeedProcesses {
  readonly #processes: readonly SeedProcess[];

  constructor(jobs = availableParallelism()) {
    this.#processes = Array.from({ length: jobs }, () => new SeedProcess());
  }

  /** Each takes the next one when it is done. What it came to, in the order in which they were asked for. */
  async run(
    tasks: readonly SeedTask[],
    tell: (report: SeedReport) => void = () => undefined,
  ): Promise<CampaignReport> {
    const reports: SeedReport[] = [];
    const waiting = [...tasks.entries()];
    const work = async (process: SeedProcess): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const [at, task] = next;
        const report = await process.run(task);
        reports[at] = report;
        tell(report);
      }
    };
    await Promise.all(this.#processes.map(work));
    return campaignOf(reports);
  }

  close(): void {
    for (const process of this.#processes) process.close();
  }
}

export interface CampaignReport {
  readonly seeds: readonly SeedReport[];
  readonly counts: Record<string, number>;
}

export function campaignOf(seeds: readonly SeedReport[]): CampaignReport {
  const counter = new FaultCounter();
  for (const { counts } of seeds)
    for (const [kind, times] of Object.entries(counts)) counter.count(kind, times);
  return { seeds, counts: counter.report() };
}

/** That many, from the first on. */
export function seedsFrom(
  first: number,
  count: number,
  others: Omit<SeedTask, 'seed'>,
): SeedTask[] {
  return Array.from({ length: count }, (_, at) => ({ ...others, seed: first + at }));
}
