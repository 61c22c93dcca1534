import type { Clock, Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { CutDefinition, CutMarkerId, TargetList } from '../protocol/wire-cuts.ts';
import type { Caller } from '../protocol/wire.ts';
import type { CutPeers } from './cut-peers.ts';
import { isAtLeast } from './marker-order.ts';
import { patienceMilliseconds } from './patience.ts';
import { nextStep, placesBehind, type ToldTarget } from './target-choice.ts';
import type { TargetSide } from './target-side.ts';

export interface TargetControllerDependencies {
  readonly clock: Clock;
  readonly peers: CutPeers;
  readonly caller: Caller;
}

const askMilliseconds = 2000;
const stepMillisecondsMin = 250;
const stepMillisecondsMax = 1000;

/**
 * Brings the secondaries of a target list from marker to marker, or waits until it is its turn to. Two that do
 * so at once do no harm: targets only rise, and each is durable everywhere before it is applied anywhere.
 */
export class TargetController {
  readonly #definition: CutDefinition;
  readonly #list: TargetList;
  readonly #own: TargetSide;
  readonly #deps: TargetControllerDependencies;
  readonly #place: number;
  #timer: Timer | undefined;
  #isClosed = false;
  #isControlling = false;
  #startedAt: number;
  /** As they were last. */
  #behind: readonly number[] = [];
  /** Why the list does not go on, or empty. */
  #trouble = '';
  #troubleSince: number | undefined;

  constructor(
    definition: CutDefinition,
    list: TargetList,
    own: TargetSide,
    deps: TargetControllerDependencies,
  ) {
    this.#definition = definition;
    this.#list = list;
    this.#own = own;
    this.#deps = deps;
    this.#place = list.places.findIndex(({ systemId }) => systemId === deps.caller.systemId);
    this.#startedAt = deps.clock.monotonicMilliseconds();
  }

  get list(): string {
    return this.#list.name;
  }

  get isControlling(): boolean {
    return this.#isControlling;
  }

  /** Since when (monotonic) the list waits, and why; undefined: it goes on, or another system sees to it. */
  get trouble(): { readonly text: string; readonly since: number } | undefined {
    const since = this.#troubleSince;
    return since === undefined ? undefined : { text: this.#trouble, since };
  }

  start(isNew: boolean): void {
    if (isNew && this.#place === 0) this.#startedAt = Number.NEGATIVE_INFINITY;
    this.#schedule(0);
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #schedule(milliseconds: number): void {
    if (this.#isClosed) return;
    this.#timer = this.#deps.clock.after(Math.max(0, milliseconds), () => {
      this.#timer = undefined;
      void this.#turn();
    });
  }

  async #turn(): Promise<void> {
    const now = this.#deps.clock.monotonicMilliseconds();
    const { intervalMilliseconds } = this.#definition;
    // Of two, the one that stands further in front goes on.
    const before = this.#isControlling ? this.#place : this.#list.places.length;
    const heardAt = Math.max(this.#own.heardAt(this.list, before), this.#startedAt);
    const isTurn = now - heardAt >= patienceMilliseconds(intervalMilliseconds, this.#place);
    // Who is no secondary any more leaves it to the others.
    this.#isControlling = isTurn && this.#own.isSecondary(this.list);
    if (this.#isControlling) this.#note(await this.#bring());
    else this.#note('');
    const pace = intervalMilliseconds ?? stepMillisecondsMax;
    this.#schedule(Math.min(Math.max(pace, stepMillisecondsMin), stepMillisecondsMax));
  }

  #note(trouble: string): void {
    this.#trouble = trouble;
    if (trouble === '') this.#troubleSince = undefined;
    else this.#troubleSince ??= this.#deps.clock.monotonicMilliseconds();
  }

  /** As far as it goes now. What is in the way, or empty. */
  async #bring(): Promise<string> {
    const { places } = this.#list;
    const { cutId } = this.#definition;
    const { peers } = this.#deps;
    try {
      const told = await Promise.all(
        places.map((place, at): Promise<ToldTarget> => {
          const { groupId } = place;
          const needsMore = this.#behind.includes(at);
          const ask = { list: this.list, groupId, isControlling: true, needsMore };
          return peers.askPlace(place, cutId, 'targets', ask, askMilliseconds);
        }),
      );
      this.#behind = placesBehind(told);
      const step = nextStep(told);
      if (step.kind === 'prepare') {
        await this.#carryOut('prepare', step.marker, step.places);
        // All have it durably now.
        const unreleased = told.flatMap(({ released }, at) =>
          isAtLeast(released, step.marker) ? [] : [at],
        );
        await this.#carryOut('apply', step.marker, unreleased);
      } else if (step.kind === 'apply') {
        await this.#carryOut('apply', step.marker, step.places);
      }
      return step.kind === 'wait' ? step.text : '';
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      return error.message;
    }
  }

  async #carryOut(
    what: 'prepare' | 'apply',
    { epoch, sequence }: CutMarkerId,
    wanted: readonly number[],
  ): Promise<void> {
    const { peers } = this.#deps;
    const { cutId } = this.#definition;
    if (this.#isClosed) return;
    await Promise.all(
      this.#list.places
        .filter((_, at) => wanted.includes(at))
        .map((place) => {
          const ask = { list: this.list, groupId: place.groupId, epoch, sequence };
          return peers.askPlace(place, cutId, what, ask, askMilliseconds);
        }),
    );
  }
}
