import type { Clock } from '../../platform/clock.ts';
import { CopyRate } from '../../platform/copy-rate.ts';
import type { Group } from '../order/group.ts';

const creditMin = 4096;
/** Between two pieces of half a MiB, each of which takes about as long: hosts are served by the same thread. */
const pauseMilliseconds = 1;

/**
 * How fast a group's volumes and journal are read for verifying, and written while they are rolled back: as contents are
 * copied, by whomever it is asked for.
 */
export class CopyTurns {
  readonly #clock: Clock;
  readonly #rates = new WeakMap<Group, CopyRate>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves when so much may be read, or written. */
  async take(group: Group, bytes: number): Promise<void> {
    const rate = this.#rateOf(group);
    do {
      const pause = Math.max(pauseMilliseconds, rate.millisecondsUntil(creditMin));
      await new Promise<void>((resolve) => this.#clock.after(pause, resolve));
    } while (rate.credit < creditMin);
    rate.spend(bytes);
  }

  #rateOf(group: Group): CopyRate {
    const { copyBytesPerSecond } = group.catalog;
    let rate = this.#rates.get(group);
    if (!rate) this.#rates.set(group, (rate = new CopyRate(this.#clock, copyBytesPerSecond)));
    rate.bytesPerSecond = copyBytesPerSecond;
    return rate;
  }
}
