import type { ChecksumSum } from '../journal/point-record.ts';
import { assert } from '../platform/assert.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { blockBytes, KiB } from '../platform/limits.ts';
import { BlockSum, entryBytes, entryOf } from './block-checksums.ts';
import { ChecksumChanges } from './checksum-changes.ts';

/**
 * `building`: blocks before the frontier have their entries, those behind it none. `summing`: all have them, and
 * those before the frontier are in the sum. `complete`: all are.
 */
export type ChecksumFileState = 'building' | 'summing' | 'complete';

export const checksumFileTransitions: Record<ChecksumFileState, readonly ChecksumFileState[]> = {
  building: ['complete'],
  summing: ['complete'],
  complete: [],
};

const pageBytes = 4096;
const entriesPerPage = pageBytes / entryBytes;
/** Read at once, of the volume or of the entries. */
const pieceBytes = 256 * KiB;

/**
 * The checksums of one volume's blocks: a sparse file, and the sum over it. Each entry is of what its block
 * holds, whatever was there before: so doing a batch again after a crash makes the file right, and the sum is
 * always that of the file (SAFETY 31). Throws system errors, and then it is not to be used any more.
 */
export class ChecksumFile {
  readonly #disk: Disk;
  readonly #file: DiskFile;
  readonly #changes = new ChecksumChanges();
  readonly #sum = new BlockSum();
  readonly #page = Buffer.alloc(pageBytes);
  readonly #block = new Uint8Array(blockBytes);
  #pageAt = -1;
  #isPageChanged = false;
  #state: ChecksumFileState;
  /** A block; see the states. */
  #frontier = 0;
  #path: string;
  /** Something was written that no sync covers. */
  isDirty = false;

  /** The file is empty, or has an entry for every block. */
  constructor(disk: Disk, path: string, isKept: boolean) {
    this.#disk = disk;
    this.#path = path;
    this.#file = disk.openSync(path, 'open-or-create', 'checksums');
    this.#state = isKept ? 'summing' : 'building';
    // A crash may have left a part of a page.
    const size = isKept ? this.#file.sizeSync() : 0;
    this.#file.truncateSync(Math.ceil(size / pageBytes) * pageBytes);
  }

  get state(): ChecksumFileState {
    return this.#state;
  }
  /** Undefined: it is not known yet. */
  get sum(): ChecksumSum | undefined {
    return this.#state === 'complete' ? { low: this.#sum.low, high: this.#sum.high } : undefined;
  }
  get path(): string {
    return this.#path;
  }

  renameTo(path: string): void {
    this.#disk.renameSync(this.#path, path);
    this.#path = path;
  }

  /** Forgets what a batch left that failed. */
  begin(): void {
    this.#changes.clear();
  }

  /** `bytes[start, start + length)` were written at `offset` of the volume, or will be in the same batch. */
  written(bytes: Uint8Array, start: number, length: number, offset: number): void {
    this.#changes.written(bytes, start, length, offset);
  }

  zeroed(offset: number, length: number): void {
    this.#changes.zeroed(offset, length);
  }

  /** All of the batch is in the volume's file. */
  finish(volume: DiskFile): void {
    const changes = this.#changes;
    if (changes.isEmpty) return;
    this.isDirty = true;
    for (const { from, to } of changes.cleared) this.#clear(from, to);
    for (const block of changes.partial) changes.put(block, this.#read(volume, block));
    changes.visit(this.#set);
    this.#writePage();
    changes.clear();
  }

  /**
   * Goes on towards `complete`, reading so much at most of the volume, or of the entries. How many bytes were
   * read.
   */
  work(volume: DiskFile, bytesMax: number): number {
    let bytes = 0;
    while (this.#state !== 'complete' && bytes < bytesMax) {
      bytes += this.#state === 'building' ? this.#build(volume) : this.#addUp();
    }
    return bytes;
  }

  dataSync(done: (error: Error | null) => void): void {
    this.#file.dataSync(done);
  }

  close(): void {
    this.#file.closeSync();
  }

  #become(state: ChecksumFileState): void {
    assert(checksumFileTransitions[this.#state].includes(state), `${this.#state} -> ${state}`);
    this.#state = state;
  }

  /** What the block holds now; behind the end of a volume there is nothing but zeroes. */
  #read(volume: DiskFile, block: number): number {
    const read = volume.readSync(this.#block, 0, blockBytes, block * blockBytes);
    this.#block.fill(0, read);
    return entryOf(this.#block);
  }

  readonly #set = (block: number, entry: number): void => {
    if (this.#state === 'building' && block >= this.#frontier) return;
    this.#turnTo(Math.floor(block / entriesPerPage));
    const at = (block % entriesPerPage) * entryBytes;
    const before = this.#page.readUInt32LE(at);
    if (before === entry) return;
    this.#page.writeUInt32LE(entry, at);
    this.#isPageChanged = true;
    if (this.#isCounted(block)) this.#sum.change(block, before, entry);
  };

  #isCounted(block: number): boolean {
    return this.#state === 'complete' || block < this.#frontier;
  }

  #turnTo(page: number): void {
    if (this.#pageAt === page) return;
    this.#writePage();
    const read = this.#file.readSync(this.#page, 0, pageBytes, page * pageBytes);
    this.#page.fill(0, read);
    this.#pageAt = page;
  }

  /** No page is kept from one batch to the next. */
  #writePage(): void {
    if (this.#isPageChanged)
      this.#file.writeSync(this.#page, 0, pageBytes, this.#pageAt * pageBytes);
    this.#isPageChanged = false;
    this.#pageAt = -1;
  }

  /** Costs by the entries that are there, however many blocks are cleared. */
  #clear(from: number, to: number): void {
    const end = Math.min(to * entryBytes, this.#file.sizeSync());
    const start = from * entryBytes;
    if (start >= end) return;
    this.#visitEntries(start, end, (block, entry) => {
      if (this.#isCounted(block)) this.#sum.change(block, entry, 0);
    });
    this.#file.punchHoleSync(start, end - start);
  }

  /** Entries that are not 0, of those at [start, end) of the file. */
  #visitEntries(start: number, end: number, visit: (block: number, entry: number) => void): void {
    const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, end - start));
    for (let at = start; at < end; ) {
      const data = this.#file.nextDataSync(at);
      if (data < at || data >= end) return;
      at = data - (data % entryBytes);
      const length = Math.min(buffer.length, end - at);
      const read = this.#file.readSync(buffer, 0, length, at);
      for (let entry = 0; entry + entryBytes <= read; entry += entryBytes) {
        const value = buffer.readUInt32LE(entry);
        if (value !== 0) visit((at + entry) / entryBytes, value);
      }
      at += length;
    }
  }

  /** The next piece of the volume that has data; how much was read. */
  #build(volume: DiskFile): number {
    const size = volume.sizeSync();
    const from = this.#frontier * blockBytes;
    const data = from < size ? volume.nextDataSync(from) : size;
    if (data < from || data >= size) {
      this.#become('complete');
      return 0;
    }
    const first = Math.floor(data / blockBytes);
    const buffer = Buffer.alloc(pieceBytes);
    const read = volume.readSync(buffer, 0, pieceBytes, first * blockBytes);
    const blocks = Math.max(1, Math.ceil(read / blockBytes));
    // Before it the file has no entries, so that what it had once counts for nothing.
    this.#frontier = first + blocks;
    this.isDirty = true;
    for (let block = 0; block < blocks; block += 1) {
      const at = block * blockBytes;
      this.#set(first + block, entryOf(buffer.subarray(at, at + blockBytes)));
    }
    this.#writePage();
    return read;
  }

  #addUp(): number {
    const size = this.#file.sizeSync();
    const from = this.#frontier * entryBytes;
    const data = from < size ? this.#file.nextDataSync(from) : size;
    if (data < from || data >= size) {
      this.#become('complete');
      return 0;
    }
    const end = Math.min(size, data - (data % pageBytes) + pieceBytes);
    this.#visitEntries(Math.max(from, data - (data % pageBytes)), end, (block, entry) => {
      this.#sum.change(block, 0, entry);
    });
    this.#frontier = end / entryBytes;
    return end - from;
  }
}
