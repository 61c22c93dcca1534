import type { Payload } from './payload-parts.ts';

/**
 * The requests of one received chunk, as columns of numbers: parsed first, then journaled together,
 * then answered together. One batch serves all connections, for it is empty whenever a connection
 * returns to the event loop.
 */
export const batchKind = {
  /** The answer is known: success, or `errors`. */
  answer: 0,
  /** `numbers` is the update number, or the negated error number. */
  update: 1,
  read: 2,
  flush: 3,
  blockStatus: 4,
} as const;

export class RequestBatch {
  static readonly capacity = 2048;
  count = 0;
  /** Milliseconds of the monotonic clock, when the first of them was parsed. */
  startedAt = 0;
  readonly kinds = new Uint8Array(RequestBatch.capacity);
  readonly types = new Uint8Array(RequestBatch.capacity);
  readonly flags = new Uint16Array(RequestBatch.capacity);
  readonly errors = new Uint16Array(RequestBatch.capacity);
  readonly offsets = new Float64Array(RequestBatch.capacity);
  readonly lengths = new Float64Array(RequestBatch.capacity);
  readonly numbers = new Float64Array(RequestBatch.capacity);
  readonly cookieHighs = new Uint32Array(RequestBatch.capacity);
  readonly cookieLows = new Uint32Array(RequestBatch.capacity);
  readonly offsetHighs = new Uint32Array(RequestBatch.capacity);
  readonly offsetLows = new Uint32Array(RequestBatch.capacity);
  /** Sentences for the client, by index: only where a request failed. */
  readonly texts: string[] = [];
  #hasTexts = false;

  /** Returns the index of the entry. Cookie and offset are taken from the request's header. */
  add(
    kind: number,
    type: number,
    flags: number,
    offset: number,
    length: number,
    view: DataView,
    headerStart: number,
  ): number {
    const index = this.count++;
    this.kinds[index] = kind;
    this.types[index] = type;
    this.flags[index] = flags;
    this.errors[index] = 0;
    this.offsets[index] = offset;
    this.lengths[index] = length;
    this.cookieHighs[index] = view.getUint32(headerStart + 8);
    this.cookieLows[index] = view.getUint32(headerStart + 12);
    this.offsetHighs[index] = view.getUint32(headerStart + 16);
    this.offsetLows[index] = view.getUint32(headerStart + 20);
    return index;
  }

  /** A payload that was taken in parts, or read over. */
  addPayload(payload: Payload): void {
    const index = this.count++;
    this.kinds[index] = batchKind.update;
    this.types[index] = payload.type;
    this.flags[index] = payload.flags;
    this.errors[index] = payload.error;
    this.numbers[index] = payload.number;
    this.lengths[index] = payload.length;
    this.cookieHighs[index] = payload.cookieHigh;
    this.cookieLows[index] = payload.cookieLow;
    this.offsetHighs[index] = payload.offsetHigh;
    this.offsetLows[index] = payload.offsetLow;
    if (payload.error !== 0) this.setText(index, payload.text);
  }

  setText(index: number, text: string): void {
    this.texts[index] = text;
    this.#hasTexts = true;
  }

  clear(): void {
    this.count = 0;
    if (!this.#hasTexts) return;
    this.texts.length = 0;
    this.#hasTexts = false;
  }
}
