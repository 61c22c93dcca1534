import type { WhenFull } from '../../group/catalog/follow-file.ts';
import type { Group } from '../../group/order/group.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { recordPayloadBytesMax } from '../../platform/limits.ts';

/** So long room may take to appear before what was received is dropped. */
const patienceMilliseconds = 1000;

/**
 * Watches answers that find no room in the own journal. To `keep` them, in memory within its budget, is to
 * do nothing: the link stands still until there is room. To `drop` them frees the memory and the link.
 */
export class FullJournal {
  readonly #group: Group;
  readonly #clock: Clock;
  readonly #whenFull: WhenFull;
  readonly #isBlocked: () => boolean;
  readonly #drop: (error: JnbdError) => void;
  #timer: Timer | undefined;

  constructor(
    group: Group,
    clock: Clock,
    whenFull: WhenFull,
    owner: { readonly isBlocked: () => boolean; readonly drop: (error: JnbdError) => void },
  ) {
    this.#group = group;
    this.#clock = clock;
    this.#whenFull = whenFull;
    this.#isBlocked = owner.isBlocked;
    this.#drop = owner.drop;
  }

  /** It makes no sense to ask for more. */
  get forbidsReading(): boolean {
    return this.#whenFull === 'drop' && this.#isFull;
  }

  /** An answer found no room. */
  blocked(): void {
    if (this.#whenFull === 'keep') return;
    this.#timer ??= this.#clock.after(patienceMilliseconds, () => {
      this.#timer = undefined;
      if (!this.#isBlocked()) return;
      if (!this.#isFull) {
        this.blocked();
        return;
      }
      const text = `the journal of group ${this.#group.name} here is full: what was received was dropped, and is asked for again when there is room`;
      this.#drop(new JnbdError('journal_full', text));
    });
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  get #isFull(): boolean {
    return this.#group.chain.isFullFor(recordPayloadBytesMax);
  }
}
