import type { Clock, Timer } from '../platform/clock.ts';

/** `later`: what was written last is not durable yet. */
export type MarkNeed = 'none' | 'later' | 'now';

export interface IdleMarkOwner {
  look(): MarkNeed;
  write(): void;
}

/**
 * When writing pauses, the last records get a durable mark behind them: without one, a later bad
 * sector in them would pass for a torn tail (SAFETY 3).
 */
export class IdleMark {
  readonly #clock: Clock;
  readonly #owner: IdleMarkOwner;
  #afterMilliseconds: number;
  #timer: Timer | undefined;

  /** `syncIntervalMilliseconds`: a pause is four times that. */
  constructor(clock: Clock, syncIntervalMilliseconds: number, owner: IdleMarkOwner) {
    this.#clock = clock;
    this.#owner = owner;
    this.#afterMilliseconds = syncIntervalMilliseconds * 4;
  }

  setInterval(syncIntervalMilliseconds: number): void {
    this.#afterMilliseconds = syncIntervalMilliseconds * 4;
  }

  /** `durable` moved. */
  arm(): void {
    this.#timer ??= this.#clock.after(this.#afterMilliseconds, () => {
      this.#timer = undefined;
      const need = this.#owner.look();
      if (need === 'later') this.arm();
      if (need === 'now') this.#owner.write();
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
