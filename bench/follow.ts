import { mkdirSync } from 'node:fs';
import { missingPrograms } from '../test/support/tools.ts';
import { temporaryDirectory } from '../test/support/temporary.ts';
import { measureCopies } from './follow-copy.ts';
import { measureFullRate, measureHalfRate } from './follow-rate.ts';
import { type Finding, findingsTable, holds } from './follow-report.ts';
import { measureFailback, measurePromotion } from './follow-roles.ts';
import { discard, type FollowBench } from './follow-systems.ts';
import { describeMachine, requireSpace } from './machine.ts';
import { replaceTable, say, writeReport } from './report.ts';

export const followRows = ['copy', 'half-rate', 'full-rate', 'promote', 'failback'] as const;
export type FollowRow = (typeof followRows)[number];

export interface FollowBenchOptions {
  readonly rows: readonly string[];
  readonly sizeBytes: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly isQuick: boolean;
  readonly directory: string;
  readonly json: string | undefined;
  readonly readme: string | undefined;
  /** Share of each bar below which it fails. */
  readonly barShare: number;
  /** What was typed, for the table. */
  readonly command: string;
}

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

/** 0 all bars held, 1 missed, 77 something is missing. */
export async function benchFollow(options: FollowBenchOptions): Promise<number> {
  const missing = missingPrograms('fio', 'nbdcopy', 'nbdkit');
  if (missing.length > 0) {
    say(`bench follow: missing ${missing.join(', ')}: scripts/install-test-tools brings them`);
    return 77;
  }
  mkdirSync(options.directory, { recursive: true });
  requireSpace(options.directory, spaceFor(options), 'take --quick');
  const work = temporaryDirectory('bench-follow', options.directory);
  const bench: FollowBench = { directory: work.path, systems: new Set() };
  try {
    return await measureRows(options, bench);
  } finally {
    await discard(bench, ...bench.systems);
    work.remove();
  }
}

/** Three journals and three volumes at the most, at the same time. */
function spaceFor({ sizeBytes, isQuick }: FollowBenchOptions): number {
  return Math.max(8 * sizeBytes, isQuick ? 8 * GiB : 24 * GiB) + GiB;
}

async function measureRows(options: FollowBenchOptions, bench: FollowBench): Promise<number> {
  const { rows, sizeBytes, seconds, rounds, isQuick, directory } = options;
  const rate = { seconds, sizeBytes, journalBytes: isQuick ? 2 * GiB : 6 * GiB };
  const measures: Record<FollowRow, () => Promise<Finding[]>> = {
    copy: () => measureCopies(bench, { sizeBytes, rounds }),
    'half-rate': () => measureHalfRate(bench, rate),
    'full-rate': () => measureFullRate(bench, rate),
    promote: () => measurePromotion(bench, { unappliedBytes: isQuick ? 256 * MiB : GiB }),
    failback: () =>
      measureFailback(bench, {
        sizeBytes: isQuick ? 2 * GiB : 10 * GiB,
        filledBytes: sizeBytes / 2,
        changedBytes: isQuick ? 25 * MiB : 100 * MiB,
      }),
  };
  const findings: Finding[] = [];
  for (const row of followRows) {
    if (!rows.includes(row)) continue;
    const found = await measures[row]();
    for (const { label, text } of found) say(`${label}: ${text}`);
    findings.push(...found);
  }
  const missed = findings.filter((finding) => !holds(finding, options.barShare));
  const machine = await describeMachine(directory);
  const table = findingsTable(findings);
  const summary =
    `\`${options.command}\` on ${machine.text}, all systems and the load on it: ${seconds} s a run, ` +
    `volumes of ${(sizeBytes / GiB).toFixed(1)} GiB written once before, memory touched before each run.`;
  say(`\n${table}\n\n${summary}`);
  for (const { id, value } of missed) say(`missed: ${id}: ${value}`);
  if (options.json !== undefined) {
    writeReport(options.json, options, { machine, findings, missed: missed.map(({ id }) => id) });
  }
  if (options.readme !== undefined) {
    replaceTable(options.readme, 'follow', `${table}\n\n${summary}`);
  }
  return missed.length > 0 ? 1 : 0;
}
