import { assert } from '../platform/assert.ts';
import { slabBytes, slabHeadroomBytes } from '../platform/limits.ts';

/**
 * Memory that host bytes are received into and journaled from, without a copy in between.
 *
 * The first `slabHeadroomBytes` are left free: a record header for the rest of a payload that began
 * in the slab before goes there, and so does a mark. `retainedThrough` is the highest update number
 * whose payload lies here: until it is durable the bytes stay as they are, because a failed sync is
 * answered by writing the same records elsewhere (SAFETY 4).
 */
export interface ReceiveSlab {
  readonly bytes: Buffer;
  readonly view: DataView;
  retainedThrough: number;
}

/** A fixed number of slabs: the bound on what all hosts together have in flight. */
export class ReceiveSlabPool {
  readonly #free: ReceiveSlab[] = [];
  readonly #slabsMax: number;
  #created = 0;
  #waiting: (() => void)[] = [];

  constructor(slabsMax: number) {
    assert(slabsMax >= 2, `a slab pool needs at least 2 slabs, not ${slabsMax}`);
    this.#slabsMax = slabsMax;
  }

  get bytesMax(): number {
    return this.#slabsMax * slabBytes;
  }

  get inUse(): number {
    return this.#created - this.#free.length;
  }

  /** A slab, or `undefined` when the budget is used up: wait with `whenFree`. */
  take(): ReceiveSlab | undefined {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#created === this.#slabsMax) return undefined;
    this.#created += 1;
    const bytes = Buffer.allocUnsafeSlow(slabBytes);
    bytes.fill(0, 0, slabHeadroomBytes);
    return { bytes, view: new DataView(bytes.buffer, 0, slabBytes), retainedThrough: 0 };
  }

  giveBack(slab: ReceiveSlab): void {
    slab.retainedThrough = 0;
    this.#free.push(slab);
    const next = this.#waiting.shift();
    if (next) next();
  }

  /** Runs `retry` once when a slab was given back. First come, first served. */
  whenFree(retry: () => void): void {
    this.#waiting.push(retry);
  }
}

/** A slab for records of our own making: marks, rolls, catalog changes. */
export function scratchSlab(bytes: number): ReceiveSlab {
  const buffer = Buffer.alloc(bytes);
  return {
    bytes: buffer,
    view: new DataView(buffer.buffer, buffer.byteOffset, bytes),
    retainedThrough: 0,
  };
}
