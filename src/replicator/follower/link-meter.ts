import { assert } from '../../platform/assert.ts';
import { KiB } from '../../platform/limits.ts';

/** What was measured weighs half after the link was busy for this long again. */
const halfLifeMilliseconds = 1000;
/** Less tells more about the moment than about the link. */
const measuredBytesMin = 256 * KiB;
const busyMillisecondsMin = 2;

/** One answer on its way. */
export interface ArrivingBody {
  received(bytes: number, nowMilliseconds: number): void;
  /** Complete, or cut off: what is missing does not come any more. */
  end(nowMilliseconds: number): void;
}

/**
 * Measures what the link from a source carries, over all connections together: the bytes that arrive,
 * by the time in which an answer is arriving. Times are monotonic and never go back.
 */
export class LinkMeter {
  #arriving = 0;
  #inFlightBytes = 0;
  #atMilliseconds = 0;
  /** Both fade at the same rate, so their quotient is a mean of the recent past. */
  #bytes = 0;
  #busyMilliseconds = 0;

  /** Announced, and not here yet. */
  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  /** `undefined` until enough arrived to tell. */
  get bytesPerMillisecond(): number | undefined {
    if (this.#bytes < measuredBytesMin || this.#busyMilliseconds < busyMillisecondsMin) {
      return undefined;
    }
    return this.#bytes / this.#busyMilliseconds;
  }

  /** The head of an answer is here, which announces a body of `bytes`. */
  begin(bytes: number, nowMilliseconds: number): ArrivingBody {
    this.#settle(nowMilliseconds);
    this.#arriving += 1;
    this.#inFlightBytes += bytes;
    let left = bytes;
    let isOver = false;
    return {
      received: (count, now) => {
        assert(!isOver && count <= left, 'a body has no more bytes than it says', count, left);
        this.#settle(now);
        this.#bytes += count;
        this.#inFlightBytes -= count;
        left -= count;
      },
      end: (now) => {
        if (isOver) return;
        isOver = true;
        this.#settle(now);
        this.#arriving -= 1;
        this.#inFlightBytes -= left;
      },
    };
  }

  #settle(nowMilliseconds: number): void {
    const passed = nowMilliseconds - this.#atMilliseconds;
    this.#atMilliseconds = nowMilliseconds;
    if (this.#arriving === 0 || passed <= 0) return;
    const fading = 2 ** (-passed / halfLifeMilliseconds);
    this.#bytes *= fading;
    this.#busyMilliseconds = this.#busyMilliseconds * fading + passed;
  }
}
