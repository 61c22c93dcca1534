/** `scripts/simulate`: runs seeds of the journal simulation, or plants mistakes and looks for them. */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { ruleText } from './mistakes/mistake.ts';
import { findMistake, type PlantedResult, type Search } from './planted.ts';
import { plantedMistakes } from './planted-mistakes.ts';
import { allProfileNames } from './profiles.ts';
import {
  type CampaignReport,
  campaignOf,
  replayCommand,
  runHere,
  SeedProcess,
  SeedProcesses,
  type SeedReport,
  type SeedTask,
  seedsFrom,
} from './seed-runner.ts';

class UsageError extends Error {}

function number(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new UsageError(`${option} wants a number, not '${text}'`);
  }
  return value;
}

function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: 'string', default: '0' },
      count: { type: 'string' },
      steps: { type: 'string' },
      profile: { type: 'string' },
      jobs: { type: 'string', default: String(availableParallelism()) },
      planted: { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
    },
  });
  const profile = allProfileNames.find((name) => name === values.profile);
  if (values.profile !== undefined && profile === undefined) {
    throw new UsageError(`--profile is one of ${allProfileNames.join(', ')}`);
  }
  const jobs = number(values.jobs, '--jobs');
  if (jobs === 0) throw new UsageError('--jobs wants at least 1');
  return { ...values, profile, jobs, positionals };
}

function show(report: SeedReport, steps: number | undefined): void {
  const { seed, profile, failure, records, bytes, events, milliseconds } = report;
  if (failure === undefined) {
    const mebibytes = (bytes / 2 ** 20).toFixed(1);
    console.log(
      `seed ${seed} ${profile}: ${records} records, ${mebibytes} MiB, ${events} events, ${milliseconds.toFixed(0)} ms`,
    );
    return;
  }
  for (const line of report.log) console.log(`  ${line.slice(0, 300)}`);
  console.log(`seed ${seed} ${profile} FAILED: ${failure}`);
  console.log(`see it again: ${replayCommand(report, steps)} --verbose`);
}

async function simulate(): Promise<boolean> {
  const { seed, count: countText, steps, profile, jobs, verbose } = readArguments();
  const count = number(countText ?? '1', '--count');
  const tasks = seedsFrom(number(seed, '--seed'), count, {
    verbose,
    ...(steps === undefined ? {} : { steps: number(steps, '--steps') }),
    ...(profile === undefined ? {} : { profile }),
  });
  let failures = 0;
  const tell = (report: SeedReport): void => {
    failures += report.failure === undefined ? 0 : 1;
    show(report, tasks[0]?.steps);
  };
  const { counts } = await run(tasks, jobs, tell);
  for (const [kind, times] of Object.entries(counts)) console.log(`${times} ${kind}`);
  console.log(`${count - failures} of ${count} seeds held`);
  return failures === 0;
}

/** A single one in this process, where whoever looks for something finds it. */
async function run(
  tasks: readonly SeedTask[],
  jobs: number,
  tell: (report: SeedReport) => void,
): Promise<CampaignReport> {
  const [first] = tasks;
  if (first && tasks.length === 1) {
    const report = await runHere(first);
    tell(report);
    return campaignOf([report]);
  }
  const processes = new SeedProcesses(Math.min(jobs, tasks.length));
  try {
    return await processes.run(tasks, tell);
  } finally {
    processes.close();
  }
}

async function findPlanted(): Promise<boolean> {
  const { seed, count, profile, jobs, positionals } = readArguments();
  const search: Search = {
    seed: number(seed, '--seed'),
    ...(count === undefined ? {} : { count: number(count, '--count') }),
    ...(profile === undefined ? {} : { profile }),
  };
  const names = new Set(plantedMistakes.map(({ name }) => name));
  const unknown = positionals.find((name) => !names.has(name));
  if (unknown !== undefined) {
    throw new UsageError(`'${unknown}' is not planted; planted are: ${[...names].join(', ')}`);
  }
  const wanted = plantedMistakes.filter(
    ({ name }) => positionals.length === 0 || positionals.includes(name),
  );
  const started = performance.now();
  const missed: string[] = [];
  const waiting = [...wanted];
  const work = async (): Promise<void> => {
    const without = new SeedProcess();
    try {
      for (let mistake = waiting.shift(); mistake; mistake = waiting.shift()) {
        const result = await findMistake(mistake, search, without);
        if (!result.found || result.failsWithout) missed.push(mistake.name);
        tellPlanted(result);
      }
    } finally {
      without.close();
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  for (const name of missed) console.log(`not found: ${name}`);
  console.log(
    `${wanted.length - missed.length} of ${wanted.length} planted mistakes were found, in ${seconds} s`,
  );
  return missed.length === 0;
}

function tellPlanted({ mistake, found, failsWithout, seeds, milliseconds }: PlantedResult): void {
  console.log(`${mistake.name} (${ruleText(mistake)}): ${mistake.does}`);
  if (!found) {
    console.log(`  NOT FOUND by ${seeds} seeds`);
    return;
  }
  const { seed, profile, failure } = found;
  const how = failure?.split('\n')[0]?.replace(/^\w*Error: /, '') ?? '';
  const seconds = (milliseconds / 1000).toFixed(0);
  console.log(`  seed ${seed} (${profile}, after ${seconds} s): ${how}`);
  if (failsWithout) console.log('  NOT FOUND: that seed fails without the mistake too');
}

try {
  const isDone = process.argv.includes('--planted') ? await findPlanted() : await simulate();
  process.exitCode = isDone ? 0 : 1;
} catch (error) {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  const isUsage = error instanceof UsageError || String(code).startsWith('ERR_PARSE_ARGS');
  if (!isUsage) throw error;
  console.error(`scripts/simulate: ${(error as Error).message}`);
  process.exitCode = 2;
}
