import type { Disk, DiskFile, FileRole } from '../../platform/disk.ts';

/** So many may wait for a device at once: the thread pool is there for syncs and hosts' reads too. */
const coldReadsMax = 2;

/** Reads of what the page cache does not have, a few at a time, first come, first served. */
export class ColdReads {
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  async read(
    file: DiskFile,
    bytes: Uint8Array,
    start: number,
    length: number,
    position: number,
  ): Promise<number> {
    if (this.#running >= coldReadsMax) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
    try {
      return await new Promise<number>((resolve, reject) => {
        file.read(bytes, start, length, position, (error, count) => {
          if (error) reject(error);
          else resolve(count);
        });
      });
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }
}

/** The files that a group's journal and volumes are read from; those used longest ago are closed. */
export class SourceFiles {
  readonly #disk: Disk;
  readonly #cold: ColdReads;
  readonly #filesMax: number;
  readonly #open = new Map<string, DiskFile>();
  #isClosed = false;

  constructor(disk: Disk, cold: ColdReads, filesMax = 64) {
    this.#disk = disk;
    this.#cold = cold;
    this.#filesMax = filesMax;
  }

  /** Throws system errors. */
  file(path: string, role: FileRole): DiskFile {
    if (this.#isClosed) throw new Error(`${path} is read no longer`);
    let file = this.#open.get(path);
    if (file) {
      this.#open.delete(path);
    } else {
      const [oldest] = this.#open;
      if (oldest && this.#open.size >= this.#filesMax) {
        this.#open.delete(oldest[0]);
        oldest[1].closeSync();
      }
      file = this.#disk.openSync(path, 'read', role);
    }
    this.#open.set(path, file);
    return file;
  }

  /** As many bytes as there are; from the page cache within the call where that has them. */
  async read(
    path: string,
    role: FileRole,
    bytes: Uint8Array,
    start: number,
    length: number,
    position: number,
  ): Promise<number> {
    const file = this.file(path, role);
    const count = file.readIfCachedSync(bytes, start, length, position);
    return count >= 0 ? count : this.#cold.read(file, bytes, start, length, position);
  }

  /** As `read`; -1 where that would have to wait. */
  readIfCached(
    path: string,
    role: FileRole,
    bytes: Uint8Array,
    start: number,
    length: number,
    position: number,
  ): number {
    return this.file(path, role).readIfCachedSync(bytes, start, length, position);
  }

  /** Another file may come to have this name. */
  forget(path: string): void {
    this.#open.get(path)?.closeSync();
    this.#open.delete(path);
  }

  close(): void {
    this.#isClosed = true;
    for (const file of this.#open.values()) file.closeSync();
    this.#open.clear();
  }
}
