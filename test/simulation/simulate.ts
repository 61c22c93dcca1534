/** `scripts/simulate`: runs seeds of the journal simulation, or plants mistakes and looks for them. */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { ruleText } from './mistakes/mistake.ts';
import { findMistake, type PlantedResult, type Search } from './planted.ts';
import { plantedMistakes } from './planted-mistakes.ts';
import { allProfileNames } from './profiles.ts';
import {
  replayCommand,
  runHere,
  runSeeds,
  type SeedOptions,
  type SeedReport,
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
  const { seed, count, steps, profile, jobs, verbose } = readArguments();
  const options: SeedOptions = {
    seed: number(seed, '--seed'),
    count: number(count ?? '1', '--count'),
    jobs,
    verbose,
    ...(steps === undefined ? {} : { steps: number(steps, '--steps') }),
    ...(profile === undefined ? {} : { profile }),
  };
  const tell = (report: SeedReport): void => {
    failures += report.failure === undefined ? 0 : 1;
    show(report, options.steps);
  };
  let failures = 0;
  let counts: Record<string, number>;
  if (options.count > 1) counts = (await runSeeds(options, tell)).counts;
  else counts = await runHere(options, tell);
  for (const [kind, times] of Object.entries(counts)) console.log(`${times} ${kind}`);
  console.log(`${options.count - failures} of ${options.count} seeds held`);
  return failures === 0;
}

async function findPlanted(): Promise<boolean> {
  const { seed, count, profile, jobs, positionals } = readArguments();
  const search: Search = {
    seed: number(seed, '--seed'),
    count: number(count ?? '50', '--count'),
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
    for (let mistake = waiting.shift(); mistake; mistake = waiting.shift()) {
      const result = await findMistake(mistake, search);
      if (!result.found || result.failsWithout) missed.push(mistake.name);
      tellPlanted(result);
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
