import { must } from '../../src/platform/assert.ts';
import type { Random } from '../../src/platform/random.ts';

/** Pseudo-random numbers that a seed repeats (sfc32, of the PractRand collection). */
export class SimulatedRandom implements Random {
  readonly seed: string;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: string | number) {
    this.seed = String(seed);
    const hash = fnv1a(this.seed);
    this.#a = hash;
    this.#b = fnv1a(`${this.seed}/b`);
    this.#c = fnv1a(`${this.seed}/c`);
    for (let round = 0; round < 12; round++) this.next();
  }

  /** A stream of its own: what is drawn from it changes nothing for whoever draws from this one. */
  fork(name: string): SimulatedRandom {
    return new SimulatedRandom(`${this.seed}/${name}`);
  }

  /** An unsigned integer of 32 bits. */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** At least 0, less than 1. */
  fraction(): number {
    return this.next() / 2 ** 32;
  }

  /** An integer of at least 0 and less than `bound` (up to 2^53). */
  int(bound: number): number {
    if (bound <= 2 ** 32) return Math.floor(this.fraction() * bound);
    return (this.next() * 2 ** 21 + (this.next() >>> 11)) % bound;
  }

  /** An integer of at least `low` and at most `high`. */
  between(low: number, high: number): number {
    return low + this.int(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    return must(choices[this.int(choices.length)], 'there is something to pick from');
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    this.fill(bytes, 0, count);
    return bytes;
  }

  fill(bytes: Uint8Array, start: number, length: number): void {
    let word = 0;
    for (let at = 0; at < length; at++) {
      if ((at & 3) === 0) word = this.next();
      bytes[start + at] = word;
      word >>>= 8;
    }
  }
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return hash;
}
