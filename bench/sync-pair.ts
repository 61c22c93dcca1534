import type { Daemon } from '../test/support/daemon.ts';
import { runChecked } from '../test/support/children.ts';
import { requireProgram } from '../test/support/tools.ts';
import {
  discard,
  type FollowBench,
  groupOf,
  newestOf,
  startFollower,
  startPrimary,
  untilApplied,
  untilGroup,
  untilSynced,
  volume,
} from './follow-systems.ts';

export interface OwnPairPlan {
  readonly directory: string;
  readonly name: string;
  readonly contentsFrom: string;
  readonly sizeBytes: number;
  readonly isSynchronous: boolean;
}

const journalBytes = 1024 ** 3;

/** Two daemons of ours, one of which follows the other. */
export class OwnPair {
  readonly #bench: FollowBench;
  readonly #primary: Daemon;
  readonly #follower: Daemon;
  readonly #isSynchronous: boolean;
  /** Of the record since which hosts wait for the follower. */
  #protectedFrom = 0;

  private constructor(
    bench: FollowBench,
    primary: Daemon,
    follower: Daemon,
    isSynchronous: boolean,
  ) {
    this.#bench = bench;
    this.#primary = primary;
    this.#follower = follower;
    this.#isSynchronous = isSynchronous;
  }

  /** Resolves when the follower has all contents and, where it is synchronous, hosts wait for it. */
  static async start(plan: OwnPairPlan): Promise<OwnPair> {
    const { directory, name, sizeBytes, isSynchronous } = plan;
    const bench: FollowBench = { directory, systems: new Set() };
    try {
      const primary = await startPrimary(bench, { name, journalBytes }, sizeBytes);
      await runChecked(
        requireProgram('nbdcopy'),
        ['--flush', plan.contentsFrom, primary.uri(volume)],
        { timeoutSeconds: 1800 },
      );
      const systemPlan = { name: `${name}-follower`, journalBytes };
      const options = isSynchronous ? ['--sync'] : [];
      const follower = await startFollower(bench, systemPlan, primary, options);
      const pair = new OwnPair(bench, primary, follower, isSynchronous);
      await pair.settled();
      await pair.#untilProtected();
      return pair;
    } catch (error) {
      await discard(bench, ...bench.systems);
      throw error;
    }
  }

  get uri(): string {
    return this.#primary.uri(volume);
  }

  get output(): string {
    return this.#primary.output + this.#follower.output;
  }

  async settled(): Promise<void> {
    await untilApplied(this.#primary);
    await untilSynced(this.#follower, await newestOf(this.#primary));
  }

  async #untilProtected(): Promise<void> {
    if (!this.#isSynchronous) return;
    await untilGroup(
      this.#primary,
      'waiting for the follower',
      ({ synchronous }) => synchronous.state === 'protected',
    );
    this.#protectedFrom = (await groupOf(this.#primary)).synchronous.sinceUpdate ?? 0;
  }

  /** Hosts waited for it, and never did not. */
  async verify(): Promise<void> {
    const { synchronous } = await groupOf(this.#primary);
    const { state, sinceUpdate } = synchronous;
    if (!this.#isSynchronous) {
      if (state !== 'none') throw new Error(`replies are ${state}`);
      return;
    }
    if (state !== 'protected' || sinceUpdate !== this.#protectedFrom) {
      throw new Error(`the follower was lost meanwhile: ${JSON.stringify(synchronous)}`);
    }
  }

  async stop(): Promise<void> {
    await discard(this.#bench, ...this.#bench.systems);
  }
}
