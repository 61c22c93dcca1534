import { must } from '../../src/platform/assert.ts';

export const sectorBytes = 512;

export type ChangeKind = 'write' | 'punch' | 'zero' | 'preallocate' | 'truncate';

/**
 * One change of a file. Of a write, position and length are whole sectors: a device writes no less,
 * and what else the sector holds goes with it. Of a truncation they are what it cut off.
 */
export interface Change {
  kind: ChangeKind;
  position: number;
  length: number;
  /** Where the contents of a write are in the log's bytes. */
  dataStart: number;
  sizeBefore: number;
  sizeAfter: number;
}

/** The changes of one file that may not be on the device yet, in their order. */
export class WriteLog {
  /** Objects are used again: only the first `count` stand for something. */
  readonly #changes: Change[] = [];
  #count = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #bytesUsed = 0;
  #firstNumber = 0;

  get count(): number {
    return this.#count;
  }

  /** Number of the next change; numbers go on over the whole life of the file. */
  get nextNumber(): number {
    return this.#firstNumber + this.#count;
  }

  get dataBytes(): number {
    return this.#bytesUsed;
  }

  /** Valid until the log changes. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Valid until the log changes. */
  change(index: number): Change {
    return must(this.#changes[index], 'the change is in the log');
  }

  /** How many of the changes come before that number. */
  countBefore(number: number): number {
    return Math.max(0, Math.min(this.#count, number - this.#firstNumber));
  }

  /** Adds a change; for a write, the caller then puts its contents at `dataStart` of `bytes`. */
  append(
    kind: ChangeKind,
    position: number,
    length: number,
    sizeBefore: number,
    sizeAfter: number,
  ): Change {
    let change = this.#changes[this.#count];
    if (change === undefined) {
      change = { kind, position, length, dataStart: 0, sizeBefore, sizeAfter };
      this.#changes.push(change);
    }
    change.kind = kind;
    change.position = position;
    change.length = length;
    change.dataStart = this.#bytesUsed;
    change.sizeBefore = sizeBefore;
    change.sizeAfter = sizeAfter;
    this.#count++;
    if (kind === 'write') this.#bytesUsed += length;
    if (this.#bytesUsed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(64 * 1024, 2 * this.#bytesUsed));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    return change;
  }

  /** Forgets the first `count` changes. */
  shift(count: number): void {
    this.#firstNumber += count;
    if (count === this.#count) {
      this.#count = 0;
      this.#bytesUsed = 0;
      return;
    }
    const dataStart = this.change(count).dataStart;
    this.#bytes.copyWithin(0, dataStart, this.#bytesUsed);
    this.#bytesUsed -= dataStart;
    for (const forgotten of this.#changes.splice(0, count)) this.#changes.push(forgotten);
    this.#count -= count;
    for (let at = 0; at < this.#count; at++) this.change(at).dataStart -= dataStart;
  }
}
