import { must } from '../../../src/platform/assert.ts';
import type { MarkerId } from '../../../src/replicator/cuts/cut-member.ts';
import type { FaultCounter } from '../faults.ts';
import type { SimulatedClock } from '../simulated-clock.ts';
import type { CutMessages } from './cut-messages.ts';
import type { CutNode } from './cut-system.ts';

export const cutId = 'c5'.repeat(16);
export const roundLimitMilliseconds = 50;

/** It died, or its epoch is not the newest any more. */
class ControllerGone extends Error {}

/** Who has markers made: by the order of messages that the design prescribes, and nothing else. */
export class CutController {
  readonly #clock: SimulatedClock;
  readonly #counter: FaultCounter;
  readonly #messages: CutMessages;
  readonly #members: readonly CutNode[];
  readonly #intervalMilliseconds: number;
  readonly #committed: (id: MarkerId, numbers: readonly number[]) => void;
  #epoch = 0n;
  #sequence = 0n;
  #isAlive = true;
  isRunning = true;

  constructor(parts: {
    readonly clock: SimulatedClock;
    readonly counter: FaultCounter;
    readonly messages: CutMessages;
    readonly members: readonly CutNode[];
    readonly intervalMilliseconds: number;
    /** All members said that they held: from now on whoever finds a commit may select it. */
    readonly committed: (id: MarkerId, numbers: readonly number[]) => void;
  }) {
    this.#clock = parts.clock;
    this.#counter = parts.counter;
    this.#messages = parts.messages;
    this.#members = parts.members;
    this.#intervalMilliseconds = parts.intervalMilliseconds;
    this.#committed = parts.committed;
    void this.#run();
  }

  /** In the middle of whatever it does. */
  die(): void {
    this.#isAlive = false;
  }

  async #run(): Promise<void> {
    try {
      await this.#claim();
      for (;;) {
        await this.#round();
        await this.#wait(this.#intervalMilliseconds);
      }
    } catch (error) {
      if (!(error instanceof ControllerGone)) this.#counter.count('controller refused');
    }
    this.isRunning = false;
  }

  async #wait(milliseconds: number): Promise<void> {
    await new Promise<void>((resolve) => this.#clock.after(milliseconds, resolve));
    this.#live();
  }

  #live(): void {
    if (!this.#isAlive) throw new ControllerGone();
  }

  /** All answers, in order; rejects with the first refusal. A controller that died hears none. */
  async #askAll<T>(ask: (node: CutNode) => T | Promise<T>): Promise<readonly T[]> {
    const answers = this.#members.map((node) => this.#messages.ask(node, () => ask(node)));
    for (const answer of answers) answer.catch(() => undefined);
    try {
      return await Promise.all(answers);
    } finally {
      this.#live();
    }
  }

  async #claim(): Promise<void> {
    for (;;) {
      try {
        const promised = await this.#askAll(({ promises }) => promises.epoch);
        const epoch = promised.reduce((a, b) => (a > b ? a : b), 0n) + 1n;
        await this.#askAll((node) => claim(node, epoch));
        this.#epoch = epoch;
        this.#sequence = 0n;
        return;
      } catch (error) {
        if (error instanceof ControllerGone) throw error;
        await this.#wait(5);
      }
    }
  }

  async #round(): Promise<void> {
    this.#sequence += 1n;
    const id: MarkerId = { cutId, epoch: this.#epoch, sequence: this.#sequence };
    const marker = { ...id, wallTimeMilliseconds: this.#clock.wallMilliseconds(), name: '' };
    try {
      const numbers = await this.#askAll((node) => {
        checkEpoch(node, id);
        return memberOf(node).mark(marker, roundLimitMilliseconds);
      });
      const answers = await this.#askAll((node) => memberOf(node).told(id));
      if (!answers.every(Boolean)) throw new Error('somebody did not hold');
      this.#committed(id, numbers.map(Number));
      this.#counter.count('round committed');
    } catch (error) {
      if (error instanceof ControllerGone) throw error;
      this.#counter.count('round aborted');
      await this.#askAll((node) => memberOf(node).release(id)).catch(this.#passOver);
      // Somebody else may have claimed, or a member was started again.
      if (isStale(error)) await this.#claim();
      return;
    }
    await this.#askAll((node) => memberOf(node).commit(id)).catch(this.#passOver);
  }

  readonly #passOver = (error: unknown): void => {
    if (error instanceof ControllerGone) throw error;
  };
}

function memberOf(node: CutNode) {
  return must(node.member, `${node.name} has its group`);
}

class StaleEpoch extends Error {}

function claim(node: CutNode, epoch: bigint): void {
  const { promises } = node;
  if (epoch < promises.epoch || (epoch === promises.epoch && node.claimed !== epoch))
    throw new StaleEpoch();
  promises.epoch = epoch;
  node.claimed = epoch;
}

function checkEpoch(node: CutNode, { epoch }: MarkerId): void {
  if (node.claimed !== epoch || node.promises.epoch !== epoch) throw new StaleEpoch();
}

function isStale(error: unknown): boolean {
  if (error instanceof StaleEpoch) return true;
  return error instanceof Error && Reflect.get(error, 'code') === 'cut_epoch_stale';
}
