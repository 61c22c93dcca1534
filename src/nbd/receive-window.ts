import type { ReceiveSlab, ReceiveSlabs } from '../journal/receive-slab.ts';
import { assert, must } from '../platform/assert.ts';
import { KiB, slabBytes, slabHeadroomBytes } from '../platform/limits.ts';

/**
 * Where connections receive that hold no slab, all into the same memory: what arrives is read out of
 * it before anything else happens in this thread. (A socket is read and told of in one go.)
 */
export const landing = Buffer.allocUnsafeSlow(16 * KiB);

/** Less room than this at the end of a slab is not worth a receive. */
const roomBytesMin = 8 * KiB;
/** An incomplete request up to this size moves to the next slab; a larger payload is cut instead. */
export const movedBytesMax = 32 * KiB;
/** While less arrives at a time, receiving goes through the landing: an idle client holds nothing. */
const busyBytesMin = 8 * KiB;
/** What stands beside a slab, or without one, is kept up to about here. */
export const restBytesMax = 16 * KiB;

/**
 * The bytes of one connection between socket and parser: `[start, end)` of a slab, then `rest`, a copy
 * of its own size for when there is no slab or no room in it.
 *
 * Between `receiveBuffer` and `received` the connection may write into the slab at any moment
 * ("armed"): until then the slab is neither given away nor used from its beginning again.
 */
export class ReceiveWindow {
  readonly #pool: ReceiveSlabs;
  #slab: ReceiveSlab | undefined;
  #rest: Buffer | undefined;
  #isBusy = false;
  #isArmed = false;
  start = slabHeadroomBytes;
  end = slabHeadroomBytes;
  /** Receiving stops here: the end of the slab, or where a large payload is to be cut. */
  limit = slabBytes;
  /** The same in the next slab. */
  nextLimit = slabBytes;
  /** With fewer bytes than this from `start` on, parsing makes no progress. */
  wanted: number;
  /** What is incomplete does not fit here: it goes on in another slab. */
  mustMove = false;

  constructor(pool: ReceiveSlabs, headerBytes: number) {
    this.#pool = pool;
    this.wanted = headerBytes;
  }

  get slab(): ReceiveSlab | undefined {
    return this.#slab;
  }

  /** The slab that is parsed in. */
  get held(): ReceiveSlab {
    return must(this.#slab, 'parsing needs a slab');
  }

  get available(): number {
    return this.end - this.start;
  }

  /** Bytes that wait without room in a slab. */
  get restBytes(): number {
    return this.#rest?.length ?? 0;
  }

  get isArmed(): boolean {
    return this.#isArmed;
  }

  /** Whether going on needs a slab and there is none. */
  get needsSlab(): boolean {
    return !this.#slab && this.restBytes >= Math.min(this.wanted, restBytesMax);
  }

  receiveBuffer(): Uint8Array {
    if (!this.#slab && this.#isBusy && !this.#rest) this.#take();
    const slab = this.#slab;
    this.#isArmed = slab !== undefined && this.#isBusy && !this.#rest && this.end < this.limit;
    return this.#isArmed && slab ? slab.bytes.subarray(this.end, this.limit) : landing;
  }

  received(count: number): void {
    this.#isBusy = count >= busyBytesMin;
    if (this.#isArmed) {
      this.#isArmed = false;
      this.end += count;
      return;
    }
    this.append(landing.subarray(0, count));
  }

  /** From now on the landing is received into. */
  calmDown(): void {
    this.#isBusy = false;
  }

  /** Bytes that did not arrive by `received`. They are copied. */
  append(bytes: Uint8Array): void {
    let fits = 0;
    if (this.#slab && !this.#rest) {
      fits = Math.max(0, Math.min(bytes.length, this.limit - this.end));
      this.#slab.bytes.set(fits === bytes.length ? bytes : bytes.subarray(0, fits), this.end);
      this.end += fits;
    }
    if (fits === bytes.length) return;
    const beside = bytes.subarray(fits);
    this.#rest = this.#rest ? Buffer.concat([this.#rest, beside]) : Buffer.from(beside);
  }

  /**
   * Makes place once parsing has stopped and its run is journaled. `retire` takes a slab that is
   * left. True: there is more to parse now.
   */
  settle(durable: number, retire: (slab: ReceiveSlab) => void): boolean {
    if (this.#isArmed) return false;
    const slab = this.#slab;
    if (slab) {
      const isClean = slab.retainedThrough <= durable;
      if (this.start === this.end && isClean && !this.mustMove) this.#begin();
      else if (this.mustMove || (this.start === this.end && slabBytes - this.end < roomBytesMin)) {
        this.#leave(slab, isClean, retire);
      }
    }
    if (this.needsSlab) this.#take();
    else if (this.#slab && this.#rest) this.#takeRest();
    return this.#slab !== undefined && this.available >= this.wanted;
  }

  /** Gives the slab up; an incomplete request of up to `movedBytesMax` is kept beside. */
  leaveSlab(retire: (slab: ReceiveSlab) => void): void {
    const slab = this.#slab;
    if (!slab) return;
    assert(!this.#isArmed, 'a slab that is received into is not left');
    this.#keepBeside(slab);
    retire(slab);
  }

  /** Forgets everything; the slab is returned. */
  close(): ReceiveSlab | undefined {
    const slab = this.#slab;
    this.#slab = undefined;
    this.#rest = undefined;
    this.#isArmed = false;
    this.#begin();
    return slab;
  }

  #begin(): void {
    this.start = this.end = slabHeadroomBytes;
    this.limit = this.nextLimit;
  }

  #leave(slab: ReceiveSlab, isClean: boolean, retire: (slab: ReceiveSlab) => void): void {
    this.mustMove = false;
    const { start, end } = this;
    if (isClean) {
      slab.bytes.copyWithin(slabHeadroomBytes, start, end);
      this.#begin();
      this.end += end - start;
      return;
    }
    const next = start < end ? this.#pool.take() : undefined;
    if (next) {
      slab.bytes.copy(next.bytes, slabHeadroomBytes, start, end);
      this.#begin();
      this.end += end - start;
      this.#slab = next;
    } else {
      // Left before another is asked for: connections that all wait for a slab must hold none.
      this.#keepBeside(slab);
    }
    retire(slab);
  }

  #keepBeside(slab: ReceiveSlab): void {
    const { start, end } = this;
    if (start < end) {
      const kept = slab.bytes.subarray(start, end);
      this.#rest = Buffer.concat(this.#rest ? [kept, this.#rest] : [kept]);
    }
    this.#slab = undefined;
    this.mustMove = false;
    this.#begin();
  }

  #take(): void {
    const slab = this.#pool.take();
    if (!slab) return;
    this.#slab = slab;
    this.#begin();
    this.#takeRest();
  }

  #takeRest(): void {
    const rest = this.#rest;
    if (!rest) return;
    this.#rest = undefined;
    this.append(rest);
  }
}
