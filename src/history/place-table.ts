/** Values are these, or the place and `placed`. */
const empty = 0;
const zeroed = 1;
const placed = 2;
const two32 = 2 ** 32;
/** Bit 31 of a value is bit 32 of the block. */
const highBit = 0x80000000;

/**
 * Which block of a volume is where in a file of packed blocks: 8 bytes for each, and as much again. Places are up
 * to 2^31 - 3, blocks up to 2^33 - 1.
 */
export class PlaceTable {
  #keys = new Uint32Array(64);
  #values = new Uint32Array(64);
  #count = 0;

  get bytes(): number {
    return this.#keys.length * 8;
  }

  /** Pairs of block and place, as the file of places has them; later ones count. A place below 0: zeroes. */
  add(entries: Float64Array): void {
    for (let at = 0; at + 1 < entries.length; at += 2) {
      const place = entries[at + 1] ?? 0;
      this.#set(entries[at] ?? 0, place < 0 ? zeroed : place + placed);
    }
  }

  /** -1: the block is zeroes. Undefined: it is not there. */
  find(block: number): number | undefined {
    const slot = this.#slot(this.#keys, this.#values, block);
    const value = (this.#values[slot] ?? empty) & ~highBit;
    if (value === empty) return undefined;
    return value === zeroed ? -1 : value - placed;
  }

  #set(block: number, value: number): void {
    if ((this.#count + 1) * 2 > this.#keys.length) this.#grow();
    const slot = this.#slot(this.#keys, this.#values, block);
    if (this.#values[slot] === empty) this.#count += 1;
    this.#keys[slot] = block % two32;
    this.#values[slot] = ((block >= two32 ? highBit : 0) | value) >>> 0;
  }

  #slot(keys: Uint32Array, values: Uint32Array, block: number): number {
    const low = block % two32;
    const isHigh = block >= two32;
    const mask = keys.length - 1;
    for (let slot = (Math.imul(low, 0x9e3779b1) >>> 7) & mask; ; slot = (slot + 1) & mask) {
      if (values[slot] === empty) return slot;
      if (keys[slot] === low && (((values[slot] ?? 0) & highBit) !== 0) === isHigh) return slot;
    }
  }

  #grow(): void {
    const keys = new Uint32Array(this.#keys.length * 2);
    const values = new Uint32Array(keys.length);
    for (const [at, key] of this.#keys.entries()) {
      const value = this.#values[at] ?? empty;
      if (value === empty) continue;
      const block = key + ((value & highBit) !== 0 ? two32 : 0);
      const slot = this.#slot(keys, values, block);
      keys[slot] = key;
      values[slot] = value;
    }
    this.#keys = keys;
    this.#values = values;
  }
}
