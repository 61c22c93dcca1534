import { assert, must } from '../../src/platform/assert.ts';

export const pageBytes = 4096;
const chunkPages = 256;
const slabPages = 256;

/** Pages are taken and given back all the time: more cheaply here than by the garbage collector. */
class PagePool {
  readonly #free: Uint8Array[] = [];

  take(): Uint8Array {
    const page = this.#free.pop();
    if (page !== undefined) return page;
    const slab = new Uint8Array(slabPages * pageBytes);
    for (let at = 1; at < slabPages; at++) {
      this.#free.push(slab.subarray(at * pageBytes, (at + 1) * pageBytes));
    }
    return slab.subarray(0, pageBytes);
  }

  giveBack(page: Uint8Array): void {
    this.#free.push(page);
  }
}

const pool = new PagePool();
const emptyPages = Array.from<undefined, Uint8Array | undefined>(
  { length: chunkPages },
  () => undefined,
);

interface Chunk {
  /** `undefined` reads as zero. */
  readonly pages: (Uint8Array | undefined)[];
  /** 1: space is reserved though nothing was written. 0 where there is a page. */
  readonly reserved: Uint8Array;
}

/**
 * Sparse contents of a file. Two images of one file (what the cache shows, what the device holds)
 * share the pages in which they agree: a page that the `other` has too is copied before it is changed
 * and never given back.
 */
export class SparseImage {
  sizeBytes = 0;
  /** Pages with contents or reserved. */
  allocatedPages = 0;
  readonly #chunks = new Map<number, Chunk>();
  #other: SparseImage = this;

  /** The two images are of one file. */
  static pair(): readonly [SparseImage, SparseImage] {
    const left = new SparseImage();
    const right = new SparseImage();
    left.#other = right;
    right.#other = left;
    return [left, right];
  }

  page(index: number): Uint8Array | undefined {
    return this.#chunks.get(Math.floor(index / chunkPages))?.pages[index % chunkPages];
  }

  isAllocated(index: number): boolean {
    const chunk = this.#chunks.get(Math.floor(index / chunkPages));
    if (chunk === undefined) return false;
    const at = index % chunkPages;
    return chunk.pages[at] !== undefined || chunk.reserved[at] === 1;
  }

  #chunk(index: number): Chunk {
    const number = Math.floor(index / chunkPages);
    let chunk = this.#chunks.get(number);
    if (chunk === undefined) {
      chunk = {
        pages: emptyPages.slice(),
        reserved: new Uint8Array(chunkPages),
      };
      this.#chunks.set(number, chunk);
    }
    return chunk;
  }

  /** A page of this image alone, to be changed; all of it where `isOverwritten`. */
  #ownPage(index: number, isOverwritten: boolean): Uint8Array {
    const chunk = this.#chunk(index);
    const at = index % chunkPages;
    const page = chunk.pages[at];
    if (page !== undefined && this.#other.page(index) !== page) return page;
    const fresh = pool.take();
    if (page === undefined) {
      if (chunk.reserved[at] === 0) this.allocatedPages++;
      chunk.reserved[at] = 0;
      if (!isOverwritten) fresh.fill(0);
    } else if (!isOverwritten) {
      fresh.set(page);
    }
    chunk.pages[at] = fresh;
    return fresh;
  }

  /** Reads up to the end of the file. */
  read(bytes: Uint8Array, start: number, length: number, position: number): number {
    const count = Math.max(0, Math.min(length, this.sizeBytes - position));
    for (let done = 0; done < count; ) {
      const at = (position + done) % pageBytes;
      const index = Math.floor((position + done) / pageBytes);
      const page = this.page(index);
      const to = start + done;
      if (page === undefined) {
        const end = this.#emptyUntil(index, Math.ceil((position + count) / pageBytes));
        const part = Math.min(end * pageBytes - position, count) - done;
        bytes.fill(0, to, to + part);
        done += part;
      } else {
        const part = Math.min(pageBytes - at, count - done);
        bytes.set(part === pageBytes ? page : page.subarray(at, at + part), to);
        done += part;
      }
    }
    return count;
  }

  /** The page with contents that comes next after `index`, `end` at most. */
  #emptyUntil(index: number, end: number): number {
    let at = index + 1;
    while (at < end) {
      const pages = this.#chunks.get(Math.floor(at / chunkPages))?.pages;
      if (pages === undefined) at = (Math.floor(at / chunkPages) + 1) * chunkPages;
      else if (pages[at % chunkPages] === undefined) at++;
      else return at;
    }
    return Math.min(at, end);
  }

  /** Changes contents; the size is the caller's business. */
  write(bytes: Uint8Array, start: number, length: number, position: number): void {
    for (let done = 0; done < length; ) {
      const at = (position + done) % pageBytes;
      const part = Math.min(pageBytes - at, length - done);
      const page = this.#ownPage(Math.floor((position + done) / pageBytes), part === pageBytes);
      page.set(bytes.subarray(start + done, start + done + part), at);
      done += part;
    }
  }

  /** The range reads as zero; the space of whole pages is given back. */
  punch(position: number, length: number): void {
    const end = position + length;
    this.#zeroEdges(position, end);
    const last = Math.floor(end / pageBytes);
    this.forEachPage(Math.ceil(position / pageBytes), last, (index) => this.#drop(index));
  }

  /** The range reads as zero and its space is reserved. */
  zero(position: number, length: number): void {
    this.punch(position, length);
    this.preallocate(position, length);
  }

  preallocate(position: number, length: number): void {
    const end = Math.ceil((position + length) / pageBytes);
    for (let index = Math.floor(position / pageBytes); index < end; ) {
      const { pages, reserved } = this.#chunk(index);
      const chunkEnd = Math.min(end, (Math.floor(index / chunkPages) + 1) * chunkPages);
      for (; index < chunkEnd; index++) {
        const at = index % chunkPages;
        if (pages[at] !== undefined || reserved[at] === 1) continue;
        reserved[at] = 1;
        this.allocatedPages++;
      }
    }
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes < this.sizeBytes) this.dropAfter(sizeBytes);
    this.sizeBytes = sizeBytes;
  }

  /** Nothing is left behind the offset. */
  dropAfter(position: number): void {
    const pageEnd = Math.ceil(position / pageBytes) * pageBytes;
    this.#zeroEdges(position, pageEnd);
    this.forEachPage(pageEnd / pageBytes, Number.POSITIVE_INFINITY, (index) => this.#drop(index));
  }

  /** Takes over the pages from `first` to before `end` as the other image has them. */
  share(first: number, end: number): void {
    if (end - first === 1) {
      this.#sharePage(this.#chunk(first), this.#other.#chunk(first), first % chunkPages);
      return;
    }
    for (const number of new Set([
      ...this.#chunksWithin(first, end),
      ...this.#other.#chunksWithin(first, end),
    ])) {
      const mine = this.#chunk(number * chunkPages);
      const theirs = this.#other.#chunk(number * chunkPages);
      const from = Math.max(first - number * chunkPages, 0);
      const to = Math.min(end - number * chunkPages, chunkPages);
      for (let at = from; at < to; at++) this.#sharePage(mine, theirs, at);
    }
  }

  #sharePage(mine: Chunk, theirs: Chunk, at: number): void {
    const page = mine.pages[at];
    const wasAllocated = page !== undefined || mine.reserved[at] === 1;
    const theirPage = theirs.pages[at];
    const theirReserved = theirs.reserved[at] ?? 0;
    if (page !== theirPage) {
      if (page !== undefined) pool.giveBack(page);
      mine.pages[at] = theirPage;
    }
    mine.reserved[at] = theirReserved;
    const isAllocated = theirPage !== undefined || theirReserved === 1;
    if (isAllocated !== wasAllocated) this.allocatedPages += isAllocated ? 1 : -1;
  }

  /** Changes a page where it is, for both images if they share it: what happens on a device. */
  flipBit(index: number, bit: number): void {
    const page = must(this.page(index), 'a page whose bit flips has contents');
    assert(bit >= 0 && bit < pageBytes * 8, 'the bit is in the page');
    const at = bit >> 3;
    page[at] = (page[at] ?? 0) ^ (1 << (bit & 7));
  }

  nextData(position: number): number {
    return this.#next(position, true);
  }

  nextHole(position: number): number {
    return this.#next(position, false);
  }

  /** Whether the pages from the one of `position` on are reserved or a hole, and where that ends. */
  reservedUntil(position: number, end: number): { isReserved: boolean; end: number } {
    let index = Math.floor(position / pageBytes);
    const isReserved = this.isAllocated(index);
    const last = Math.ceil(end / pageBytes);
    while (index < last && this.isAllocated(index) === isReserved) {
      const number = Math.floor(index / chunkPages);
      index = this.#chunks.has(number) ? index + 1 : (number + 1) * chunkPages;
    }
    return { isReserved, end: Math.min(end, index * pageBytes) };
  }

  #next(position: number, isData: boolean): number {
    let index = Math.floor(position / pageBytes);
    const end = Math.ceil(this.sizeBytes / pageBytes);
    while (index < end && (this.page(index) !== undefined) !== isData) {
      // A chunk that is not there is a hole as a whole.
      const number = Math.floor(index / chunkPages);
      index = this.#chunks.has(number) ? index + 1 : (number + 1) * chunkPages;
    }
    return Math.min(Math.max(position, index * pageBytes), this.sizeBytes);
  }

  /** The pages from `first` to before `end` of the chunks that are there. */
  forEachPage(first: number, end: number, visit: (index: number) => void): void {
    for (const number of this.#chunksWithin(first, end)) {
      const last = Math.min(end, (number + 1) * chunkPages);
      for (let index = Math.max(first, number * chunkPages); index < last; index++) visit(index);
    }
  }

  /** Numbers of the chunks that are there and hold pages from `first` to before `end`. */
  #chunksWithin(first: number, end: number): number[] {
    const firstChunk = Math.floor(first / chunkPages);
    const endChunk = Math.ceil(end / chunkPages);
    if (endChunk - firstChunk > this.#chunks.size) {
      return [...this.#chunks.keys()].filter((at) => at >= firstChunk && at < endChunk);
    }
    const found: number[] = [];
    for (let number = firstChunk; number < endChunk; number++) {
      if (this.#chunks.has(number)) found.push(number);
    }
    return found;
  }

  /** Pages with contents, for whoever wants to harm one. */
  pagesWithContents(): number[] {
    const found: number[] = [];
    this.forEachPage(0, Number.POSITIVE_INFINITY, (index) => {
      if (this.page(index) !== undefined) found.push(index);
    });
    return found;
  }

  #drop(index: number): void {
    const chunk = this.#chunk(index);
    const at = index % chunkPages;
    const page = chunk.pages[at];
    if (page !== undefined) {
      if (this.#other.page(index) !== page) pool.giveBack(page);
      chunk.pages[at] = undefined;
      this.allocatedPages--;
    } else if (chunk.reserved[at] === 1) {
      chunk.reserved[at] = 0;
      this.allocatedPages--;
    }
  }

  /** Zeroes what the range has of pages that it does not cover as a whole. */
  #zeroEdges(position: number, end: number): void {
    const firstWhole = Math.ceil(position / pageBytes) * pageBytes;
    const endWhole = Math.floor(end / pageBytes) * pageBytes;
    if (firstWhole > endWhole) {
      this.#zeroPart(position, end);
      return;
    }
    this.#zeroPart(position, firstWhole);
    this.#zeroPart(endWhole, end);
  }

  #zeroPart(position: number, end: number): void {
    if (position >= end) return;
    const index = Math.floor(position / pageBytes);
    if (this.page(index) === undefined) return;
    const base = index * pageBytes;
    this.#ownPage(index, false).fill(0, position - base, end - base);
  }
}
