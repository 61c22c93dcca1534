import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { NbdClient } from '../src/nbd/client.ts';
import { runChecked } from '../test/support/children.ts';
import type { Daemon } from '../test/support/daemon.ts';
import type { Finding } from './follow-report.ts';
import {
  copyIn,
  discard,
  type FollowBench,
  groupOf,
  startPrimary,
  untilApplied,
  volume,
  writeRandomFile,
} from './follow-systems.ts';
import { flush, putLoad } from './load.ts';
import { dropFromPageCache } from './page-cache.ts';
import { median, say } from './report.ts';
import type { Row } from './rows.ts';

export interface HistoryViewsPlan {
  readonly directory: string;
  readonly sizeBytes: number;
  /** How much was written since the window began, one system for each. */
  readonly historyBytes: readonly number[];
  readonly rounds: number;
}

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;
const readSeconds = 10;
const firstReadBar = { kind: 'at most', value: 1, text: '1 s' } as const;
const readsBar = { kind: 'at least', value: 0.5, text: '0.5' } as const;
const reads: Row['load'] = { tool: 'bench-client', arguments: ['--read', '--depth=32'] };

/** How soon the past is there, and how fast it is read. */
export async function measureHistoryViews(plan: HistoryViewsPlan): Promise<Finding[]> {
  const { directory, sizeBytes, historyBytes, rounds } = plan;
  const contents = join(directory, 'contents');
  writeRandomFile(contents, sizeBytes);
  const findings: Finding[] = [];
  for (const bytes of historyBytes) {
    const bench: FollowBench = { directory, systems: new Set() };
    try {
      const system = { name: `history-${bytes}`, journalBytes: bytes + 4 * GiB };
      const daemon = await startPrimary(bench, system, sizeBytes);
      await copyIn(contents, daemon, MiB);
      await untilApplied(daemon);
      await daemon.client('group', 'configure', 'bench', '--history', '24h');
      await writeHistory(daemon, sizeBytes, bytes);
      findings.push(await firstReads(daemon, bytes, rounds));
      if (bytes === historyBytes.at(-1))
        findings.push(await randomReads(daemon, sizeBytes, rounds));
    } finally {
      await discard(bench, ...bench.systems);
    }
  }
  return findings;
}

async function writeHistory(daemon: Daemon, sizeBytes: number, bytes: number): Promise<void> {
  say(`writing ${(bytes / GiB).toFixed(1)} GiB of history`);
  const target = { uri: daemon.uri(volume), preSharedKeyFile: undefined };
  const load: Row['load'] = {
    tool: 'fio',
    arguments: [
      ['--rw=randwrite', '--bs=64k', '--iodepth=8', '--time_based=0', '--runtime=0'],
      [`--io_size=${bytes}`],
    ].flat(),
  };
  await putLoad({ load }, { ...target, sizeBytes, seconds: 1800 });
  await flush(target);
  await untilApplied(daemon);
}

/** From the command that makes a view, with nothing of the past in memory, to the first 4 KiB of it. */
async function firstReads(daemon: Daemon, bytes: number, rounds: number): Promise<Finding> {
  const seconds: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const number = await numberAt(daemon, (round + 1) / (rounds + 1));
    await dropCaches(daemon.dataDirectory);
    const began = performance.now();
    const client = await openView(daemon, number);
    await client.read(64 * 4096, 4096);
    seconds.push((performance.now() - began) / 1000);
    await client.close();
    await daemon.client('view', 'delete', 'bench@then');
  }
  const size = `${(bytes / GiB).toFixed(bytes < GiB ? 2 : 0)} GiB`;
  const value = median(seconds);
  const text = `${value.toFixed(2)} s (${seconds.map((each) => each.toFixed(2)).join(', ')})`;
  say(`first read, ${size} of history: ${text}`);
  return {
    id: `first read of ${size}`,
    label: `\`view create\` and its first 4 KiB, nothing cached, in ${size} of history`,
    text,
    value,
    bar: firstReadBar,
    details: { seconds },
  };
}

async function randomReads(daemon: Daemon, sizeBytes: number, rounds: number): Promise<Finding> {
  const client = await openView(daemon, await numberAt(daemon, 0.5));
  await client.close();
  const rate = async (name: string): Promise<number> => {
    const target = { uri: daemon.uri(name), preSharedKeyFile: undefined, sizeBytes };
    const done = await putLoad({ load: reads }, { ...target, seconds: readSeconds });
    return done.operations / done.seconds / 1000;
  };
  const live: number[] = [];
  const past: number[] = [];
  // What is read first comes from the disk.
  await rate(volume);
  await rate(`${volume}@then`);
  for (let round = 0; round < rounds; round += 1) {
    live.push(await rate(volume));
    past.push(await rate(`${volume}@then`));
  }
  await daemon.client('view', 'delete', 'bench@then');
  const value = median(past.map((each, round) => each / (live[round] ?? Number.NaN)));
  const text = `${value.toFixed(2)} (${median(past).toFixed(1)} and ${median(live).toFixed(1)} thousand/s)`;
  say(`random reads of a view: ${text}`);
  return {
    id: 'random reads of a view',
    label: 'random 4k reads of a view at depth 32, to those of the live volume',
    text,
    value,
    bar: readsBar,
    details: { live, past },
  };
}

/** So far from where the window begins to now: 0 to 1. */
async function numberAt(daemon: Daemon, share: number): Promise<number> {
  const { history, watermarks } = await groupOf(daemon);
  return Math.round(history.from + (watermarks.newest - history.from) * share);
}

async function openView(daemon: Daemon, number: number): Promise<NbdClient> {
  await daemon.client('view', 'create', 'bench', '--at', String(number), '--name', 'then');
  return NbdClient.connectUri(daemon.uri(`${volume}@then`));
}

/** The page cache has nothing more of any file in it. */
async function dropCaches(directory: string): Promise<void> {
  await runChecked('sync', ['-f', directory], { timeoutSeconds: 600 });
  const files = readdirSync(directory, { recursive: true, withFileTypes: true });
  for (const file of files) {
    if (!file.isFile()) continue;
    await dropFromPageCache(join(file.parentPath, file.name));
  }
}
