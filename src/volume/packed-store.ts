import type { Disk, DiskFile } from '../platform/disk.ts';
import { blockBytes, MiB } from '../platform/limits.ts';
import { zeroes } from '../platform/zeroes.ts';
import { type BlockStore, contentsPath, placesPath } from './preserved-files.ts';
import { pieces, shortBytes } from './sparse-store.ts';

/** Of the file of places, for each block: its number, and where it is, in blocks; two numbers of 64 bits. */
export const placeBytes = 16;
/** In the place of one that was zero. */
export const noPlace = -1;
const stagedBytes = 1 * MiB;
const staged = new Uint8Array(stagedBytes);

/**
 * Blocks one behind the other in the order in which they came, and beside them which one is where. Written so,
 * scattered blocks cost no more than the reading: in a sparse file each of them is an extent of its own. What a crash
 * left behind the last place that counts is passed over, and takes space.
 */
export class PackedStore implements BlockStore {
  readonly #contents: DiskFile;
  readonly #places: DiskFile;
  /** Behind the last block that is in the file, and behind those that are staged. */
  #written: number;
  #next: number;
  #synced: number;
  #placesEnd: number;
  #entries: number[] = [];
  #bytes = 0;

  constructor(disk: Disk, directory: string, id: number) {
    this.#contents = disk.openSync(contentsPath(directory, id), 'open-or-create', 'volume');
    this.#places = disk.openSync(placesPath(directory, id), 'open-or-create', 'volume');
    this.#written = Math.ceil(this.#contents.sizeSync() / blockBytes);
    this.#next = this.#written;
    this.#synced = this.#written;
    this.#placesEnd = Math.ceil(this.#places.sizeSync() / placeBytes) * placeBytes;
  }

  copy(from: DiskFile, bounds: readonly number[]): void {
    this.#entries = [];
    this.#bytes = 0;
    this.#next = this.#written;
    const missing: number[] = [];
    for (let each = 0; each < bounds.length; each += 2) {
      const start = bounds[each] ?? 0;
      const end = bounds[each + 1] ?? 0;
      if (end - start <= shortBytes) this.#stage(from, start, end, missing);
      else this.#stagePieces(from, start, end, missing);
    }
    for (let each = 0; each < missing.length; each += 2)
      this.#stage(from, missing[each] ?? 0, missing[each + 1] ?? 0);
    this.#flush();
  }

  #stagePieces(from: DiskFile, start: number, end: number, missing: number[]): void {
    for (const { at, length, isHole } of pieces(from, start, end)) {
      if (isHole) this.#note(at, length, false);
      else this.#stage(from, at, at + length, missing);
    }
  }

  /**
   * A piece begins with a block; it ends with one, or where the volume does. What the device would have to be waited
   * for is asked of it and noted in `missing`, beginning and end: it reads many at once.
   */
  #stage(from: DiskFile, start: number, end: number, missing?: number[]): void {
    for (let at = start; at < end; ) {
      const length = Math.min(end - at, stagedBytes - this.#bytes, shortBytes);
      const whole = Math.ceil(length / blockBytes) * blockBytes;
      const read = missing
        ? from.readIfCachedSync(staged, this.#bytes, length, at)
        : from.readSync(staged, this.#bytes, length, at);
      if (read < 0) {
        from.adviseNeeded(at, length);
        missing?.push(at, at + length);
      } else {
        if (read < whole) staged.fill(0, this.#bytes + read, this.#bytes + whole);
        const isData = hasData(this.#bytes, whole);
        this.#note(at, length, isData);
        if (isData) this.#bytes += whole;
        if (this.#bytes === stagedBytes) this.#flush();
      }
      at += length;
    }
  }

  #note(start: number, length: number, isData: boolean): void {
    const first = Math.floor(start / blockBytes);
    const end = Math.ceil((start + length) / blockBytes);
    for (let block = first; block < end; block += 1) {
      this.#entries.push(block, isData ? this.#next : noPlace);
      if (isData) this.#next += 1;
    }
  }

  #flush(): void {
    if (this.#bytes === 0) return;
    const position = this.#written * blockBytes;
    this.#contents.writeSync(staged, 0, this.#bytes, position);
    // The device works while the next ones are read: a sync of them all at the end would have apply wait.
    this.#contents.beginWriteBackSync(position, this.#bytes);
    this.#written += this.#bytes / blockBytes;
    this.#bytes = 0;
  }

  sync(): void {
    const entries = Float64Array.from(this.#entries);
    this.#entries = [];
    const bytes = new Uint8Array(entries.buffer);
    this.#places.writeSync(bytes, 0, bytes.length, this.#placesEnd);
    this.#placesEnd += bytes.length;
    this.#contents.dataSyncSync();
    // Views read it later, if ever: what is saved next has the memory.
    this.#contents.adviseNotNeeded(
      this.#synced * blockBytes,
      (this.#written - this.#synced) * blockBytes,
    );
    this.#synced = this.#written;
    this.#places.dataSyncSync();
  }

  close(): void {
    this.#contents.closeSync();
    this.#places.closeSync();
  }
}

/** Whether anything staged there is not zero. Most data shows it in the first bytes, without a call. */
function hasData(start: number, length: number): boolean {
  for (let at = start; at < start + 8; at += 1) if (staged[at] !== 0) return true;
  const found = staged.subarray(start, start + length);
  return Buffer.compare(found, zeroes().subarray(0, length)) !== 0;
}
