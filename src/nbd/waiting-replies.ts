import type { RequestIdentity } from './reply-codec.ts';

/**
 * Requests whose answer waits until an update number is answerable (FLUSH, and whatever came with FUA; every
 * update while followers are waited for), in the order of those numbers. A ring of plain arrays: nothing is allocated for a request.
 */
export class WaitingReplies {
  static readonly entriesMax = 16 * 1024;
  #mask = 63;
  #numbers = new Float64Array(64);
  #startedAt = new Float64Array(64);
  #lengths = new Float64Array(64);
  #types = new Uint8Array(64);
  #identities = new Uint32Array(4 * 64);
  #head = 0;
  #count = 0;
  #last = 0;

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= WaitingReplies.entriesMax;
  }

  /** What the newest entry waits for. */
  get lastNumber(): number {
    return this.#last;
  }

  /** What the oldest entry waits for. */
  get firstNumber(): number {
    return this.#numbers[this.#head] ?? 0;
  }

  /** A number below one that waits already is answered with that one: never too early. */
  push(
    number: number,
    type: number,
    length: number,
    startedAt: number,
    identity: RequestIdentity,
  ): void {
    if (this.#count > this.#mask) this.#grow();
    const at = (this.#head + this.#count) & this.#mask;
    this.#last = this.#count === 0 ? number : Math.max(number, this.#last);
    this.#numbers[at] = this.#last;
    this.#startedAt[at] = startedAt;
    this.#lengths[at] = length;
    this.#types[at] = type;
    this.#identities[4 * at] = identity.cookieHigh;
    this.#identities[4 * at + 1] = identity.cookieLow;
    this.#identities[4 * at + 2] = identity.offsetHigh;
    this.#identities[4 * at + 3] = identity.offsetLow;
    this.#count += 1;
  }

  /** The entry that was taken out last. */
  readonly taken = {
    type: 0,
    length: 0,
    startedAt: 0,
    cookieHigh: 0,
    cookieLow: 0,
    offsetHigh: 0,
    offsetLow: 0,
  };

  /** Takes the oldest entry out, into `taken`. */
  shift(): void {
    this.#load(this.#head);
    this.#head = (this.#head + 1) & this.#mask;
    this.#count -= 1;
  }

  /** Takes the newest entry out, into `taken`, if it waits for `from` or more. */
  popFrom(from: number): boolean {
    if (this.#count === 0) return false;
    const at = (this.#head + this.#count - 1) & this.#mask;
    if ((this.#numbers[at] ?? 0) < from) return false;
    this.#load(at);
    this.#count -= 1;
    return true;
  }

  #load(at: number): void {
    const taken = this.taken;
    taken.type = this.#types[at] ?? 0;
    taken.length = this.#lengths[at] ?? 0;
    taken.startedAt = this.#startedAt[at] ?? 0;
    taken.cookieHigh = this.#identities[4 * at] ?? 0;
    taken.cookieLow = this.#identities[4 * at + 1] ?? 0;
    taken.offsetHigh = this.#identities[4 * at + 2] ?? 0;
    taken.offsetLow = this.#identities[4 * at + 3] ?? 0;
  }

  clear(): void {
    this.#head = 0;
    this.#count = 0;
  }

  #grow(): void {
    const old = this.#mask + 1;
    const rotated = <T extends Float64Array | Uint8Array | Uint32Array>(
      from: T,
      to: T,
      width: number,
    ): T => {
      const start = this.#head * width;
      to.set(from.subarray(start));
      to.set(from.subarray(0, start), from.length - start);
      return to;
    };
    this.#numbers = rotated(this.#numbers, new Float64Array(2 * old), 1);
    this.#startedAt = rotated(this.#startedAt, new Float64Array(2 * old), 1);
    this.#lengths = rotated(this.#lengths, new Float64Array(2 * old), 1);
    this.#types = rotated(this.#types, new Uint8Array(2 * old), 1);
    this.#identities = rotated(this.#identities, new Uint32Array(8 * old), 4);
    this.#head = 0;
    this.#mask = 2 * old - 1;
  }
}
