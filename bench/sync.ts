import { mkdirSync } from 'node:fs';
import { runChecked } from '../test/support/children.ts';
import { temporaryDirectory } from '../test/support/temporary.ts';
import { missingPrograms } from '../test/support/tools.ts';
import { writePeersVolume } from './contestants.ts';
import { missingForLoads } from './load.ts';
import { type Finding, findingsTable, holds } from './follow-report.ts';
import { describeMachine, requireSpace } from './machine.ts';
import { measureMarkers } from './markers.ts';
import { Mirror } from './mirror.ts';
import { missedBars, replaceTable, type Result, say, sayMissed, writeReport } from './report.ts';
import { measureRounds } from './rounds.ts';
import { touchMemory } from './page-cache.ts';
import { OwnPair, type OwnPairPlan } from './sync-pair.ts';
import { reportSync, type SyncRowReport, syncTable } from './sync-report.ts';
import { type SyncContestant, type SyncRow, syncRows } from './sync-rows.ts';
import { timedLoad } from './timed-load.ts';

export interface SyncBenchOptions {
  readonly rows: readonly string[];
  readonly seconds: number;
  readonly rounds: number;
  /** More rounds at most of rows that miss their bars. */
  readonly extraRounds: number;
  readonly sizeBytes: number;
  readonly directory: string;
  readonly json: string | undefined;
  readonly readme: string | undefined;
  /** Share of each bar below which it fails. */
  readonly barShare: number;
  /** What was typed, for the table. */
  readonly command: string;
}

/** Two systems, as a host sees them. */
export interface Pair {
  readonly uri: string;
  readonly output: string;
  /** Waits until all that was written is in the volumes of both. */
  settled(): Promise<void>;
  /** An error: it was not all the time as it is to be measured. */
  verify(): Promise<void>;
  stop(): Promise<void>;
}

const GiB = 1024 ** 3;

/** 0 all bars held, 1 missed, 77 something is missing. */
export async function benchSync(options: SyncBenchOptions): Promise<number> {
  const missing = [
    ...(await missingForLoads()),
    ...missingPrograms('nbdcopy', 'nbdkit', 'qemu-nbd', 'qemu-storage-daemon'),
  ];
  if (missing.length > 0) {
    say(`bench sync: missing ${missing.join(', ')}: scripts/install-test-tools brings them`);
    return 77;
  }
  mkdirSync(options.directory, { recursive: true });
  // Ten volumes, the contents that they begin with, and four journals.
  const wantedBytes = 11 * options.sizeBytes + 3 * GiB;
  requireSpace(options.directory, wantedBytes, 'smaller volumes with --size');
  const work = temporaryDirectory('bench-sync', options.directory);
  const bench = new SyncBench(options, work.path);
  try {
    return await bench.run();
  } finally {
    await bench.stop();
    work.remove();
  }
}

class SyncBench {
  readonly #options: SyncBenchOptions;
  readonly #directory: string;
  readonly #pairs = new Map<string, Pair>();

  constructor(options: SyncBenchOptions, directory: string) {
    this.#options = options;
    this.#directory = directory;
  }

  async run(): Promise<number> {
    const { rounds, extraRounds, barShare, seconds } = this.#options;
    const chosen = syncRows.filter(({ id }) => this.#options.rows.includes(id));
    say(`writing the volumes once, in ${this.#directory}`);
    await this.#startPairs(chosen);
    const reports = await measureRounds({
      rounds,
      extraRounds,
      barShare,
      rows: chosen,
      contestantsOf: (row) => row.contestants,
      measure: (row, name, round) => this.#measure(row, name, round),
      report: reportSync,
    });
    await this.stop();
    return this.#conclude(reports, await measureMarkers(this.#directory, 2 * seconds));
  }

  async #startPairs(chosen: readonly SyncRow[]): Promise<void> {
    const directory = this.#directory;
    const { sizeBytes } = this.#options;
    const contentsFrom = await writePeersVolume({ directory, sizeBytes, preSharedKeyFile: '' });
    for (const name of new Set(chosen.flatMap((row) => row.contestants))) {
      const plan = { directory, name, sizeBytes, contentsFrom };
      this.#pairs.set(name, await startPair(name, plan));
    }
  }

  async #measure(row: SyncRow, name: string, round: number): Promise<Result> {
    const pair = this.#pairs.get(name);
    if (!pair) throw new Error(`there is no ${name}`);
    try {
      for (const each of this.#pairs.values()) await each.settled();
      await runChecked('sync', ['-f', this.#directory], { timeoutSeconds: 600 });
      await touchMemory();
      const { sizeBytes, seconds } = this.#options;
      const done = await timedLoad(row, pair, { sizeBytes, seconds });
      await pair.verify();
      return { ...done, server: name, round };
    } catch (error) {
      throw new Error(`${row.id} on ${name}: ${pair.output.slice(-2000)}`, { cause: error });
    }
  }

  async #conclude(reports: readonly SyncRowReport[], markers: readonly Finding[]): Promise<number> {
    const { command, rounds, seconds, sizeBytes, barShare, json, readme } = this.#options;
    const missed = missedBars(reports, barShare);
    const missedMarkers = markers.filter((finding) => !holds(finding, barShare));
    const machine = await describeMachine(this.#directory);
    const summary =
      `\`${command}\` on ${machine.text}, both systems and the load on it: ${rounds} rounds of ` +
      `${seconds} s a row, volumes of ${sizeBytes / GiB} GiB written once before, memory touched before each row. Rates and latencies ` +
      'are medians, a ratio is the median of its rounds. Rows end with a FLUSH and, on jnbd, when all ' +
      'is in the volumes of both systems. The mirror of qemu-storage-daemon (write-blocking) passes ' +
      'neither FUA nor FLUSH on to its target, which therefore makes every write durable in the rows ' +
      'with FUA, and none in the others: there a synchronous follower has everything, a mirror has not. ' +
      'A ratio is to the better of the mirrors. Markers: of a cut over two systems, each with hosts of its own.';
    const table = `${syncTable(reports)}\n\n${findingsTable(markers)}`;
    say(`\n${table}\n\n${summary}`);
    sayMissed(missed, barShare);
    for (const { id, text } of missedMarkers) say(`missed: ${id}: ${text}`);
    if (json !== undefined) {
      const ids = [...missed, ...missedMarkers].map(({ id }) => id);
      writeReport(json, this.#options, { machine, rows: reports, markers, missed: ids });
    }
    if (readme !== undefined) replaceTable(readme, 'sync', `${table}\n\n${summary}`);
    return missed.length + missedMarkers.length > 0 ? 1 : 0;
  }

  async stop(): Promise<void> {
    for (const pair of this.#pairs.values()) await pair.stop();
    this.#pairs.clear();
  }
}

type PairPlan = Omit<OwnPairPlan, 'isSynchronous'>;

function startPair(name: SyncContestant, plan: PairPlan): Promise<Pair> {
  if (name === 'synchronous' || name === 'asynchronous') {
    return OwnPair.start({ ...plan, isSynchronous: name === 'synchronous' });
  }
  return Mirror.start({
    ...plan,
    target: name === 'nbdkit' ? 'nbdkit' : 'qemu-nbd',
    isTargetWrittenThrough: name !== 'unflushed-qemu-nbd',
  });
}
