import { mkdirSync } from 'node:fs';
import { journalCapacityBytesDefault } from '../src/platform/limits.ts';
import { temporaryDirectory } from '../test/support/temporary.ts';
import { missingPrograms } from '../test/support/tools.ts';
import { type Finding, findingsTable, holds } from './follow-report.ts';
import { measureHistoryViews } from './history-views.ts';
import { measureHistoryWrites } from './history-writes.ts';
import { missingForLoads } from './load.ts';
import { describeMachine, requireSpace } from './machine.ts';
import { replaceTable, say, writeReport } from './report.ts';

export interface HistoryBenchOptions {
  readonly rows: readonly HistoryRow[];
  readonly rounds: number;
  readonly sizeBytes: number;
  readonly directory: string;
  readonly json: string | undefined;
  readonly readme: string | undefined;
  /** Share of each bar below which it fails. */
  readonly barShare: number;
  /** What was typed, for the table. */
  readonly command: string;
}

export const historyRows = ['writes', 'views'] as const;
export type HistoryRow = (typeof historyRows)[number];

const GiB = 1024 ** 3;

/** 0 all bars held, 1 missed, 77 something is missing. */
export async function benchHistory(options: HistoryBenchOptions): Promise<number> {
  const missing = [
    ...(await missingForLoads()),
    ...missingPrograms('nbdcopy', 'qemu-img', 'qemu-nbd'),
  ];
  if (missing.length > 0) {
    say(`bench history: missing ${missing.join(', ')}: scripts/install-test-tools brings them`);
    return 77;
  }
  mkdirSync(options.directory, { recursive: true });
  // Of writes: six volumes, what they begin with, what is kept of each, and four journals. Of views: a volume,
  // what it was eight times over, and a journal that holds as much.
  const journalBytes = options.rows.includes('writes') ? 4 * journalCapacityBytesDefault : 0;
  const wantedBytes = 20 * options.sizeBytes + journalBytes + 6 * GiB;
  requireSpace(options.directory, wantedBytes, 'smaller volumes with --size');
  const work = temporaryDirectory('bench-history', options.directory);
  try {
    return await run(options, work.path);
  } finally {
    work.remove();
  }
}

async function run(options: HistoryBenchOptions, directory: string): Promise<number> {
  const { rows, rounds, sizeBytes, barShare, command, json, readme } = options;
  const measures: Record<HistoryRow, () => Promise<Finding[]>> = {
    writes: () => measureHistoryWrites({ directory, sizeBytes, rounds }),
    views: () =>
      measureHistoryViews({
        directory,
        sizeBytes,
        historyBytes: [sizeBytes, 8 * sizeBytes],
        rounds,
      }),
  };
  const findings: Finding[] = [];
  for (const row of rows) findings.push(...(await measures[row]()));
  const missed = findings.filter((finding) => !holds(finding, barShare));
  const machine = await describeMachine(directory);
  const table = findingsTable(findings);
  const summary =
    `\`${command}\` on ${machine.text}: ${rounds} rounds, volumes of ${sizeBytes / GiB} GiB written once ` +
    'before and read into the page cache in single pages, and memory touched before each row. Rates are medians, a ratio is the median of its rounds. Rows that write end with a FLUSH and, ' +
    'on jnbd, when all is in the volumes. The qcow2 overlay is made anew for each round, with clusters of ' +
    '64 KiB or with subclusters of 4 KiB, and the better one counts.';
  say(`\n${table}\n\n${summary}`);
  for (const { id, value } of missed) say(`missed: ${id}: ${value}`);
  if (json !== undefined) {
    writeReport(json, options, { machine, findings, missed: missed.map(({ id }) => id) });
  }
  if (readme !== undefined) replaceTable(readme, 'history', `${table}\n\n${summary}`);
  return missed.length > 0 ? 1 : 0;
}
