import { assert } from '../../platform/assert.ts';
import { MiB } from '../../platform/limits.ts';

const entriesMax = 4096;
const mask = entriesMax - 1;
const bytesMax = 64 * MiB;
/** So much of the journal may wait at most: what says that nobody is waited for any more has room beside it. */
const capacityShare = 4;

/**
 * Updates that are not answerable yet, in the order of their numbers: reads that overlap one would show it,
 * and wait with it (SAFETY 24). A ring of plain arrays; hosts wait while it is full (invariant 8).
 */
export class HeldUpdates {
  // Where nobody is ever waited for they take no room.
  #numbers = new Float64Array(0);
  #offsets = new Float64Array(0);
  #lengths = new Float64Array(0);
  #bytes = new Float64Array(0);
  #volumes = new Uint16Array(0);
  #head = 0;
  #count = 0;
  #heldBytes = 0;

  get count(): number {
    return this.#count;
  }

  /** What updates up to this number change is not known here: they were found in the journal, or are too many. */
  unknownThrough = 0;

  /** Whether an update of so many bytes in the journal may join. A single one always may. */
  admits(bytes: number, journalCapacityBytes: number): boolean {
    if (this.#count === 0) return true;
    if (this.#count === entriesMax) return false;
    return this.#heldBytes + bytes <= Math.min(bytesMax, journalCapacityBytes / capacityShare);
  }

  add(number: number, volume: number, offset: number, length: number, bytes: number): void {
    assert(this.#count < entriesMax, 'held updates are admitted before they are numbered');
    if (this.#numbers.length === 0) this.#allocate();
    const at = (this.#head + this.#count) & mask;
    this.#numbers[at] = number;
    this.#volumes[at] = volume;
    this.#offsets[at] = offset;
    this.#lengths[at] = length;
    this.#bytes[at] = bytes;
    this.#heldBytes += bytes;
    this.#count += 1;
  }

  #allocate(): void {
    this.#numbers = new Float64Array(entriesMax);
    this.#offsets = new Float64Array(entriesMax);
    this.#lengths = new Float64Array(entriesMax);
    this.#bytes = new Float64Array(entriesMax);
    this.#volumes = new Uint16Array(entriesMax);
  }

  releaseThrough(answerable: number): void {
    if (answerable >= this.unknownThrough) this.unknownThrough = 0;
    while (this.#count > 0 && (this.#numbers[this.#head] ?? 0) <= answerable) {
      this.#heldBytes -= this.#bytes[this.#head] ?? 0;
      this.#head = (this.#head + 1) & mask;
      this.#count -= 1;
    }
  }

  overlaps(volume: number, offset: number, length: number): boolean {
    if (this.unknownThrough > 0) return true;
    const end = offset + length;
    for (let i = 0; i < this.#count; i += 1) {
      const at = (this.#head + i) & mask;
      if (this.#volumes[at] !== volume) continue;
      const start = this.#offsets[at] ?? 0;
      if (start < end && offset < start + (this.#lengths[at] ?? 0)) return true;
    }
    return false;
  }
}
