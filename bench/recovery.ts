import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { runChecked, sleep } from '../test/support/children.ts';
import { Daemon, program } from '../test/support/daemon.ts';
import { temporaryDirectory } from '../test/support/temporary.ts';
import { missingPrograms, requireProgram } from '../test/support/tools.ts';
import { requireSpace } from './machine.ts';
import { median, say } from './report.ts';

export interface RecoveryOptions {
  readonly rounds: number;
  /** Written after the last checkpoint, in records of 4 KiB. */
  readonly unappliedBytes: number;
  /** The journals that are compared. */
  readonly journalBytes: readonly number[];
  readonly directory: string;
  readonly json: string | undefined;
}

const KiB = 1024;
const GiB = 1024 ** 3;
const recordBytes = 4 * KiB;
/** For 256 MiB; the start of Node is in it. */
const secondsMax = 2;
/** How much longer the slowest journal may take than the quickest: size must not matter. */
const spreadMax = 1.2;
/** A checkpoint is made at the latest so long after something was applied. */
const checkpointSeconds = 17;

/** 0 within the bounds, 1 not, 77 something is missing. */
export async function benchRecovery(options: RecoveryOptions): Promise<number> {
  const missing = missingPrograms('nbdcopy');
  if (missing.length > 0) {
    say(`bench recovery: missing ${missing.join(', ')}: scripts/install-test-tools brings it`);
    return 77;
  }
  mkdirSync(options.directory, { recursive: true });
  requireSpace(options.directory, spaceFor(options), 'smaller journals with --journals');
  const work = temporaryDirectory('recovery', options.directory);
  const contents = join(work.path, 'contents');
  const systems: Recovering[] = [];
  try {
    writeContents(contents, options.unappliedBytes);
    for (const journalBytes of options.journalBytes) {
      systems.push(await Recovering.make(work.path, journalBytes, contents));
    }
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const system of systems) {
        const seconds = await system.crashAndRecover();
        say(`round ${round}  journal of ${system.name}: ready after ${seconds.toFixed(2)} s`);
      }
    }
    return conclude(options, systems);
  } finally {
    for (const system of systems) await system.stop();
    work.remove();
  }
}

/** The journals, the contents and a volume for each. */
function spaceFor({ journalBytes, unappliedBytes }: RecoveryOptions): number {
  const journals = journalBytes.reduce((sum, bytes) => sum + bytes, 0);
  return journals + (journalBytes.length + 1) * unappliedBytes + GiB;
}

function writeContents(path: string, bytes: number): void {
  const file = openSync(path, 'w');
  const piece = randomBytes(1024 * KiB);
  for (let at = 0; at < bytes; at += piece.length) writeSync(file, piece);
  closeSync(file);
}

function conclude(options: RecoveryOptions, systems: readonly Recovering[]): number {
  const medians = systems.map((system) => median(system.seconds));
  const spread = Math.max(...medians) / Math.min(...medians);
  // The bound is for 256 MiB; reading and proving what is not applied takes time in proportion.
  const bound = secondsMax * Math.max(1, options.unappliedBytes / (256 * KiB * KiB));
  const isQuick = Math.max(...medians) < bound;
  const isEven = spread < spreadMax;
  for (const [at, system] of systems.entries()) {
    const seconds = medians[at] ?? Number.NaN;
    say(`journal of ${system.name}: ${seconds.toFixed(2)} s, ${system.unapplied} updates to read`);
  }
  say(`slowest under ${bound.toFixed(1)} s: ${isQuick ? 'yes' : 'NO'}`);
  say(`slowest to quickest ${spread.toFixed(2)}, under ${spreadMax}: ${isEven ? 'yes' : 'NO'}`);
  if (options.json !== undefined) {
    const report = {
      formatVersion: 1,
      at: new Date().toISOString(),
      unappliedBytes: options.unappliedBytes,
      journals: systems.map(({ journalBytes, seconds }) => ({ journalBytes, seconds })),
      spread,
      isQuick,
      isEven,
    };
    writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  }
  return isQuick && isEven ? 0 : 1;
}

interface Inspected {
  readonly groups: readonly {
    /** Of the checkpoint, and of what stands in the journal. */
    readonly watermarks: { readonly applied: number; readonly newest: number };
  }[];
}

/** A system that is killed with much in its journal that no checkpoint covers. */
class Recovering {
  readonly journalBytes: number;
  readonly seconds: number[] = [];
  /** Updates behind the checkpoint when it was killed last. */
  unapplied = 0;
  readonly #daemon: Daemon;
  readonly #contents: string;
  readonly #updatesMin: number;

  private constructor(daemon: Daemon, journalBytes: number, contents: string, updates: number) {
    this.#daemon = daemon;
    this.journalBytes = journalBytes;
    this.#contents = contents;
    this.#updatesMin = updates;
  }

  static async make(directory: string, journalBytes: number, contents: string) {
    const daemon = await Daemon.start({ dataDirectory: join(directory, `of-${journalBytes}`) });
    await daemon.client('group', 'create', 'g', '--journal-size', String(journalBytes));
    const { size } = statSync(contents);
    await daemon.client('volume', 'create', 'g/v', '--size', String(size));
    return new Recovering(daemon, journalBytes, contents, size / recordBytes);
  }

  get name(): string {
    return `${this.journalBytes / GiB} GiB`;
  }

  /** Seconds from the start of the process until it is ready. */
  async crashAndRecover(): Promise<number> {
    const daemon = this.#daemon;
    // What was there before is covered by a checkpoint first.
    await sleep(checkpointSeconds * 1000);
    await runChecked(requireProgram('nbdcopy'), [
      '--flush',
      `--request-size=${recordBytes}`,
      this.#contents,
      daemon.uri('g/v'),
    ]);
    await daemon.kill();
    const { watermarks } = await this.#inspected();
    this.unapplied = watermarks.newest - watermarks.applied;
    if (this.unapplied < this.#updatesMin) {
      throw new Error(`only ${this.unapplied} of ${this.#updatesMin} updates are to be recovered`);
    }
    const started = performance.now();
    await daemon.start();
    const seconds = (performance.now() - started) / 1000;
    this.seconds.push(seconds);
    return seconds;
  }

  async #inspected(): Promise<Inspected['groups'][number]> {
    const inspect = [program, 'journal', 'inspect', this.#daemon.dataDirectory, '--json'];
    const { stdout } = await runChecked(process.execPath, inspect, { timeoutSeconds: 300 });
    const [group] = (JSON.parse(stdout) as Inspected).groups;
    if (!group) throw new Error('the journal is not there');
    return group;
  }

  async stop(): Promise<void> {
    await this.#daemon.stop();
  }
}
