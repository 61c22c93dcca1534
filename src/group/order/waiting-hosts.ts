import type { Clock } from '../../platform/clock.ts';

/** Who was refused room. */
export interface Parked {
  readonly client: { admitted(): void };
}

/** Hosts that were refused admission, first come, first served, until there is room again. */
export class WaitingHosts {
  readonly #clock: Clock;
  #parked = new Set<Parked>();
  #wakeScheduled = false;
  #isHeld = false;
  #closedText = '';

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Why hosts are not let in; empty: they are. */
  get closedText(): string {
    return this.#closedText;
  }

  close(text: string): void {
    this.#closedText = text;
  }

  /** All hosts wait: who is primary is being decided. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    if (!isHeld) this.wake();
  }

  park(session: Parked): void {
    this.#parked.add(session);
  }

  forget(session: Parked): void {
    this.#parked.delete(session);
  }

  /** There may be room: everybody asks again, once what is going on now is over. */
  wake(): void {
    if (this.#parked.size === 0 || this.#wakeScheduled) return;
    this.#wakeScheduled = true;
    this.#clock.soon(() => {
      this.#wakeScheduled = false;
      const parked = this.#parked;
      this.#parked = new Set();
      for (const session of parked) session.client.admitted();
    });
  }
}
