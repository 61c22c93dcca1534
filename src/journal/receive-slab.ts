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

/** Where a host's connection gets slabs from, and gives them back to. */
export interface ReceiveSlabs {
  /** A slab, or `undefined` when the budget is used up: wait with `whenFree`. */
  take(): ReceiveSlab | undefined;
  giveBack(slab: ReceiveSlab): void;
  /** Runs `retry` once when a slab came free: it must not act at once, only take note. */
  whenFree(retry: () => void): void;
  /** Tells the next who waits, if there is anything to have: for who was told and needs it no more. */
  passOn(): void;
}

/**
 * A fixed number of slabs: the bound on what all hosts together have in flight. Half of them are
 * divided evenly and kept for each budget, the rest goes to whoever asks first: a group that takes
 * nothing more to its journal holds its hosts' slabs, and never those that another group is to have
 * (SAFETY 8).
 */
export class ReceiveSlabPool {
  readonly #free: ReceiveSlab[] = [];
  readonly #slabsMax: number;
  readonly #budgets = new Set<SlabBudget>();
  #created = 0;
  readonly #waiting: { readonly budget: SlabBudget; readonly retry: () => void }[] = [];

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

  /** A part of the pool, for one group. */
  budget(): SlabBudget {
    const budget = new SlabBudget(this);
    this.#budgets.add(budget);
    return budget;
  }

  /** Nothing is kept for it any more; what it holds may still come back. */
  forget(budget: SlabBudget): void {
    this.#budgets.delete(budget);
    this.wakeNext();
  }

  take(budget: SlabBudget): ReceiveSlab | undefined {
    if (!this.#mayTake(budget)) return undefined;
    const free = this.#free.pop();
    if (free) return free;
    this.#created += 1;
    const bytes = Buffer.allocUnsafeSlow(slabBytes);
    bytes.fill(0, 0, slabHeadroomBytes);
    return { bytes, view: new DataView(bytes.buffer, 0, slabBytes), retainedThrough: 0 };
  }

  giveBack(slab: ReceiveSlab): void {
    slab.retainedThrough = 0;
    this.#free.push(slab);
    this.wakeNext();
  }

  wait(budget: SlabBudget, retry: () => void): void {
    this.#waiting.push({ budget, retry });
  }

  /** First come, first served, among those whose budget allows it. */
  wakeNext(): void {
    const at = this.#waiting.findIndex(({ budget }) => this.#mayTake(budget));
    if (at >= 0) this.#waiting.splice(at, 1)[0]?.retry();
  }

  #mayTake(budget: SlabBudget): boolean {
    if (this.inUse >= this.#slabsMax) return false;
    const kept = Math.floor(this.#slabsMax / (2 * Math.max(1, this.#budgets.size)));
    if (budget.inUse < kept) return true;
    let shared = 0;
    for (const { inUse } of this.#budgets) shared += Math.max(0, inUse - kept);
    return shared < this.#slabsMax - kept * this.#budgets.size;
  }
}

/** One group's part of the pool. */
export class SlabBudget implements ReceiveSlabs {
  readonly #pool: ReceiveSlabPool;
  #inUse = 0;

  constructor(pool: ReceiveSlabPool) {
    this.#pool = pool;
  }

  get inUse(): number {
    return this.#inUse;
  }

  take(): ReceiveSlab | undefined {
    const slab = this.#pool.take(this);
    if (slab) this.#inUse += 1;
    return slab;
  }

  giveBack(slab: ReceiveSlab): void {
    this.#inUse -= 1;
    this.#pool.giveBack(slab);
  }

  whenFree(retry: () => void): void {
    this.#pool.wait(this, retry);
  }

  passOn(): void {
    this.#pool.wakeNext();
  }

  /** The group is closed: what was kept for it is for others. */
  close(): void {
    this.#pool.forget(this);
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
