import type { Clock, Timer } from '../../platform/clock.ts';
import { assert } from '../../platform/assert.ts';
import { JnbdError } from '../../platform/errors.ts';
import type {
  CutAsk,
  CutDefinition,
  CutExchange,
  CutPlace,
  CutTold,
  RoundCounts,
} from '../protocol/wire-cuts.ts';
import type { Caller } from '../protocol/wire.ts';
import { ControllerRound, type RoundPhase } from './controller-round.ts';
import type { CutPeers } from './cut-peers.ts';
import type { MemberSide } from './member-side.ts';
import { patienceMilliseconds } from './patience.ts';

/** `watching`: another member controls the cut, or is to. */
export type ControllerState = 'watching' | 'controlling' | 'closed';

export const controllerTransitions: Record<ControllerState, readonly ControllerState[]> = {
  watching: ['controlling', 'closed'],
  controlling: ['watching', 'closed'],
  closed: [],
};

export interface MarkerControllerDependencies {
  readonly clock: Clock;
  readonly peers: CutPeers;
  readonly caller: Caller;
  readonly event: (code: string, message: string) => void;
}

export type MadeMarker = Omit<CutAsk<'mark'>, 'groupId'>;

type RoundOutcome =
  | { readonly kind: 'committed'; readonly marker: MadeMarker }
  | { readonly kind: 'aborted'; readonly reason: string };

const surveyMilliseconds = 2000;
const durableMilliseconds = 2000;
const commitMilliseconds = 2000;
const prepareMilliseconds = 5000;
/**
 * Members that were asked nothing for longer are asked for a survey before each round: it wakes up all that a
 * round goes through while no host waits for it, and one that is gone is found before the others hold.
 */
const warmMilliseconds = 100;
/** Somebody is not there: looked at again after so long, if markers come more often. */
const againMillisecondsMin = 500;

/**
 * Makes the markers of one cut, or waits until it is its turn to. Nothing of it is kept over a restart: epochs
 * are what members promised, and whoever begins claims a new one.
 */
export class MarkerController {
  readonly #definition: CutDefinition;
  readonly #deps: MarkerControllerDependencies;
  readonly #own: MemberSide;
  #state: ControllerState = 'watching';
  #epoch = 0n;
  #sequence = 0n;
  /** All members promised the epoch, and the last round went through. */
  #isReady = false;
  /** When the last round was over. */
  #roundAt = Number.NEGATIVE_INFINITY;
  /** Nobody can have begun before. */
  #isFirst = false;
  /** Rounds come one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  #timer: Timer | undefined;
  #committed = 0;
  #aborted = 0;
  #lastAbort: RoundCounts['lastAbort'] = null;

  constructor(definition: CutDefinition, own: MemberSide, deps: MarkerControllerDependencies) {
    this.#definition = definition;
    this.#own = own;
    this.#deps = deps;
  }

  /** `isNew`: the cut was made now, so the first member need not wait whether somebody else controls it. */
  start(isNew: boolean): void {
    if (this.#definition.intervalMilliseconds === null) return;
    this.#isFirst = isNew && this.#place === 0;
    this.#schedule(this.#isFirst ? 0 : this.#patience);
  }

  get isControlling(): boolean {
    return this.#state === 'controlling';
  }

  get rounds(): RoundCounts {
    return { committed: this.#committed, aborted: this.#aborted, lastAbort: this.#lastAbort };
  }

  /** One marker now, as the controller from now on. Rejects with cut_aborted. */
  async mark(name: string, snapshot?: string): Promise<MadeMarker> {
    const wasControlling = this.isControlling;
    const outcome = await this.#round(name, snapshot);
    // It waits for another one to fall silent, and there is none any more.
    const hasBegun = this.isControlling && !wasControlling;
    if (hasBegun && this.#timer) this.#schedule(this.#pauseBehind(outcome));
    if (outcome.kind === 'committed') return outcome.marker;
    throw new JnbdError(
      'cut_aborted',
      `no marker was made in cut ${this.#definition.name}: ${outcome.reason}`,
    );
  }

  close(): void {
    this.#timer?.cancel();
    this.#become('closed');
  }

  #schedule(milliseconds: number): void {
    this.#timer?.cancel();
    if (this.#state === 'closed') return;
    this.#timer = this.#deps.clock.after(Math.max(0, milliseconds), () => {
      this.#timer = undefined;
      void this.#turn();
    });
  }

  async #turn(): Promise<void> {
    const { clock } = this.#deps;
    const began = clock.monotonicMilliseconds();
    const wait = this.#isFirst ? 0 : this.#own.heardAt + this.#patience - began;
    this.#isFirst = false;
    if (this.#state === 'watching' && wait > 0) {
      this.#schedule(wait);
      return;
    }
    const outcome = await this.#round('');
    const next = this.#state === 'watching' ? this.#patience : this.#pauseBehind(outcome);
    this.#schedule(began + next - clock.monotonicMilliseconds());
  }

  /** Until the next round of a controller. */
  #pauseBehind({ kind }: RoundOutcome): number {
    const interval = this.#definition.intervalMilliseconds ?? againMillisecondsMin;
    return kind === 'committed' ? interval : Math.max(interval, againMillisecondsMin);
  }

  #round(name: string, snapshot?: string): Promise<RoundOutcome> {
    const round = this.#last.then(() => this.#attempt(name, snapshot));
    this.#last = round;
    return round;
  }

  async #attempt(name: string, snapshot: string | undefined): Promise<RoundOutcome> {
    const { clock } = this.#deps;
    const isWarm = clock.monotonicMilliseconds() - this.#roundAt < warmMilliseconds;
    const isClaimed = this.#isReady && isWarm;
    const survey = isClaimed ? undefined : await this.#survey();
    if (this.#state === 'closed') return { kind: 'aborted', reason: 'the system is being stopped' };
    if (survey?.kind === 'refused') return this.#abortedBefore(survey.reason);
    const { members, name: cut } = this.#definition;
    const round = new ControllerRound(members.length, isClaimed || survey?.kind === 'claimed');
    if (survey?.kind === 'unclaimed') {
      this.#epoch = survey.epoch;
      this.#sequence = 0n;
    }
    if (isIn(round, 'claiming')) {
      await this.#phase(round, 'claim', { epoch: this.#epoch }, surveyMilliseconds);
    }
    if (isIn(round, 'marking') && this.#state === 'watching') {
      this.#become('controlling');
      this.#deps.event('cut_controlled', `this system makes the markers of cut ${cut}`);
    }
    if (isIn(round, 'marking') && snapshot !== undefined) {
      const refusal = await this.#prepareSnapshot(snapshot);
      if (refusal !== undefined) return this.#abortedBefore(refusal);
    }
    const marker = this.#newMarker(name, snapshot);
    if (isIn(round, 'marking')) await this.#marking(round, marker);
    this.#roundAt = clock.monotonicMilliseconds();
    this.#isReady = isIn(round, 'done');
    if (this.#isReady) {
      this.#committed += 1;
      return { kind: 'committed', marker };
    }
    return this.#abortedRound(round.reason);
  }

  async #marking(round: ControllerRound, marker: MadeMarker): Promise<void> {
    const { roundLimitMilliseconds } = this.#definition;
    const { epoch, sequence } = marker;
    const id = { epoch, sequence };
    await this.#phase(round, 'mark', marker, roundLimitMilliseconds);
    // From here on all have it: whoever still holds lets go, and says whether it did so before, once its own is durable.
    if (isIn(round, 'telling')) await this.#phase(round, 'told', id, durableMilliseconds);
    if (isIn(round, 'aborted')) this.#release(marker);
    if (isIn(round, 'committing')) await this.#phase(round, 'commit', id, commitMilliseconds);
  }

  /**
   * Asks all members, and resolves once the round is in another phase. Those of this system take the marker once
   * all others have it: theirs is then the last one, and what stands behind it is held for no way there and back.
   */
  #phase<Name extends 'claim' | 'mark' | 'told' | 'commit'>(
    round: ControllerRound,
    what: Name,
    ask: Omit<CutAsk<Name>, 'groupId'>,
    milliseconds: number,
  ): Promise<void> {
    const { phase } = round;
    const { systemId } = this.#deps.caller;
    const members = this.#definition.members.map((member, at) => ({ member, at }));
    const isLast = ({ member }: { readonly member: CutPlace }): boolean =>
      what === 'mark' && member.systemId === systemId;
    return new Promise((resolve) => {
      const askAll = (asked: typeof members): Promise<unknown> =>
        Promise.all(
          asked.map(async ({ member, at }) => {
            const refusal = await this.#ask(member, what, ask, milliseconds).then(
              (told) => refusalIn(what, told, member),
              refusalOf,
            );
            round.answered(phase, at, refusal);
            if (round.phase !== phase) resolve();
          }),
        );
      void askAll(members.filter((each) => !isLast(each))).then(() => {
        if (round.phase === phase) void askAll(members.filter(isLast));
      });
    });
  }

  /** A courtesy: each lets go by itself. */
  #release({ epoch, sequence }: MadeMarker): void {
    const { roundLimitMilliseconds } = this.#definition;
    for (const member of this.#definition.members) {
      void this.#ask(member, 'release', { epoch, sequence }, roundLimitMilliseconds).catch(
        refusalOf,
      );
    }
  }

  /**
   * Whether all are there, as primaries, and which epoch they promised. With one that is not there no host is
   * held for a round that cannot succeed.
   */
  async #survey(): Promise<
    | { readonly kind: 'refused'; readonly reason: string }
    | { readonly kind: 'claimed' }
    | { readonly kind: 'unclaimed'; readonly epoch: bigint }
  > {
    const surveys = await Promise.all(
      this.#definition.members.map(async (member) => {
        try {
          const ask = { isControlling: true };
          const told = await this.#ask(member, 'survey', ask, surveyMilliseconds);
          return { member, told, refusal: obstacleOf(told, member) };
        } catch (error) {
          return { member, told: undefined, refusal: refusalOf(error) };
        }
      }),
    );
    const refusals = surveys.flatMap(({ refusal }) => refusal ?? []);
    if (refusals.length > 0) return { kind: 'refused', reason: refusals.join('; ') };
    let highest = 0n;
    let controller = '';
    let isClaimed = this.#state === 'controlling';
    for (const { told } of surveys) {
      if (!told) continue;
      if (told.promised > highest) {
        highest = told.promised;
        controller = told.controller;
      }
      isClaimed &&= told.claimed === this.#epoch;
    }
    if (isClaimed) return { kind: 'claimed' };
    if (this.#state === 'controlling' && highest > this.#epoch) {
      // Whoever claimed it goes on; if nobody does, it is taken over again after a while.
      this.#become('watching');
      this.#own.heard();
      return { kind: 'refused', reason: `system ${controller} controls the cut now` };
    }
    return { kind: 'unclaimed', epoch: highest + 1n };
  }

  /** Files take their time: no host waits for them. What was made ready of one that is not made goes by itself. */
  async #prepareSnapshot(snapshot: string): Promise<string | undefined> {
    const refusals = await Promise.all(
      this.#definition.members.map((member) =>
        this.#ask(member, 'prepare-snapshot', { snapshot }, prepareMilliseconds).then(
          () => undefined,
          refusalOf,
        ),
      ),
    );
    return refusals.find((refusal) => refusal !== undefined);
  }

  #newMarker(name: string, snapshot: string | undefined): MadeMarker {
    this.#sequence += 1n;
    const wallTimeMilliseconds = this.#deps.clock.wallMilliseconds();
    const marker = { epoch: this.#epoch, sequence: this.#sequence, wallTimeMilliseconds, name };
    return snapshot === undefined ? marker : { ...marker, snapshot };
  }

  #abortedRound(reason: string): RoundOutcome {
    this.#aborted += 1;
    return this.#abortedBefore(reason);
  }

  /** No member was asked for a marker. */
  #abortedBefore(reason: string): RoundOutcome {
    this.#lastAbort = { reason, atMilliseconds: this.#deps.clock.wallMilliseconds() };
    return { kind: 'aborted', reason };
  }

  #ask<Name extends CutExchange>(
    member: CutPlace,
    what: Name,
    ask: Omit<CutAsk<Name>, 'groupId'>,
    milliseconds: number,
  ): Promise<CutTold<Name>> {
    const { groupId } = member;
    const all = { ...ask, groupId } as unknown as CutAsk<Name>;
    return this.#deps.peers.askPlace(member, this.#definition.cutId, what, all, milliseconds);
  }

  /** Where this system stands among the members. */
  get #place(): number {
    const { systemId } = this.#deps.caller;
    return this.#definition.members.findIndex((member) => member.systemId === systemId);
  }

  get #patience(): number {
    return patienceMilliseconds(this.#definition.intervalMilliseconds, this.#place);
  }

  #become(state: ControllerState): void {
    assert(controllerTransitions[this.#state].includes(state), `${this.#state} -> ${state}`);
    this.#state = state;
  }
}

/** As it is at this moment, whatever was known of it before. */
function isIn(round: ControllerRound, phase: RoundPhase): boolean {
  return round.phase === phase;
}

function obstacleOf({ groups }: CutTold<'survey'>, member: CutPlace): string | undefined {
  const obstacle = groups.find(({ groupId }) => groupId === member.groupId)?.obstacle;
  const text = obstacle ?? 'it does not take part';
  return text === '' ? undefined : `system ${member.systemName}: ${text}`;
}

function refusalIn(what: CutExchange, told: object, { systemName }: CutPlace): string | undefined {
  const isBroken = what === 'told' && 'isHeld' in told && told.isHeld === false;
  return isBroken ? `system ${systemName} let its hosts go before all had the marker` : undefined;
}

/** Throws what is a programming error. */
function refusalOf(error: unknown): string {
  if (!(error instanceof JnbdError)) throw error;
  return error.message;
}
