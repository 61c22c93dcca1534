import type { ChecksumSum } from '../journal/point-record.ts';
import { crc32 } from '../platform/checksum.ts';
import { blockBytes } from '../platform/limits.ts';

/** Of one block, as FORMAT.md has it: 0 where the block holds zeroes, or nothing. */
export const entryBytes = 4;

const entryOfZeroes = crc32(new Uint8Array(blockBytes));

/** What stands for a whole block of `blockBytes`. */
export function entryOf(contents: Uint8Array): number {
  const checksum = crc32(contents);
  if (checksum === entryOfZeroes) return 0;
  return checksum === 0 ? 1 : checksum;
}

/**
 * The sum over all blocks of a volume, of 64 bits that are mixed from a block's number and its entry: two sums
 * modulo 2^32. So it depends on contents alone: not on the order in which they came, nor on what was there in
 * between (SAFETY 31).
 */
export class BlockSum implements ChecksumSum {
  #low = 0;
  #high = 0;

  get low(): number {
    return this.#low;
  }
  get high(): number {
    return this.#high;
  }

  /** Of the block, `before` goes and `after` comes. */
  change(block: number, before: number, after: number): void {
    if (before !== 0) {
      this.#low = (this.#low - mixLow(block, before)) >>> 0;
      this.#high = (this.#high - mixHigh(block, before)) >>> 0;
    }
    if (after !== 0) {
      this.#low = (this.#low + mixLow(block, after)) >>> 0;
      this.#high = (this.#high + mixHigh(block, after)) >>> 0;
    }
  }
}

/** As the end of MurmurHash3 mixes 32 bits; the constants are part of the format. */
function mix(value: number): number {
  let bits = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

const two32 = 2 ** 32;

function mixLow(block: number, entry: number): number {
  return mix(entry ^ Math.imul(block >>> 0, 0x9e3779b1) ^ Math.imul(block / two32, 0x27d4eb2f));
}

function mixHigh(block: number, entry: number): number {
  return mix(
    Math.imul(entry, 0x165667b1) ^ mix((block >>> 0) ^ Math.imul(block / two32, 0x2c1b3c6d)),
  );
}
