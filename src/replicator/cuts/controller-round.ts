import { assert } from '../../platform/assert.ts';

/**
 * One attempt at one marker, as the controller sees it (SAFETY 25). `claiming`: members promise the epoch.
 * `marking`: they append the marker, and hold. `telling`: each is told that all have it, and says whether it
 * held. `committing`: they append the commit.
 */
export type RoundPhase = 'claiming' | 'marking' | 'telling' | 'committing' | 'done' | 'aborted';

export const roundTransitions: Record<RoundPhase, readonly RoundPhase[]> = {
  claiming: ['marking', 'aborted'],
  marking: ['telling', 'aborted'],
  telling: ['committing', 'aborted'],
  committing: ['done', 'aborted'],
  done: [],
  aborted: [],
};

const following: Partial<Record<RoundPhase, RoundPhase>> = {
  claiming: 'marking',
  marking: 'telling',
  telling: 'committing',
  committing: 'done',
};

/** Pure: takes answers, whenever they come, and says which phase they lead to. */
export class ControllerRound {
  readonly #members: number;
  readonly #answered = new Set<number>();
  #phase: RoundPhase;
  #reason = '';
  #commits = 0;

  constructor(members: number, isClaimed: boolean) {
    assert(members > 0, 'a round has members');
    this.#members = members;
    this.#phase = isClaimed ? 'marking' : 'claiming';
  }

  get phase(): RoundPhase {
    return this.#phase;
  }

  /** Why it was aborted. */
  get reason(): string {
    return this.#reason;
  }

  /**
   * What a member said to what it was asked in `phase`; `refusal`: why it said no, or said nothing in time.
   * One no ends the round, but for the commit: what one member has may count already, so the others are heard.
   */
  answered(phase: RoundPhase, member: number, refusal: string | undefined): void {
    const isOver = this.#phase === 'done' || this.#phase === 'aborted';
    if (isOver || phase !== this.#phase || this.#answered.has(member)) return;
    this.#answered.add(member);
    if (refusal !== undefined && phase !== 'committing') {
      this.#abort(refusal);
      return;
    }
    if (phase === 'committing' && refusal === undefined) this.#commits += 1;
    if (this.#answered.size < this.#members) return;
    if (phase === 'committing' && this.#commits === 0) {
      this.#abort(`no member says that it has the commit: ${refusal ?? ''}`);
      return;
    }
    this.#answered.clear();
    this.#become(following[phase] ?? 'aborted');
  }

  #abort(reason: string): void {
    this.#reason = reason;
    this.#become('aborted');
  }

  #become(phase: RoundPhase): void {
    assert(roundTransitions[this.#phase].includes(phase), `round ${this.#phase} -> ${phase}`);
    this.#phase = phase;
  }
}
