import { statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { inspect, parseArgs } from 'node:util';
import { ownName, peerNames } from './contestants.ts';
import { benchFollow, followRows } from './follow.ts';
import { benchHistory, historyRows } from './history.ts';
import { benchNbd } from './nbd.ts';
import { benchRecovery } from './recovery.ts';
import { say } from './report.ts';
import { quickRows, rows } from './rows.ts';
import { benchStall } from './stall.ts';
import { benchSync } from './sync.ts';
import { syncRows } from './sync-rows.ts';

const repository = fileURLToPath(new URL('..', import.meta.url));
const GiB = 1024 ** 3;

class UsageError extends Error {}

const nbdUsage = `usage: scripts/bench nbd [options]

Puts the same loads on jnbd and on other NBD servers, in turn, over the same disk.

  --quick           small volumes, few rows, two rounds of two seconds; fails under half a bar,
                    after up to three rounds more of what is
  --rows ROW,...    only these rows: ${rows.map((row) => row.id).join(', ')}
  --only SERVER,... only these servers: ${[...peerNames, ownName].join(', ')}
  --seconds S       seconds a row (30)
  --rounds N        rounds (3)
  --size SIZE       size of the volumes (8GiB)
  --dir DIR         where the volumes are made while it runs (default: on this repository's disk)
  --json FILE       write everything measured
  --readme          put the table into README.md`;

const stallUsage = `usage: scripts/bench stall [options]

Writes 1 MiB blocks as fast as they are taken to a volume on a disk held to a rate. As root only.

  --seconds S       seconds (30)
  --rate SIZE       bytes a second of the disk (50MB)
  --disk HOW        control-group: a limit on what the daemon may write (default);
                    device: a device of its own that is slow for everybody, the kernel included
  --dir DIR         where the disk's file is made (default: on this repository's disk)
  --json FILE       write everything measured`;

const recoveryUsage = `usage: scripts/bench recovery [options]

Kills a daemon with much in its journal that is not covered by a checkpoint, and measures its next start, for
journals of several sizes.

  --unapplied SIZE  what is written in records of 4 KiB before each kill (256MiB)
  --journals S,...  sizes of the journals (1GiB,16GiB)
  --rounds N        rounds (3)
  --dir DIR         where the data is made (default: on this repository's disk)
  --json FILE       write everything measured`;

const followUsage = `usage: scripts/bench follow [options]

Measures systems that follow: copying and catching up, what a host feels of them, promotion, return.

  --quick           small volumes, short runs, one round; fails under half a bar
  --rows ROW,...    only these rows: ${followRows.join(', ')}
  --seconds S       seconds of a run with hosts (30)
  --rounds N        rounds of copying (3)
  --size SIZE       size of the volumes (2GiB)
  --dir DIR         where the data is made while it runs (default: on this repository's disk)
  --json FILE       write everything measured
  --readme          put the table into README.md`;

const syncUsage = `usage: scripts/bench sync [options]

Writes to a system whose replies wait for a synchronous follower, against a mirror of qemu-storage-daemon.

  --quick           small volumes, one round of two seconds; fails under half a bar, after up to three
                    rounds more of what is
  --rows ROW,...    only these rows: ${syncRows.map((row) => row.id).join(', ')}
  --seconds S       seconds a row (30)
  --rounds N        rounds (3)
  --size SIZE       size of the volumes (1GiB)
  --dir DIR         where the volumes are made while it runs (default: on this repository's disk)
  --json FILE       write everything measured
  --readme          put the table into README.md`;

const historyUsage = `usage: scripts/bench history [options]

Measures what it costs that the past is kept, against a qcow2 overlay of qemu-nbd, and how soon it is there.

  --quick           small volumes, one round; fails under half a bar
  --rows ROW,...    only these rows: ${historyRows.join(', ')}
  --rounds N        rounds (3)
  --size SIZE       size of the volumes (1GiB)
  --dir DIR         where the volumes are made while it runs (default: on this repository's disk)
  --json FILE       write everything measured
  --readme          put the table into README.md`;

const units: Record<string, number> = {
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB,
  TiB: 1024 ** 4,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
};

function sizeOf(text: string): number {
  const match = /^(\d+)([KMGT]i?B)?$/.exec(text);
  const unit = match?.[2] === undefined ? 1 : units[match[2]];
  if (!match?.[1] || unit === undefined) throw new UsageError(`${text} is no size such as 8GiB`);
  return Number(match[1]) * unit;
}

function numberOf(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new UsageError(`--${name} ${text} is no number above 0`);
  return value;
}

function listOf<Item extends string>(
  name: string,
  text: string | undefined,
  known: readonly Item[],
): Item[] {
  if (text === undefined) return [...known];
  const items = text.split(',');
  for (const item of items) {
    if (!known.some((each) => each === item)) {
      throw new UsageError(`--${name}: there is no ${item}; there are ${known.join(', ')}`);
    }
  }
  return known.filter((item) => items.includes(item));
}

/** On the same file system as the repository, outside of it where that can be. */
function defaultDirectory(): string {
  return statSync(tmpdir()).dev === statSync(repository).dev ? tmpdir() : repository;
}

/** Of benchmarks that put a table into the README. */
const tableOptions = {
  quick: { type: 'boolean', default: false },
  rows: { type: 'string' },
  seconds: { type: 'string' },
  rounds: { type: 'string' },
  size: { type: 'string' },
  dir: { type: 'string' },
  json: { type: 'string' },
  readme: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

function tableSettings(
  verb: string,
  values: { quick: boolean; readme: boolean; dir?: string; json?: string },
  args: readonly string[],
) {
  return {
    directory: values.dir ?? defaultDirectory(),
    json: values.json,
    readme: values.readme ? `${repository}/README.md` : undefined,
    barShare: values.quick ? 0.5 : 1,
    command: ['scripts/bench', verb, ...withoutFiles(args)].join(' '),
  };
}

async function nbd(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { ...tableOptions, only: { type: 'string' } },
  });
  if (values.help) {
    say(nbdUsage);
    return 0;
  }
  const known = rows.map((row) => row.id);
  return benchNbd({
    rows:
      values.rows === undefined && values.quick ? quickRows : listOf('rows', values.rows, known),
    servers: listOf('only', values.only, [...peerNames, ownName]),
    seconds: numberOf('seconds', values.seconds ?? (values.quick ? '2' : '30')),
    rounds: numberOf('rounds', values.rounds ?? (values.quick ? '1' : '3')),
    extraRounds: values.quick ? 3 : 0,
    touchesMemory: !values.quick,
    sizeBytes: sizeOf(values.size ?? (values.quick ? '2GiB' : '8GiB')),
    ...tableSettings('nbd', values, args),
  });
}

async function stall(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '30' },
      rate: { type: 'string', default: '50MB' },
      disk: { type: 'string', default: 'control-group' },
      dir: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    say(stallUsage);
    return 0;
  }
  const { disk } = values;
  if (disk !== 'control-group' && disk !== 'device') {
    throw new UsageError(`--disk ${disk}: write control-group or device`);
  }
  return benchStall({
    disk,
    seconds: numberOf('seconds', values.seconds),
    bytesPerSecond: sizeOf(values.rate),
    directory: values.dir ?? defaultDirectory(),
    json: values.json,
  });
}

async function recovery(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      unapplied: { type: 'string', default: '256MiB' },
      journals: { type: 'string', default: '1GiB,16GiB' },
      rounds: { type: 'string', default: '3' },
      dir: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    say(recoveryUsage);
    return 0;
  }
  return benchRecovery({
    rounds: numberOf('rounds', values.rounds),
    unappliedBytes: sizeOf(values.unapplied),
    journalBytes: values.journals.split(',').map(sizeOf),
    directory: values.dir ?? defaultDirectory(),
    json: values.json,
  });
}

async function follow(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: tableOptions });
  if (values.help) {
    say(followUsage);
    return 0;
  }
  return benchFollow({
    rows: listOf('rows', values.rows, followRows),
    seconds: numberOf('seconds', values.seconds ?? (values.quick ? '5' : '30')),
    rounds: numberOf('rounds', values.rounds ?? (values.quick ? '1' : '3')),
    sizeBytes: sizeOf(values.size ?? (values.quick ? '512MiB' : '2GiB')),
    isQuick: values.quick,
    ...tableSettings('follow', values, args),
  });
}

async function sync(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: tableOptions });
  if (values.help) {
    say(syncUsage);
    return 0;
  }
  const known = syncRows.map((row) => row.id);
  return benchSync({
    rows: listOf('rows', values.rows, known),
    seconds: numberOf('seconds', values.seconds ?? (values.quick ? '2' : '30')),
    rounds: numberOf('rounds', values.rounds ?? (values.quick ? '1' : '3')),
    extraRounds: values.quick ? 3 : 0,
    sizeBytes: sizeOf(values.size ?? (values.quick ? '256MiB' : '1GiB')),
    ...tableSettings('sync', values, args),
  });
}

async function history(args: string[]): Promise<number> {
  const { seconds: _, ...options } = tableOptions;
  const { values } = parseArgs({ args, options });
  if (values.help) {
    say(historyUsage);
    return 0;
  }
  return benchHistory({
    rows: listOf('rows', values.rows, historyRows),
    rounds: numberOf('rounds', values.rounds ?? (values.quick ? '1' : '3')),
    sizeBytes: sizeOf(values.size ?? (values.quick ? '128MiB' : '1GiB')),
    ...tableSettings('history', values, args),
  });
}

/** Where somebody keeps results interests nobody who reads the table. */
function withoutFiles(args: readonly string[]): string[] {
  return args.filter((arg, at) => !arg.startsWith('--json') && args[at - 1] !== '--json');
}

async function main(): Promise<number> {
  const [verb, ...rest] = process.argv.slice(2);
  if (verb === 'nbd') return nbd(rest);
  if (verb === 'stall') return stall(rest);
  if (verb === 'recovery') return recovery(rest);
  if (verb === 'follow') return follow(rest);
  if (verb === 'sync') return sync(rest);
  if (verb === 'history') return history(rest);
  const usages = [nbdUsage, stallUsage, recoveryUsage, followUsage, syncUsage, historyUsage];
  process.stderr.write(`${usages.join('\n\n')}\n`);
  return verb === '--help' ? 0 : 2;
}

/** An error of `parseArgs` or of ours, rather than of what was measured. */
function isUsage(error: unknown): error is Error {
  if (error instanceof UsageError) return true;
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' && code.startsWith('ERR_PARSE_ARGS');
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${isUsage(error) ? `scripts/bench: ${error.message}` : inspect(error)}\n`);
  process.exitCode = isUsage(error) ? 2 : 1;
}
