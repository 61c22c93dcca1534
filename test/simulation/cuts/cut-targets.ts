import { must } from '../../../src/platform/assert.ts';
import { isAbove } from '../../../src/journal/cut-record.ts';
import type { ReceivedMarker } from '../../../src/replicator/cuts/cut-member.ts';
import type { FaultCounter } from '../faults.ts';
import type { SimulatedClock } from '../simulated-clock.ts';
import { cutId } from './cut-controller.ts';
import type { CutMessages } from './cut-messages.ts';
import type { CutNode, Target } from './cut-system.ts';

const intervalMilliseconds = 30;

/** The markers that stand everywhere and are committed somewhere, as each says; the newest one last. */
export function selectable(lists: readonly (readonly ReceivedMarker[])[]): readonly Target[] {
  const [first = [], ...others] = lists;
  const targets: Target[] = [];
  for (const marker of first) {
    const all = [marker, ...others.map((list) => list.find((other) => isSame(other, marker)))];
    if (all.some((found) => found === undefined)) continue;
    if (!all.some((found) => found?.isCommitted)) continue;
    const numbers = all.map((found) => Number(found?.number));
    targets.push({ epoch: marker.epoch, sequence: marker.sequence, numbers });
  }
  return targets;
}

function isSame(a: ReceivedMarker, b: ReceivedMarker): boolean {
  return a.epoch === b.epoch && a.sequence === b.sequence;
}

/** Who lets the secondaries of a target list apply, marker by marker, and may be replaced at any time. */
export class CutTargets {
  readonly #clock: SimulatedClock;
  readonly #counter: FaultCounter;
  readonly #messages: CutMessages;
  readonly #secondaries: readonly CutNode[];
  readonly #selected: (target: Target) => void;
  #life = 0;

  constructor(parts: {
    readonly clock: SimulatedClock;
    readonly counter: FaultCounter;
    readonly messages: CutMessages;
    readonly secondaries: readonly CutNode[];
    /** A target that somebody may apply up to, from now on. */
    readonly selected: (target: Target) => void;
  }) {
    this.#clock = parts.clock;
    this.#counter = parts.counter;
    this.#messages = parts.messages;
    this.#secondaries = parts.secondaries;
    this.#selected = parts.selected;
    void this.#run(this.#life);
  }

  /** Another one goes on, from what the secondaries have; this one does nothing more. */
  replace(): void {
    this.#life += 1;
    void this.#run(this.#life);
  }

  stop(): void {
    this.#life += 1;
  }

  async #run(life: number): Promise<void> {
    while (life === this.#life) {
      await new Promise<void>((resolve) => this.#clock.after(intervalMilliseconds, resolve));
      try {
        await this.#advance(() => {
          if (life !== this.#life) throw new Error('another one goes on');
        });
      } catch {
        this.#counter.count('target not moved');
      }
    }
  }

  async #advance(live: () => void): Promise<void> {
    const known = await this.#askAll((node) => ({
      next: node.promises.next,
      markers: must(node.member, 'a group').markers(cutId),
    }));
    live();
    // What somebody may apply towards already comes before anything newer.
    const begun = newestOf(known.map(({ next }) => next));
    const isHalf = begun && !known.every(({ next }) => next && !isAboveTarget(begun, next));
    const found = newestOf(selectable(known.map(({ markers }) => markers)));
    const target = isHalf ? begun : newestOf([begun, found]);
    if (!target) return;
    if (isHalf) this.#counter.count('target rolled forward');
    await this.#askAll((node) => {
      const { next } = node.promises;
      if (!next || isAboveTarget(target, next)) node.promises.next = target;
    });
    live();
    this.#selected(target);
    await this.#askAll((node) => {
      const number = target.numbers[this.#secondaries.indexOf(node)] ?? 0;
      if (number <= (node.promises.through ?? 0)) {
        // Perhaps it was started again.
        must(node.member, 'a group').holdApplyAt(BigInt(node.promises.through ?? 0));
        return;
      }
      node.promises.through = number;
      must(node.member, 'a group').holdApplyAt(BigInt(number));
      this.#counter.count('target moved');
    });
  }

  async #askAll<T>(ask: (node: CutNode) => T): Promise<readonly T[]> {
    const answers = this.#secondaries.map((node) => this.#messages.ask(node, () => ask(node)));
    for (const answer of answers) answer.catch(() => undefined);
    return Promise.all(answers);
  }
}

function isAboveTarget(a: Target, b: Target): boolean {
  return isAbove({ cutId, ...a }, { cutId, ...b });
}

export function newestOf(targets: readonly (Target | undefined)[]): Target | undefined {
  let newest: Target | undefined;
  for (const target of targets) {
    if (target && (!newest || isAboveTarget(target, newest))) newest = target;
  }
  return newest;
}
