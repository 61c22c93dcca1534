import { isSameMarker, type MarkerId } from '../../journal/cut-record.ts';
import { assert } from '../../platform/assert.ts';

/**
 * One round as one member sees it (SAFETY 25). `marked`: the marker is numbered, replies behind it are held.
 * `held`: they were held until somebody who knows that all markers are numbered asked. `committed`: so said all
 * members, and all markers are durable. `broken`: replies were let go before anybody asked.
 */
export type MemberRoundState = 'marked' | 'held' | 'committed' | 'broken';

export const memberRoundTransitions: Record<MemberRoundState, readonly MemberRoundState[]> = {
  marked: ['held', 'broken'],
  held: ['committed'],
  committed: [],
  broken: [],
};

export class MemberRound {
  readonly id: MarkerId;
  /** Of the marker. */
  readonly number: number;
  /** In which it was numbered. */
  readonly generation: number;
  #state: MemberRoundState = 'marked';

  constructor(id: MarkerId, number: number, generation: number) {
    this.id = id;
    this.number = number;
    this.generation = generation;
  }

  get state(): MemberRoundState {
    return this.#state;
  }

  get holds(): boolean {
    return this.#state === 'marked';
  }

  /**
   * All markers are numbered, says who asks: whether everything behind this one was held until now. It is let go in
   * any case. Asked again it says the same: what was true when it was asked first is enough.
   */
  told(): boolean {
    if (this.#state === 'marked') this.#become('held');
    return this.#state === 'held' || this.#state === 'committed';
  }

  /** The time is over, somebody gave up, or the group is not what it was. */
  end(): void {
    if (this.holds) this.#become('broken');
  }

  /** The commit is in the journal. Only what was held can be committed. */
  committed(): void {
    if (this.#state !== 'committed') this.#become('committed');
  }

  #become(state: MemberRoundState): void {
    const isAllowed = memberRoundTransitions[this.#state].includes(state);
    assert(isAllowed, `round ${this.#state} -> ${state}`);
    this.#state = state;
  }
}

/** The newest round of each cut that a group is a member of. */
export class MemberRounds {
  readonly #rounds = new Map<string, MemberRound>();

  /** A round begins: the one before of the same cut is over. */
  begin(id: MarkerId, number: number, generation: number): MemberRound {
    this.#rounds.get(id.cutId)?.end();
    const round = new MemberRound(id, number, generation);
    this.#rounds.set(id.cutId, round);
    return round;
  }

  find(id: MarkerId): MemberRound | undefined {
    const round = this.#rounds.get(id.cutId);
    return round && isSameMarker(round.id, id) ? round : undefined;
  }

  /** Replies to what is numbered behind this are held; undefined: nothing is. */
  get heldBehind(): number | undefined {
    let lowest: number | undefined;
    for (const { holds, number } of this.#rounds.values()) {
      if (holds && (lowest === undefined || number < lowest)) lowest = number;
    }
    return lowest;
  }
}
