import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { journalCapacityBytesDefault } from '../src/platform/limits.ts';
import { runChecked } from '../test/support/children.ts';
import type { Daemon } from '../test/support/daemon.ts';
import { type NbdServer, peer } from '../test/support/peers.ts';
import { requireProgram } from '../test/support/tools.ts';
import { discard, type FollowBench, startPrimary, untilApplied, volume } from './follow-systems.ts';

/** What looks after the past of a volume while a host writes to it, ours or another's. */
export interface HistoryContestant {
  readonly uri: string;
  readonly output: string;
  /** What holds the old contents. */
  readonly file: string;
  /** From now on everything is to be kept as it is at this moment, and nothing older. */
  begin(): Promise<void>;
  /** Waits until all that was written is where it stays. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

export interface HistoryPlan {
  readonly directory: string;
  readonly name: string;
  /** What the volume begins with. */
  readonly contentsFrom: string;
  readonly sizeBytes: number;
}

export interface OwnHistoryPlan extends HistoryPlan {
  /** How many snapshots there are from `begin` on. */
  readonly snapshots: number;
  /** What `group configure` is told before anything is written. */
  readonly settings: readonly string[];
}

/** Written between two snapshots, so that each has something of its own. */
const betweenSeconds = 0.2;

/** A daemon of ours with one volume. */
export class OwnHistory implements HistoryContestant {
  readonly file: string;
  readonly #bench: FollowBench;
  readonly #daemon: Daemon;
  readonly #snapshots: number;
  readonly #write: (uri: string, seconds: number) => Promise<unknown>;
  #made: string[] = [];
  #last = 0;

  private constructor(
    file: string,
    bench: FollowBench,
    daemon: Daemon,
    snapshots: number,
    write: (uri: string, seconds: number) => Promise<unknown>,
  ) {
    this.file = file;
    this.#bench = bench;
    this.#daemon = daemon;
    this.#snapshots = snapshots;
    this.#write = write;
  }

  /** `write` puts a load on an export for some seconds. */
  static async start(
    plan: OwnHistoryPlan,
    write: (uri: string, seconds: number) => Promise<unknown>,
  ): Promise<OwnHistory> {
    const { directory, name, contentsFrom, sizeBytes, snapshots, settings } = plan;
    const bench: FollowBench = { directory, systems: new Set() };
    const daemon = await startPrimary(
      bench,
      { name, journalBytes: journalCapacityBytesDefault },
      sizeBytes,
    );
    if (settings.length > 0) await daemon.client('group', 'configure', 'bench', ...settings);
    const copy = ['--flush', contentsFrom, daemon.uri(volume)];
    await runChecked(requireProgram('nbdcopy'), copy, { timeoutSeconds: 1800 });
    const file = await daemon.volumeFile(volume);
    return new OwnHistory(file, bench, daemon, snapshots, write);
  }

  get uri(): string {
    return this.#daemon.uri(volume);
  }

  get output(): string {
    return this.#daemon.output;
  }

  async begin(): Promise<void> {
    for (const name of this.#made) await this.#snapshot('delete', name);
    this.#made = [];
    for (let made = 0; made < this.#snapshots; made += 1) {
      if (made > 0) await this.#write(this.uri, betweenSeconds);
      this.#last += 1;
      const name = `s${this.#last}`;
      await this.#snapshot('create', name);
      this.#made.push(name);
    }
  }

  settled(): Promise<void> {
    return untilApplied(this.#daemon);
  }

  async stop(): Promise<void> {
    await discard(this.#bench, ...this.#bench.systems);
  }

  #snapshot(what: 'create' | 'delete', name: string): Promise<unknown> {
    return this.#daemon.client('snapshot', what, `bench@${name}`);
  }
}

/**
 * qemu-nbd on a qcow2 overlay over a raw file, which is how its users keep a volume as it was. A cluster is
 * copied when the first of it is written: 64 KiB of them, or, with `hasSubclusters`, 4 KiB of 128.
 */
export class Overlay implements HistoryContestant {
  readonly file: string;
  readonly #overlay: string;
  readonly #hasSubclusters: boolean;
  #server: NbdServer | undefined;

  constructor(plan: HistoryPlan, base: string, hasSubclusters: boolean) {
    this.file = base;
    this.#overlay = join(plan.directory, `${plan.name}.qcow2`);
    this.#hasSubclusters = hasSubclusters;
  }

  get uri(): string {
    return this.#server?.uri() ?? '';
  }

  get output(): string {
    return this.#server?.output ?? '';
  }

  async begin(): Promise<void> {
    await this.stop();
    const options = this.#hasSubclusters ? ['-o', 'extended_l2=on,cluster_size=128k'] : [];
    const create = ['create', '-q', '-f', 'qcow2', ...options, '-b', this.file, '-F', 'raw'];
    await runChecked(requireProgram('qemu-img'), [...create, this.#overlay]);
    const server = await peer('qemu-nbd', { file: this.#overlay, format: 'qcow2' });
    await server.start();
    this.#server = server;
  }

  /** All that was written is in its file; that is all that it has. */
  settled(): Promise<void> {
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    await this.#server?.stop();
    this.#server = undefined;
    rmSync(this.#overlay, { force: true });
  }
}
