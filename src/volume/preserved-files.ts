import type { Disk, DiskFile } from '../platform/disk.ts';

/** Of the bitmap, as it is read and written. */
const pageBytes = 4096;
const blocksPerPage = pageBytes * 8;

/** A volume as it was when preserving began: what lies behind its end then is not preserved. */
export interface PreservedVolume {
  readonly id: number;
  readonly sizeBytes: number;
  /** One bit for each block, as its file has them, in memory that others look at meanwhile (`openBits`). */
  readonly bits?: SharedArrayBuffer | undefined;
}

/** Blocks [from, to). */
type Run = [from: number, to: number];

export function contentsPath(directory: string, id: number): string {
  return `${directory}/${String(id).padStart(4, '0')}.blocks`;
}

/** Of blocks that are packed: which one is where. */
export function placesPath(directory: string, id: number): string {
  return `${directory}/${String(id).padStart(4, '0')}.places`;
}

export function bitmapPath(directory: string, id: number): string {
  return `${directory}/${String(id).padStart(4, '0')}.bitmap`;
}

/** Where blocks go that are saved. */
export interface BlockStore {
  /**
   * Bytes of `from`: where each range begins, which is with a block, and behind it where it ends. What was copied
   * before and not synced counts no more. Throws system errors.
   */
  copy(from: DiskFile, bounds: readonly number[]): void;
  /** What was copied is on the device when it returns. */
  sync(): void;
  close(): void;
}

/** What one volume held, in a sparse file of its layout or packed, and of which blocks, in a bitmap. */
export class PreservedVolumeFiles {
  readonly #store: BlockStore;
  readonly #bitmap: DiskFile;
  readonly #sizeBytes: number;
  readonly #blockBytes: number;
  readonly #shared: SharedArrayBuffer | undefined;
  readonly #pages = new Map<number, Uint8Array>();
  /** Where each run of blocks begins, and behind it where it ends. */
  readonly #wanted: number[] = [];

  constructor(
    disk: Disk,
    directory: string,
    { id, sizeBytes, bits }: PreservedVolume,
    blockBytes: number,
    open: (directory: string, id: number, sizeBytes: number) => BlockStore,
  ) {
    this.#sizeBytes = sizeBytes;
    this.#blockBytes = blockBytes;
    this.#shared = bits;
    disk.makeDirectorySync(directory);
    this.#store = open(directory, id, sizeBytes);
    this.#bitmap = disk.openSync(bitmapPath(directory, id), 'open-or-create', 'volume');
    disk.syncDirectorySync(directory);
  }

  want(offset: number, length: number): void {
    const wanted = this.#wanted;
    const end = Math.ceil(Math.min(offset + length, this.#sizeBytes) / this.#blockBytes);
    for (let block = Math.floor(offset / this.#blockBytes); block < end; block += 1) {
      const lastFrom = wanted.at(-2) ?? -1;
      const lastTo = wanted.at(-1) ?? -1;
      if ((block >= lastFrom && block < lastTo) || this.#isSet(block)) continue;
      if (block === lastTo) wanted[wanted.length - 1] = block + 1;
      else wanted.push(block, block + 1);
    }
  }

  forget(): void {
    this.#wanted.length = 0;
  }

  get isWanting(): boolean {
    return this.#wanted.length > 0;
  }

  /** The last block ends where the volume does. */
  copy(from: DiskFile): void {
    const bounds = this.#wanted.map((block) => Math.min(block * this.#blockBytes, this.#sizeBytes));
    this.#store.copy(from, bounds);
  }

  syncContents(): void {
    this.#store.sync();
  }

  /** Their contents are on the device. What it returns syncs the bits; only then they count. */
  writeBits(): () => void {
    const changed = new Map<number, Uint8Array>();
    let index = -1;
    let page: Uint8Array = new Uint8Array();
    for (let each = 0; each < this.#wanted.length; each += 2) {
      const end = this.#wanted[each + 1] ?? 0;
      for (let block = this.#wanted[each] ?? 0; block < end; block += 1) {
        const bit = block % blocksPerPage;
        if (block - bit !== index * blocksPerPage) {
          index = (block - bit) / blocksPerPage;
          page = changed.get(index) ?? Uint8Array.from(this.#page(index));
          changed.set(index, page);
        }
        page[bit >> 3] = (page[bit >> 3] ?? 0) | (1 << (bit & 7));
      }
    }
    for (const [index, page] of changed) {
      this.#bitmap.writeSync(page, 0, pageBytes, index * pageBytes);
    }
    return () => {
      this.#bitmap.dataSyncSync();
      for (const [index, page] of changed) this.#setPage(index, page);
    };
  }

  /** Everything that is preserved, in order of address. */
  *runs(): Generator<Run> {
    const blocks = Math.ceil(this.#sizeBytes / this.#blockBytes);
    const end = Math.min(blocks, this.#bitmap.sizeSync() * 8);
    let from = -1;
    for (let block = 0; block < end; block += 1) {
      if (from < 0 && block % blocksPerPage === 0 && this.#isBlank(block / blocksPerPage)) {
        block += blocksPerPage - 1;
      } else if (this.#isSet(block)) {
        if (from < 0) from = block;
      } else if (from >= 0) {
        yield [from, block];
        from = -1;
      }
    }
    if (from >= 0) yield [from, end];
  }

  bytesOf([from, to]: Run): readonly [start: number, end: number] {
    const end = Math.min(to * this.#blockBytes, this.#sizeBytes);
    return [from * this.#blockBytes, end];
  }

  close(): void {
    this.#store.close();
    this.#bitmap.closeSync();
  }

  #isSet(block: number): boolean {
    const page = this.#page(Math.floor(block / blocksPerPage));
    const bit = block % blocksPerPage;
    return ((page[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
  }

  #isBlank(index: number): boolean {
    return this.#page(index).every((byte) => byte === 0);
  }

  #page(index: number): Uint8Array {
    const known = this.#pages.get(index);
    if (known) return known;
    const page = this.#shared
      ? new Uint8Array(this.#shared, index * pageBytes, pageBytes)
      : new Uint8Array(pageBytes);
    if (!this.#shared) this.#bitmap.readSync(page, 0, pageBytes, index * pageBytes);
    this.#pages.set(index, page);
    return page;
  }

  /** Who looks at shared bits sees them before anything of these blocks is overwritten. */
  #setPage(index: number, page: Uint8Array): void {
    if (!this.#shared) {
      this.#pages.set(index, page);
      return;
    }
    const shared = this.#page(index);
    shared.set(page);
    Atomics.or(shared, 0, 0);
  }
}

/**
 * The bits of blocks that are preserved of a volume, as its file in `directory` has them, in memory for whoever
 * preserves and whoever reads. Memory without a bit takes none. Throws system errors.
 */
export function openBits(
  disk: Disk,
  directory: string,
  { id, sizeBytes }: PreservedVolume,
  blockBytes: number,
): SharedArrayBuffer {
  const pages = Math.ceil(Math.ceil(sizeBytes / blockBytes) / blocksPerPage);
  const shared = new SharedArrayBuffer(pages * pageBytes);
  const path = bitmapPath(directory, id);
  if (!disk.existsSync(path)) return shared;
  const file = disk.openSync(path, 'read', 'volume');
  try {
    const end = Math.min(file.sizeSync(), shared.byteLength);
    for (let at = file.nextDataSync(0); at < end; at = file.nextDataSync(at)) {
      at -= at % pageBytes;
      const length = Math.min(pageBytes, end - at);
      const page = new Uint8Array(length);
      file.readSync(page, 0, length, at);
      new Uint8Array(shared, at, length).set(page);
      at += pageBytes;
    }
  } finally {
    file.closeSync();
  }
  return shared;
}
