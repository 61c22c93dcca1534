import type { DiskFile } from '../platform/disk.ts';
import { areaBytes, blocksOf, blocksPerMapPage, mapStart } from '../volume/area-layout.ts';
import type { BlockIndex } from '../volume/block-index.ts';

export const mapPageBytes = blocksPerMapPage / 8;
const pageBytes = mapPageBytes;
const readBytes = 64 * pageBytes;

/**
 * Which blocks an area has, in memory: in its file, or in the journal on their way there. Pages without a
 * bit take no room, so it is at most a 32768th of what was written since the snapshot.
 */
export class PreservedMap {
  readonly blocks: number;
  readonly #pages = new Map<number, Uint8Array>();

  constructor(dataBytes: number) {
    this.blocks = blocksOf(dataBytes);
  }

  /**
   * In one turn, so that what leaves the index meanwhile is in the file already. From then on whoever numbers or
   * receives a record for the area tells it. Throws system errors.
   */
  static load(file: DiskFile, area: number, dataBytes: number, index: BlockIndex): PreservedMap {
    const map = PreservedMap.inFile(file, dataBytes);
    index.visitBlocks(area, (start, end) => map.set(start, end));
    return map;
  }

  /** What the file alone says. Throws system errors. */
  static inFile(file: DiskFile, dataBytes: number): PreservedMap {
    const map = new PreservedMap(dataBytes);
    map.#read(file, dataBytes);
    return map;
  }

  /** As it stands in a file, of blocks `index` * `blocksPerMapPage` on. */
  copyOfPage(index: number): Uint8Array {
    const page = this.#pages.get(index);
    return page ? Uint8Array.from(page) : new Uint8Array(pageBytes);
  }

  get bytes(): number {
    return this.#pages.size * pageBytes;
  }

  has(block: number): boolean {
    const page = this.#pages.get(Math.floor(block / blocksPerMapPage));
    const bit = block % blocksPerMapPage;
    return page !== undefined && ((page[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
  }

  /** Blocks [from, to); those behind the end of the area do not count. */
  set(from: number, to: number): void {
    const end = Math.min(to, this.blocks);
    for (let block = from; block < end; ) {
      const index = Math.floor(block / blocksPerMapPage);
      let page = this.#pages.get(index);
      if (!page) {
        page = new Uint8Array(pageBytes);
        this.#pages.set(index, page);
      }
      const stop = Math.min(end, (index + 1) * blocksPerMapPage);
      const first = block % blocksPerMapPage;
      setBits(page, first, first + stop - block);
      block = stop;
    }
  }

  /** Has from now on what the other one has. */
  addAll(other: PreservedMap): void {
    for (const index of other.#pages.keys()) {
      const end = Math.min((index + 1) * blocksPerMapPage, other.blocks);
      for (let block = index * blocksPerMapPage; block < end; ) {
        const start = other.next(true, block, end);
        block = other.next(false, start, end);
        this.set(start, block);
      }
    }
  }

  /** Blocks [from, to), of which the other one does not say the same. Undefined: there are none. */
  differenceTo(other: PreservedMap): { readonly from: number; readonly to: number } | undefined {
    const none = new Uint8Array(pageBytes);
    const indexes = new Set([...this.#pages.keys(), ...other.#pages.keys()]);
    for (const index of [...indexes].sort((a, b) => a - b)) {
      const own = this.#pages.get(index) ?? none;
      const there = other.#pages.get(index) ?? none;
      const at = own.findIndex((byte, place) => byte !== there[place]);
      if (at < 0) continue;
      const from = index * blocksPerMapPage + at * 8;
      return { from, to: from + 8 };
    }
    return undefined;
  }

  /** The first block of [from, to) that it has, or has not; `to`: none. */
  next(isThere: boolean, from: number, to: number): number {
    for (let block = from; block < to; ) {
      const index = Math.floor(block / blocksPerMapPage);
      const stop = Math.min(to, (index + 1) * blocksPerMapPage);
      const page = this.#pages.get(index);
      if (!page && !isThere) return block;
      if (page) {
        const start = index * blocksPerMapPage;
        const at = start + nextInPage(page, isThere, block - start, stop - start);
        if (at < stop) return at;
      }
      block = stop;
    }
    return to;
  }

  #read(file: DiskFile, dataBytes: number): void {
    const start = mapStart(dataBytes);
    const end = Math.min(areaBytes(dataBytes), file.sizeSync());
    const bytes = new Uint8Array(Math.min(readBytes, Math.max(0, end - start)));
    for (let at = start; at < end; ) {
      const data = file.nextDataSync(at);
      if (data >= end) return;
      at = data - ((data - start) % pageBytes);
      const length = Math.min(bytes.length, end - at);
      const read = file.readSync(bytes, 0, length, at);
      for (let page = 0; page + pageBytes <= read; page += pageBytes) {
        const bits = bytes.subarray(page, page + pageBytes);
        if (bits.some((byte) => byte !== 0))
          this.#pages.set((at - start + page) / pageBytes, Uint8Array.from(bits));
      }
      at += length;
    }
  }
}

/** Bits [from, to) of one page. */
function setBits(page: Uint8Array, from: number, to: number): void {
  let bit = from;
  for (; bit < to && (bit & 7) !== 0; bit += 1) setBit(page, bit);
  const whole = Math.max(bit, to - (to % 8));
  page.fill(0xff, bit >> 3, whole >> 3);
  for (bit = whole; bit < to; bit += 1) setBit(page, bit);
}

function setBit(page: Uint8Array, bit: number): void {
  page[bit >> 3] = (page[bit >> 3] ?? 0) | (1 << (bit & 7));
}

/** Of bits [from, to) of one page; `to` or more: there is none. Most who ask, ask for the bits of one write. */
function nextInPage(page: Uint8Array, isThere: boolean, from: number, to: number): number {
  const whole = isThere ? 0 : 0xff;
  for (let bit = from; bit < to; ) {
    const byte = page[bit >> 3] ?? 0;
    if (byte === whole && (bit & 7) === 0) {
      bit += 8;
    } else {
      if (((byte >> (bit & 7)) & 1) === (isThere ? 1 : 0)) return bit;
      bit += 1;
    }
  }
  return to;
}
