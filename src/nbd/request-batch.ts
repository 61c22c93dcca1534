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
