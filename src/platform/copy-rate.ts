import type { Clock } from './clock.ts';
import { MiB } from './limits.ts';

/** What may go out at once after a pause. */
const burstBytesMin = 1 * MiB;
const burstMilliseconds = 200;

/** How fast contents of a group's volumes may go out, to all followers together. */
export class CopyRate {
  readonly #clock: Clock;
  #bytesPerSecond: number | undefined;
  #credit = 0;
  #countedMilliseconds: number;

  constructor(clock: Clock, bytesPerSecond: number | undefined) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
    this.#countedMilliseconds = clock.monotonicMilliseconds();
  }

  set bytesPerSecond(bytesPerSecond: number | undefined) {
    this.#count();
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** How much may go out now. What went out past it is made up for later. */
  get credit(): number {
    if (this.#bytesPerSecond === undefined) return Number.POSITIVE_INFINITY;
    this.#count();
    return Math.max(0, this.#credit);
  }

  spend(bytes: number): void {
    if (this.#bytesPerSecond !== undefined) this.#credit -= bytes;
  }

  /** Until so much may go out; 0: now. */
  millisecondsUntil(bytes: number): number {
    if (this.#bytesPerSecond === undefined) return 0;
    this.#count();
    const wanted = Math.min(bytes, this.#burstBytes);
    return Math.max(0, Math.ceil(((wanted - this.#credit) / this.#bytesPerSecond) * 1000));
  }

  get #burstBytes(): number {
    return Math.max(burstBytesMin, ((this.#bytesPerSecond ?? 0) * burstMilliseconds) / 1000);
  }

  #count(): void {
    const now = this.#clock.monotonicMilliseconds();
    const passed = now - this.#countedMilliseconds;
    this.#countedMilliseconds = now;
    const earned = ((this.#bytesPerSecond ?? 0) * passed) / 1000;
    this.#credit = Math.min(this.#burstBytes, this.#credit + earned);
  }
}
