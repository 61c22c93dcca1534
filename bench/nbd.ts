import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { runChecked } from '../test/support/children.ts';
import type { PeerName } from '../test/support/peers.ts';
import { temporaryDirectory } from '../test/support/temporary.ts';
import { writePreSharedKey } from '../test/support/certificates.ts';
import { missingPrograms } from '../test/support/tools.ts';
import {
  type Contestant,
  Own,
  ownName,
  peerNames,
  startPeer,
  writePeersVolume,
} from './contestants.ts';
import { missingForLoads } from './load.ts';
import { dropFromPageCache, readIntoPageCache, touchMemory } from './page-cache.ts';
import { describeMachine, fileSystemOf, requireSpace } from './machine.ts';
import {
  markdownTable,
  missedBars,
  replaceTable,
  reportRow,
  type Result,
  type RowReport,
  say,
  sayMissed,
  writeReport,
} from './report.ts';
import { measureRounds } from './rounds.ts';
import { largeWriteBarReflink, type Row, rows } from './rows.ts';
import { timedLoad } from './timed-load.ts';

export interface NbdBenchOptions {
  readonly rows: readonly string[];
  readonly servers: readonly string[];
  readonly seconds: number;
  readonly rounds: number;
  /** More rounds at most of rows that miss their bars. */
  readonly extraRounds: number;
  readonly sizeBytes: number;
  /** Where the volumes go while it runs. */
  readonly directory: string;
  readonly json: string | undefined;
  readonly readme: string | undefined;
  /** Share of each bar below which it fails. */
  readonly barShare: number;
  /** Before each row, which takes as long as a short row. */
  readonly touchesMemory: boolean;
  /** What was typed, for the table. */
  readonly command: string;
}

const MiB = 1024 * 1024;
/** The limit on top of the daemon's memory budget (192 MiB by default). */
const residentBudgetBytes = 192 * MiB;
const residentOverBudgetBytes = 96 * MiB;

/** 0 all bars held, 1 missed, 77 something is missing. */
export async function benchNbd(options: NbdBenchOptions): Promise<number> {
  const missing = [
    ...(await missingForLoads()),
    ...missingPrograms('nbdcopy', ...options.servers.filter((server) => server !== ownName)),
  ];
  if (missing.length > 0) {
    say(`bench nbd: missing ${missing.join(', ')}: scripts/install-test-tools brings them`);
    return 77;
  }
  mkdirSync(options.directory, { recursive: true });
  // Both volumes, and as much again for the journal (8 GiB by default).
  const wantedBytes = 2 * options.sizeBytes + 9 * 1024 * MiB;
  requireSpace(options.directory, wantedBytes, 'smaller volumes with --size');
  const work = temporaryDirectory('bench', options.directory);
  const race = new Race(options, work.path);
  try {
    return await race.run();
  } finally {
    await race.stop();
    work.remove();
  }
}

class Race {
  readonly #options: NbdBenchOptions;
  readonly #directory: string;
  readonly #own: Own;
  readonly #keys: string;
  readonly #peers: Contestant[] = [];
  #peersVolume = '';

  constructor(options: NbdBenchOptions, directory: string) {
    this.#options = options;
    this.#directory = directory;
    // QEMU wants a directory with the keys under this name.
    this.#keys = join(directory, 'keys.psk');
    this.#own = new Own({ directory, sizeBytes: options.sizeBytes, preSharedKeyFile: this.#keys });
  }

  async run(): Promise<number> {
    const options = this.#options;
    const chosen = rows.filter((row) => options.rows.includes(row.id));
    writePreSharedKey(this.#keys, 'bench');
    say(`writing the volumes once, in ${this.#directory}`);
    await this.#createVolumes();
    const bars = await this.#bars();
    const { rounds, extraRounds, barShare } = options;
    const reports = await measureRounds({
      rounds,
      extraRounds,
      barShare,
      rows: chosen,
      contestantsOf: (row) => this.#namesFor(row),
      measure: (row, name, round) => this.#measure(row, name, round),
      report: (row, results) => reportRow(row, bars(row), ownName, results),
    });
    return this.#conclude(reports);
  }

  /** Leaves nothing of them in the page cache: who wrote in which pieces decides what it costs there. */
  async #createVolumes(): Promise<void> {
    const { servers, sizeBytes } = this.#options;
    this.#peersVolume = await writePeersVolume({
      directory: this.#directory,
      sizeBytes,
      preSharedKeyFile: this.#keys,
    });
    for (const name of peerNames) {
      if (servers.includes(name)) this.#peers.push(await startPeer(name, this.#peersVolume));
    }
    const files = [this.#peersVolume];
    if (servers.includes(ownName)) {
      await this.#own.create(this.#peersVolume);
      files.push((await this.#own.contestant(false)).file);
    }
    await runChecked('sync', ['-f', this.#directory], { timeoutSeconds: 600 });
    for (const file of files) await dropFromPageCache(file);
  }

  /** nbd-server knows no pre-shared keys. */
  #namesFor(row: Row): string[] {
    return this.#options.servers.filter((name) => !row.isEncrypted || name !== 'nbd-server');
  }

  async #measure(row: Row, name: string, round: number): Promise<Result> {
    const contestant = await this.#contestant(name, row.isEncrypted);
    try {
      await this.#prepare(row, contestant);
      const { sizeBytes, seconds } = this.#options;
      const done = await timedLoad(row, contestant, { sizeBytes, seconds });
      return { ...done, server: name, round };
    } catch (error) {
      throw new Error(`${row.id} on ${name}: ${contestant.server.output.slice(-2000)}`, {
        cause: error,
      });
    } finally {
      if (row.isEncrypted && name !== ownName) await contestant.server.stop();
    }
  }

  async #contestant(name: string, isEncrypted: boolean): Promise<Contestant> {
    if (name === ownName) return this.#own.contestant(isEncrypted);
    if (isEncrypted) return startPeer(name as PeerName, this.#peersVolume, this.#keys);
    const found = this.#peers.find((contestant) => contestant.name === name);
    if (!found) throw new Error(`there is no server ${name}`);
    return found;
  }

  /** Nothing of the row before is left to be written, and the cache holds what the row is about. */
  async #prepare(row: Row, contestant: Contestant): Promise<void> {
    await contestant.settled();
    await runChecked('sync', ['-f', this.#directory], { timeoutSeconds: 600 });
    if (row.cache === 'cold') await dropFromPageCache(contestant.file);
    else await readIntoPageCache(contestant.file);
    if (this.#options.touchesMemory) await touchMemory();
  }

  async #bars(): Promise<(row: Row) => number | undefined> {
    const sharesRuns = ['xfs', 'btrfs'].includes(await fileSystemOf(this.#directory));
    return (row) => (sharesRuns && row.id === 'write-1m-8' ? largeWriteBarReflink : row.bar);
  }

  async #conclude(reports: readonly RowReport[]): Promise<number> {
    const options = this.#options;
    const table = markdownTable(reports, options.servers);
    const peak = options.servers.includes(ownName) ? this.#own.peakResidentBytes : 0;
    const limit = residentBudgetBytes + residentOverBudgetBytes;
    const missed = missedBars(reports, options.barShare);
    const machine = await describeMachine(this.#directory);
    const touched = options.touchesMemory ? ', and memory touched before each row' : '';
    const summary = [
      `\`${options.command}\` on ${machine.text}: ${options.rounds} rounds of ` +
        `${options.seconds} s a row, volumes of ${options.sizeBytes / 1024 ** 3} GiB written once ` +
        `before and read into the page cache in single pages${touched}; rates are medians, a ratio is the ` +
        'median of its rounds. Rows that write end with a FLUSH and, on jnbd, when all is in the volumes; the ' +
        'last column leaves that FLUSH out.',
      peak > 0 ? `Resident memory of jnbd at most ${Math.round(peak / MiB)} MiB.` : '',
    ].join('\n');
    say(`\n${table}\n\n${summary}`);
    sayMissed(missed, options.barShare);
    if (peak > limit) say(`resident memory over ${limit / MiB} MiB: ${peak} bytes`);

    if (options.json !== undefined) {
      writeReport(options.json, options, {
        machine,
        rows: reports,
        memory: { peakResidentBytes: peak, limitBytes: limit },
        missed: missed.map(({ id }) => id),
      });
    }
    if (options.readme !== undefined) replaceTable(options.readme, 'nbd', `${table}\n\n${summary}`);
    return missed.length > 0 || peak > limit ? 1 : 0;
  }

  async stop(): Promise<void> {
    for (const contestant of this.#peers) await contestant.server.stop();
    await this.#own.stop();
  }
}
