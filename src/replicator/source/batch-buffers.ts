import { assert } from '../../platform/assert.ts';

/** Memory that one answer is put together in, and sent from. */
export interface BatchBuffer {
  readonly bytes: Buffer;
  readonly view: DataView;
}

interface Waiting {
  readonly reader: object;
  readonly grant: (buffer: BatchBuffer | undefined) => void;
}

/**
 * A fixed number of buffers for all answers under way. A reader that takes its answers slowly holds
 * the buffers that they are in; a share is kept back for every other reader, and for one more that may
 * come, so that they are answered all the same.
 */
export class BatchBuffers {
  readonly bufferBytes: number;
  readonly #buffersMax: number;
  readonly #free: BatchBuffer[] = [];
  readonly #held = new Map<object, number>();
  #waiting: Waiting[] = [];
  #inUse = 0;

  constructor(buffersMax: number, bufferBytes: number) {
    assert(buffersMax >= 1, `answers need at least one buffer, not ${buffersMax}`);
    this.#buffersMax = buffersMax;
    this.bufferBytes = bufferBytes;
  }

  get inUse(): number {
    return this.#inUse;
  }

  /** A reader that may ask for buffers. */
  join(reader: object): void {
    if (!this.#held.has(reader)) this.#held.set(reader, 0);
  }

  /** It asks for none any more; what it holds still has to be given back. */
  leave(reader: object): void {
    this.#held.delete(reader);
    const gone = this.#waiting.filter((waiting) => waiting.reader === reader);
    this.#waiting = this.#waiting.filter((waiting) => waiting.reader !== reader);
    for (const { grant } of gone) grant(undefined);
    this.#wake();
  }

  /** Undefined: the reader left. */
  take(reader: object): Promise<BatchBuffer | undefined> {
    const isFirst = !this.#waiting.some((waiting) => waiting.reader === reader);
    if (isFirst && this.#mayTake(reader)) return Promise.resolve(this.#grant(reader));
    return new Promise((grant) => this.#waiting.push({ reader, grant }));
  }

  giveBack(reader: object, buffer: BatchBuffer): void {
    const held = this.#held.get(reader);
    if (held !== undefined) this.#held.set(reader, held - 1);
    this.#inUse -= 1;
    this.#free.push(buffer);
    this.#wake();
  }

  #mayTake(reader: object): boolean {
    const held = this.#held.get(reader);
    if (held === undefined) return true;
    const left = this.#buffersMax - this.#inUse;
    if (left === 0) return false;
    const share = Math.max(1, Math.floor(this.#buffersMax / (this.#held.size + 1)));
    if (held < share) return true;
    let kept = share;
    for (const [other, count] of this.#held)
      if (other !== reader) kept += Math.max(0, share - count);
    return left > kept;
  }

  #grant(reader: object): BatchBuffer {
    this.#held.set(reader, (this.#held.get(reader) ?? 0) + 1);
    this.#inUse += 1;
    const free = this.#free.pop();
    if (free) return free;
    const bytes = Buffer.allocUnsafeSlow(this.bufferBytes);
    return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
  }

  /** First come, first served, among those who may. */
  #wake(): void {
    for (;;) {
      const at = this.#waiting.findIndex(({ reader }) => this.#mayTake(reader));
      if (at < 0) return;
      const [waiting] = this.#waiting.splice(at, 1);
      waiting?.grant(this.#grant(waiting.reader));
    }
  }
}
