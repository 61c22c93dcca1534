import type { Disk, DiskFile } from '../platform/disk.ts';
import { bitmapPath, contentsPath } from '../volume/preserved-files.ts';

const openFilesMax = 256;
/** Of a map of bits, as it is read. */
export const bitPageBytes = 4096;
export const blocksPerBitPage = bitPageBytes * 8;

/** What bases have of volumes, open as long as it is used often. Nothing in it changes once its bit is set. */
export class BaseFiles {
  readonly #disk: Disk;
  readonly #files = new Map<string, DiskFile>();

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** Blocks of the volume at their own offsets. Throws system errors. */
  contents(directory: string, volume: number): DiskFile {
    const path = contentsPath(directory, volume);
    const known = this.#files.get(path);
    if (known) {
      this.#files.delete(path);
      this.#files.set(path, known);
      return known;
    }
    if (this.#files.size >= openFilesMax) {
      const [oldest] = this.#files;
      oldest?.[1].closeSync();
      if (oldest) this.#files.delete(oldest[0]);
    }
    const file = this.#disk.openSync(path, 'read', 'volume');
    this.#files.set(path, file);
    return file;
  }

  /** Whether the base has anything of the volume. Throws system errors. */
  has(directory: string, volume: number): boolean {
    return this.#disk.existsSync(bitmapPath(directory, volume));
  }

  /** Which of the blocks of that page it has; `done` is called later. Throws system errors. */
  bits(
    directory: string,
    volume: number,
    page: number,
    done: (error: Error | null, bits: Uint8Array) => void,
  ): void {
    const file = this.#disk.openSync(bitmapPath(directory, volume), 'read', 'volume');
    const bits = new Uint8Array(bitPageBytes);
    file.read(bits, 0, bitPageBytes, page * bitPageBytes, (error) => {
      file.closeSync();
      done(error, bits);
    });
  }

  /** The base is dropped. */
  forget(directory: string): void {
    for (const [path, file] of this.#files) {
      if (!path.startsWith(`${directory}/`)) continue;
      file.closeSync();
      this.#files.delete(path);
    }
  }

  close(): void {
    for (const file of this.#files.values()) file.closeSync();
    this.#files.clear();
  }
}
