import type { ReceiveSlab, ReceiveSlabs } from './receive-slab.ts';
import type { LiveSegment } from './segment-chain.ts';

/**
 * What was appended and is not durable yet, in order, still in memory: if the sync that should make
 * it durable fails, the same records are written elsewhere from here (SAFETY 4). Also decides when a
 * slab may be received into again.
 *
 * A ring of parallel arrays that grows to what was needed once: nothing is allocated per run.
 */
export class RetainedRuns {
  readonly #pool: ReceiveSlabs;
  #slabs: (ReceiveSlab | undefined)[] = Array.from({ length: 64 });
  #segments: (LiveSegment | undefined)[] = Array.from({ length: 64 });
  #starts = new Uint32Array(64);
  #ends = new Uint32Array(64);
  /** Where the run lies in its segment. */
  #offsets = new Uint32Array(64);
  #lastNumbers = new Float64Array(64);
  #head = 0;
  #count = 0;
  #bytes = 0;
  #lastNumber = 0;
  /** Slabs whose owner is done with them, in the order retired. */
  #retired: ReceiveSlab[] = [];

  constructor(pool: ReceiveSlabs) {
    this.#pool = pool;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#count;
  }

  /** Of the last run that was appended; 0: there was none. Higher numbers are only being stamped. */
  get lastNumber(): number {
    return this.#lastNumber;
  }

  /** Bytes [start, end) of the slab, which lie, or will, where the segment's records end now. */
  push(
    slab: ReceiveSlab,
    segment: LiveSegment,
    start: number,
    end: number,
    lastNumber: number,
  ): void {
    if (this.#count === this.#slabs.length) this.#grow();
    const at = (this.#head + this.#count) & (this.#slabs.length - 1);
    this.#slabs[at] = slab;
    this.#segments[at] = segment;
    this.#starts[at] = start;
    this.#ends[at] = end;
    this.#offsets[at] = segment.endOffset;
    this.#lastNumbers[at] = lastNumber;
    this.#count += 1;
    this.#bytes += end - start;
    this.#lastNumber = lastNumber;
    slab.retainedThrough = lastNumber;
  }

  /** Forgets what is durable and gives retired slabs back. */
  releaseThrough(durable: number): void {
    const mask = this.#slabs.length - 1;
    while (this.#count > 0 && (this.#lastNumbers[this.#head] ?? 0) <= durable) {
      this.#bytes -= (this.#ends[this.#head] ?? 0) - (this.#starts[this.#head] ?? 0);
      this.#slabs[this.#head] = undefined;
      this.#segments[this.#head] = undefined;
      this.#head = (this.#head + 1) & mask;
      this.#count -= 1;
    }
    let kept = 0;
    for (const slab of this.#retired) {
      if (slab.retainedThrough <= durable) this.#pool.giveBack(slab);
      else this.#retired[kept++] = slab;
    }
    this.#retired.length = kept;
  }

  /** The owner receives into this slab no more. */
  retire(slab: ReceiveSlab, durable: number): void {
    if (slab.retainedThrough <= durable) this.#pool.giveBack(slab);
    else this.#retired.push(slab);
  }

  /**
   * Every retained run, oldest first, with its segment and where it lies there; `visit` appends it to
   * another segment, which it returns, or leaves it.
   */
  rewrite(
    visit: (
      slab: ReceiveSlab,
      start: number,
      end: number,
      segment: LiveSegment,
      offset: number,
    ) => LiveSegment | undefined,
  ): void {
    const mask = this.#slabs.length - 1;
    for (let i = 0; i < this.#count; i += 1) {
      const at = (this.#head + i) & mask;
      const slab = this.#slabs[at];
      const segment = this.#segments[at];
      if (!slab || !segment) continue;
      const start = this.#starts[at] ?? 0;
      const end = this.#ends[at] ?? 0;
      const target = visit(slab, start, end, segment, this.#offsets[at] ?? 0);
      if (!target) return;
      this.#segments[at] = target;
      this.#offsets[at] = target.endOffset - (end - start);
    }
  }

  /** What is retained will never be durable: where it lies must not be read as if it were there. */
  abandon(): void {
    const mask = this.#slabs.length - 1;
    for (let i = 0; i < this.#count; i += 1) {
      const at = (this.#head + i) & mask;
      const segment = this.#segments[at];
      if (segment) segment.lostFrom = Math.min(segment.lostFrom, this.#offsets[at] ?? 0);
    }
  }

  #grow(): void {
    const length = this.#slabs.length;
    const order = Array.from({ length }, (_, i) => (this.#head + i) & (length - 1));
    const nothing = Array.from<undefined>({ length });
    this.#slabs = [...order.map((at) => this.#slabs[at]), ...nothing];
    this.#segments = [...order.map((at) => this.#segments[at]), ...nothing];
    const starts = new Uint32Array(length * 2);
    const ends = new Uint32Array(length * 2);
    const offsets = new Uint32Array(length * 2);
    const lastNumbers = new Float64Array(length * 2);
    order.forEach((from, to) => {
      starts[to] = this.#starts[from] ?? 0;
      ends[to] = this.#ends[from] ?? 0;
      offsets[to] = this.#offsets[from] ?? 0;
      lastNumbers[to] = this.#lastNumbers[from] ?? 0;
    });
    this.#starts = starts;
    this.#ends = ends;
    this.#offsets = offsets;
    this.#lastNumbers = lastNumbers;
    this.#head = 0;
  }
}
