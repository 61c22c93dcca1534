import { assert } from '../platform/assert.ts';
import { blockBytes } from '../platform/limits.ts';
import { entryOf } from './block-checksums.ts';

/** As the nodes of a table are: they stand in the low bits of a sort key, block numbers above them. */
const keyShift = 2 ** 20;
const firstRoom = 1024;

/** What one batch changes of the checksums of a volume, until it is done: no block is in it twice. */
export class ChecksumChanges {
  #keys = new Float64Array(firstRoom);
  #entries = new Uint32Array(firstRoom);
  #count = 0;
  /** Written in part: what they hold is read once all of the batch is written. */
  readonly partial = new Set<number>();
  /** Whole blocks that read as zero from now on, as pairs of [from, to). */
  readonly cleared: { readonly from: number; readonly to: number }[] = [];

  clear(): void {
    this.#count = 0;
    this.partial.clear();
    this.cleared.length = 0;
  }

  get isEmpty(): boolean {
    return this.#count === 0 && this.partial.size === 0 && this.cleared.length === 0;
  }

  /** `bytes[start, start + length)` were written at `offset`. */
  written(bytes: Uint8Array, start: number, length: number, offset: number): void {
    const { first, end } = this.#wholeBlocks(offset, length);
    for (let block = first; block < end; block += 1) {
      const at = start + block * blockBytes - offset;
      this.put(block, entryOf(bytes.subarray(at, at + blockBytes)));
    }
  }

  /** [offset, offset + length) reads as zero. */
  zeroed(offset: number, length: number): void {
    const { first, end } = this.#wholeBlocks(offset, length);
    if (first < end) this.cleared.push({ from: first, to: end });
  }

  /** Of these bytes; blocks that they are a part of are noted as such. */
  #wholeBlocks(offset: number, length: number): { readonly first: number; readonly end: number } {
    const first = Math.ceil(offset / blockBytes);
    const end = Math.floor((offset + length) / blockBytes);
    if (length > 0 && offset % blockBytes !== 0) this.partial.add(first - 1);
    if (length > 0 && (offset + length) % blockBytes !== 0) this.partial.add(end);
    return { first, end };
  }

  put(block: number, entry: number): void {
    if (this.#count === this.#keys.length) this.#grow();
    assert(this.#count < keyShift, 'a batch changes no more blocks than a table has nodes');
    this.#keys[this.#count] = block * keyShift + this.#count;
    this.#entries[this.#count] = entry;
    this.#count += 1;
  }

  /** Visits what was put, by block. */
  visit(visit: (block: number, entry: number) => void): void {
    const keys = this.#keys.subarray(0, this.#count).sort();
    for (let at = 0; at < this.#count; at += 1) {
      const key = keys[at] ?? 0;
      visit(Math.floor(key / keyShift), this.#entries[key % keyShift] ?? 0);
    }
  }

  #grow(): void {
    const keys = new Float64Array(this.#keys.length * 2);
    keys.set(this.#keys);
    const entries = new Uint32Array(keys.length);
    entries.set(this.#entries);
    this.#keys = keys;
    this.#entries = entries;
  }
}
