import { renameSync } from 'node:fs';
import { FuzzRandom } from '../fuzz/fuzz-random.ts';
import { sleep } from '../support/children.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { BlockLedger } from './block-ledger.ts';
import { BlockLoad } from './block-load.ts';
import { SyncPair, untilProtected, wholeVolume } from './sync-pair.ts';

/**
 * `primary`: it is killed, and the follower promoted. `restarted`: it is killed and comes back as it was.
 * `follower`: that is killed and comes back. `both`: both are killed, and the follower alone comes back and is
 * promoted. `paused`: the primary stands still for longer than anybody waits, the follower is promoted, and
 * the old primary goes on. `silent`: the follower stands still, and the primary is killed in the end.
 */
export const ends = ['primary', 'restarted', 'follower', 'both', 'paused', 'silent'] as const;
export type End = (typeof ends)[number];

export interface SyncRunOptions {
  readonly kills: number;
  readonly seed: number;
  readonly keepFailed?: boolean;
  readonly log?: (text: string) => void;
}

export interface SyncRunReport {
  kills: number;
  readonly ends: Record<End, number>;
  acknowledged: number;
  read: number;
  promotions: number;
}

const blocks = 1024;
const settings = { onLoss: 'stall', timeoutMilliseconds: 1000, blocks } as const;
const lifeMillisecondsMax = 700;

/**
 * A primary whose hosts wait for its follower, always: one of both, or both, are killed again and again. What
 * hosts were told is durable, or were shown, is on the follower that is promoted.
 */
export class SyncRun {
  readonly #options: SyncRunOptions;
  readonly #random: FuzzRandom;
  readonly #ledger = new BlockLedger(blocks);
  failedDirectory: string | undefined;
  readonly report: SyncRunReport = {
    kills: 0,
    ends: { primary: 0, restarted: 0, follower: 0, both: 0, paused: 0, silent: 0 },
    acknowledged: 0,
    read: 0,
    promotions: 0,
  };

  constructor(options: SyncRunOptions) {
    this.#options = options;
    this.#random = new FuzzRandom(options.seed);
  }

  /** Throws what is wrong. */
  async run(): Promise<SyncRunReport> {
    const directory = temporaryDirectory('sync');
    const pair = await SyncPair.create(directory.path, settings);
    try {
      const { kills } = this.#options;
      while (this.report.kills < kills) {
        // Every end comes before any comes again.
        const end = ends[this.report.kills % ends.length] ?? 'primary';
        const began = performance.now();
        await this.#live(pair, end);
        this.report.kills += 1;
        this.report.ends[end] += 1;
        this.report.acknowledged = this.#ledger.acknowledged;
        this.report.read = this.#ledger.read;
        const seconds = ((performance.now() - began) / 1000).toFixed(1);
        this.#options.log?.(
          `kill ${this.report.kills} ${end}: ${this.report.acknowledged} acknowledged, ${seconds} s`,
        );
      }
      return this.report;
    } catch (error) {
      this.failedDirectory = `${directory.path}-failed`;
      this.#options.log?.(pair.primary.output.slice(-3000));
      this.#options.log?.(pair.follower.output.slice(-3000));
      await pair.close();
      if (this.#options.keepFailed) renameSync(directory.path, this.failedDirectory);
      throw error;
    } finally {
      await pair.close();
      directory.remove();
    }
  }

  async #live(pair: SyncPair, end: End): Promise<void> {
    const random = this.#random;
    const uri = pair.primary.uri('g/v');
    const load = await BlockLoad.begin(this.#ledger, random, uri, random.pick([1, 4, 16, 32]));
    await sleep(random.below(lifeMillisecondsMax));
    switch (end) {
      case 'primary':
        await this.#lose(pair, load);
        await this.#takeOver(pair, end);
        break;
      case 'restarted':
        await this.#lose(pair, load);
        await pair.primary.start();
        await this.#check(pair, end);
        await untilProtected(pair.primary);
        break;
      case 'follower':
        await pair.follower.kill();
        await sleep(random.below(2 * settings.timeoutMilliseconds));
        await pair.follower.start();
        await untilProtected(pair.primary);
        await sleep(random.below(lifeMillisecondsMax));
        // What was acknowledged before and after is there when the primary is lost now.
        await this.#lose(pair, load);
        await this.#takeOver(pair, end);
        break;
      case 'both':
        await Promise.all([
          sleep(random.below(20)).then(() => pair.primary.kill()),
          sleep(random.below(20)).then(() => pair.follower.kill()),
        ]);
        await this.#lose(pair, load);
        await pair.follower.start();
        await this.#takeOver(pair, end);
        break;
      case 'paused':
        await this.#pause(pair, load);
        break;
      case 'silent':
        process.kill(pair.follower.pid, 'SIGSTOP');
        await sleep(random.below(2 * settings.timeoutMilliseconds));
        await this.#lose(pair, load);
        process.kill(pair.follower.pid, 'SIGCONT');
        await this.#takeOver(pair, end);
    }
  }

  /** The old primary may answer what the follower has, and nothing else, however late. */
  async #pause(pair: SyncPair, load: BlockLoad): Promise<void> {
    process.kill(pair.primary.pid, 'SIGSTOP');
    await sleep(settings.timeoutMilliseconds + this.#random.below(1000));
    await pair.promote();
    this.report.promotions += 1;
    process.kill(pair.follower.pid, 'SIGCONT');
    await sleep(this.#random.below(2 * settings.timeoutMilliseconds));
    await pair.follower.kill();
    await load.end();
    await this.#check(pair, 'paused', load);
    await pair.rejoin();
    await pair.configure(settings);
  }

  async #lose(pair: SyncPair, load: BlockLoad): Promise<void> {
    await pair.primary.kill();
    await load.end();
    if (load.findings.length > 0) throw new Error(load.findings.slice(0, 10).join('\n'));
  }

  async #takeOver(pair: SyncPair, end: End): Promise<void> {
    await pair.promote();
    this.report.promotions += 1;
    await this.#check(pair, end);
    await pair.rejoin();
    await pair.configure(settings);
  }

  async #check(pair: SyncPair, end: End, load?: BlockLoad): Promise<void> {
    const missing = this.#ledger.missing(await wholeVolume(pair.primary, blocks));
    const findings = [...(load?.findings ?? []), ...missing.map(({ text }) => text)];
    if (findings.length === 0) return;
    const shown = findings.slice(0, 10).map((text) => `\n  ${text}`);
    throw new Error(
      `${end}: ${findings.length} blocks are not as they have to be${shown.join('')}`,
    );
  }
}
