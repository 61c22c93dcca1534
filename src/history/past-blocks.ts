import { must } from '../platform/assert.ts';
import type { DiskFile } from '../platform/disk.ts';
import { blockBytes } from '../platform/limits.ts';
import { type BaseFiles, blocksPerBitPage } from './base-files.ts';

/** The newest base, which blocks go on being saved in. */
export interface OpenBase {
  readonly directory: string;
  /** Which blocks of the volume it has, in memory that the apply worker changes. */
  bits(volume: number): Uint8Array;
}

/** Where blocks of a volume are that held the same since a base began. */
export interface PastPlace {
  file: DiskFile;
  /** Of the first block; below 0: they are zeroes. */
  position: number;
  /** It is the volume itself, which may be overwritten at any time: `isStill` is asked behind each read. */
  isLive: boolean;
  /** Behind the last block that is there, too. */
  end: number;
}

/** So many pages, each of 128 MiB of a volume, are in memory. */
const pagesMax = 64;
/** In the place of the number of a closed base. */
const openBase = 0xffffffff;

/**
 * What a volume held when a base began: a block is in the first base from that one on that has it, else in the
 * volume. For bases that are closed, that is merged into pages, read when they are first needed.
 */
export class PastBlocks {
  readonly #files: BaseFiles;
  readonly #volume: number;
  readonly #live: DiskFile;
  /** Directories of bases that nothing is added to any more. */
  readonly #closed: string[];
  #open: OpenBase;
  /** For each block, which of the closed bases has it, counted from 1; 0: none. Null: none has any. */
  readonly #pages = new Map<number, Uint32Array | null>();
  readonly #loading = new Map<number, ((error: Error | null) => void)[]>();

  constructor(
    files: BaseFiles,
    volume: { readonly id: number; readonly file: DiskFile },
    closed: readonly string[],
    open: OpenBase,
  ) {
    this.#files = files;
    this.#volume = volume.id;
    this.#live = volume.file;
    this.#closed = [...closed];
    this.#open = open;
  }

  get live(): DiskFile {
    return this.#live;
  }

  emptyPlace(): PastPlace {
    return { file: this.#live, position: 0, isLive: true, end: 0 };
  }

  /** Where `block` is, and which up to `end` are with it. False: `load` it first. Throws system errors. */
  find(block: number, end: number, place: PastPlace): boolean {
    const at = Math.floor(block / blocksPerBitPage);
    const page = this.#pages.get(at);
    if (page === undefined) return false;
    const start = at * blocksPerBitPage;
    const stop = Math.min(end, start + blocksPerBitPage);
    const bits = this.#open.bits(this.#volume);
    const baseOf = (each: number): number =>
      page?.[each - start] || (hasBit(bits, each) ? openBase : 0);
    const base = baseOf(block);
    let next = block + 1;
    if (base === 0) {
      while (next < stop && baseOf(next) === 0) next += 1;
      place.file = this.#live;
      place.position = block * blockBytes;
    } else {
      const directory = this.#directory(base);
      const first = this.#files.place(directory, this.#volume, block);
      if (first === undefined) return false;
      const step = first < 0 ? 0 : 1;
      for (let expected = first + step; next < stop && baseOf(next) === base; next += 1) {
        if (this.#files.place(directory, this.#volume, next) !== expected) break;
        expected += step;
      }
      place.file = this.#files.contents(directory, this.#volume);
      place.position = first * blockBytes;
    }
    place.isLive = base === 0;
    place.end = next;
    return true;
  }

  #directory(base: number): string {
    if (base === openBase) return this.#open.directory;
    return must(this.#closed[base - 1], 'a closed base');
  }

  /** Of blocks that were live, and were read since, in the same turn: whether that is what they held. */
  isStill(block: number, end: number): boolean {
    const bits = this.#open.bits(this.#volume);
    // What was read before this was read before a bit that is not seen here was set.
    if (bits.length > 0) Atomics.or(bits, 0, 0);
    for (let at = block; at < end; at += 1) if (hasBit(bits, at)) return false;
    return true;
  }

  /** What is known of the block can be looked at once `done` is called without an error: now, or later. */
  load(block: number, done: (error: Error | null) => void): void {
    const at = Math.floor(block / blocksPerBitPage);
    const page = this.#pages.get(at);
    if (page !== undefined) {
      const base = page?.[block - at * blocksPerBitPage] || openBase;
      this.#loadPlaces(block, this.#directory(base), done);
      return;
    }
    const waiting = this.#loading.get(at);
    if (waiting) {
      waiting.push(done);
      return;
    }
    this.#loading.set(at, [done]);
    this.#merge(at, 0, null);
  }

  /** `directory` is the base's that had the block when it was asked for: another one may have begun since. */
  #loadPlaces(
    block: number,
    directory: string,
    done: (error: Error | null) => void,
    isAgain = false,
  ): void {
    try {
      this.#files.load(directory, this.#volume, (error) => {
        const isKnown = this.#files.place(directory, this.#volume, block) !== undefined;
        const text = `${directory} does not say where block ${block} of volume ${this.#volume} is`;
        // That may have been on its way before the block was saved.
        if (error || isKnown || isAgain) done(error ?? (isKnown ? null : new Error(text)));
        else this.#loadPlaces(block, directory, done, true);
      });
    } catch (error) {
      done(error as Error);
    }
  }

  #merge(at: number, from: number, page: Uint32Array | null): void {
    try {
      for (let base = from; ; base += 1) {
        const directory = this.#closed[base];
        if (directory === undefined) break;
        if (!this.#files.has(directory, this.#volume)) continue;
        this.#files.bits(directory, this.#volume, at, (error, bits) => {
          if (error) this.#loaded(at, error);
          else this.#merge(at, base + 1, merged(page, bits, base + 1));
        });
        return;
      }
    } catch (error) {
      this.#loaded(at, error as Error);
      return;
    }
    const [oldest] = this.#pages.keys();
    if (this.#pages.size >= pagesMax && oldest !== undefined) this.#pages.delete(oldest);
    this.#pages.set(at, page);
    this.#loaded(at, null);
  }

  #loaded(at: number, error: Error | null): void {
    const waiting = this.#loading.get(at) ?? [];
    this.#loading.delete(at);
    for (const done of waiting) done(error);
  }

  /** Nothing is added to the newest base any more: another one began. */
  baseBegan(open: OpenBase): void {
    const bits = this.#open.bits(this.#volume);
    this.#closed.push(this.#open.directory);
    this.#open = open;
    for (const [at, page] of this.#pages) {
      const start = (at * blocksPerBitPage) / 8;
      const part = bits.subarray(start, start + blocksPerBitPage / 8);
      this.#pages.set(at, merged(page, part, this.#closed.length));
    }
  }

  close(): void {
    this.#live.closeSync();
  }
}

function hasBit(bits: Uint8Array, block: number): boolean {
  return ((bits[block >> 3] ?? 0) & (1 << (block & 7))) !== 0;
}

/** Blocks that no earlier base has, and this one. */
function merged(page: Uint32Array | null, bits: Uint8Array, base: number): Uint32Array | null {
  let into = page;
  for (const [index, byte] of bits.entries()) {
    if (byte === 0) continue;
    into ??= new Uint32Array(blocksPerBitPage);
    for (let bit = 0; bit < 8; bit += 1) {
      const block = index * 8 + bit;
      if ((byte & (1 << bit)) !== 0 && into[block] === 0) into[block] = base;
    }
  }
  return into;
}
