import { assert } from '../platform/assert.ts';
import { KiB } from '../platform/limits.ts';

/** Memory that replies are put together in and sent from. */
export interface ReplyBuffer {
  readonly bytes: Buffer;
  readonly view: DataView;
  /** Who still needs the contents: the writer, reads not done, the kernel. At 0 it goes back. */
  references: number;
}

export const replyBufferBytes = 256 * KiB;

/**
 * The bound on what all connections together have in replies. A connection that holds none may take
 * the last one; each further one needs four times as many free, so that clients that do not read
 * their replies cannot take everything away from those that do.
 */
export class ReplyBufferPool {
  readonly #free: ReplyBuffer[] = [];
  readonly #buffersMax: number;
  #created = 0;
  #waiting: (() => void)[] = [];

  constructor(bytesMax: number) {
    this.#buffersMax = Math.floor(bytesMax / replyBufferBytes);
    assert(this.#buffersMax >= 2, `replies need at least ${2 * replyBufferBytes} bytes`);
  }

  get inUse(): number {
    return this.#created - this.#free.length;
  }

  /** Somebody waits: the memory is used up. */
  get isExhausted(): boolean {
    return this.#waiting.length > 0;
  }

  mayTake(held: number): boolean {
    const available = this.#buffersMax - this.inUse;
    return held === 0 ? available > 0 : held * 4 <= available;
  }

  /** `undefined`: wait with `whenFree`. `held` is what the connection has already. */
  take(held: number): ReplyBuffer | undefined {
    if (!this.mayTake(held)) return undefined;
    const free = this.#free.pop();
    if (free) {
      free.references = 1;
      return free;
    }
    this.#created += 1;
    const bytes = Buffer.allocUnsafeSlow(replyBufferBytes);
    return { bytes, view: new DataView(bytes.buffer, 0, replyBufferBytes), references: 1 };
  }

  giveBack(buffer: ReplyBuffer): void {
    this.#free.push(buffer);
    this.passOn();
  }

  /** Tells the next who waits, if there is anything to have: for who was told and needs it no more. */
  passOn(): void {
    if (this.inUse < this.#buffersMax) this.#waiting.shift()?.();
  }

  /** Runs `retry` once when a buffer came back: it must not act at once, only take note. */
  whenFree(retry: () => void): void {
    this.#waiting.push(retry);
  }
}
