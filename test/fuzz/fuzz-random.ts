/** Chance from a seed: the same seed, the same draws, on every machine. */
export class FuzzRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** For one case of a run: knows nothing of the other cases, so that it can be repeated alone. */
  static forCase(seed: number, index: number): FuzzRandom {
    const mixed = new FuzzRandom(Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ index);
    mixed.uint32();
    return mixed;
  }

  uint32(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** From 0 to `count` - 1. */
  below(count: number): number {
    return this.uint32() % count;
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }

  bytes(count: number): Buffer {
    const bytes = Buffer.alloc(count);
    for (let at = 0; at < count; at++) bytes[at] = this.uint32();
    return bytes;
  }
}
