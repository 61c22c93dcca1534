import type { Disk, DiskFile } from '../platform/disk.ts';
import { MiB } from '../platform/limits.ts';
import { placeBytes } from '../volume/packed-store.ts';
import { bitmapPath, contentsPath, placesPath } from '../volume/preserved-files.ts';
import { PlaceTable } from './place-table.ts';

const openFilesMax = 256;
const tableBytesMax = 32 * MiB;
/** Of a map of bits, as it is read. */
export const bitPageBytes = 4096;
export const blocksPerBitPage = bitPageBytes * 8;

/** What is in memory of where blocks are, up to `end` of the file. */
interface OpenTable {
  readonly table: PlaceTable;
  end: number;
}

/** What bases have of volumes, in memory and open as long as it is used often. What is there does not change. */
export class BaseFiles {
  readonly #disk: Disk;
  readonly #files = new Map<string, DiskFile>();
  readonly #tables = new Map<string, OpenTable>();
  readonly #loading = new Map<string, ((error: Error | null) => void)[]>();
  /** How often bases were dropped. */
  #drops = 0;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** Blocks of the volume, packed. Throws system errors. */
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

  /** Where the block is in the contents; -1: it is zeroes. Undefined: `load` it first. */
  place(directory: string, volume: number, block: number): number | undefined {
    return this.#tables.get(placesPath(directory, volume))?.table.find(block);
  }

  /** Reads where blocks are, as far as the file goes; `done` is called later. Throws system errors. */
  load(directory: string, volume: number, done: (error: Error | null) => void): void {
    const path = placesPath(directory, volume);
    const waiting = this.#loading.get(path);
    if (waiting) {
      waiting.push(done);
      return;
    }
    const known = this.#tables.get(path) ?? { table: new PlaceTable(), end: 0 };
    const file = this.#disk.openSync(path, 'read', 'volume');
    const from = known.end;
    const drops = this.#drops;
    const size = file.sizeSync();
    const entries = new Float64Array(Math.max(0, Math.floor((size - from) / placeBytes) * 2));
    const all = [done];
    this.#loading.set(path, all);
    file.read(new Uint8Array(entries.buffer), 0, entries.byteLength, from, (error, count) => {
      file.closeSync();
      this.#loading.delete(path);
      if (!error && drops === this.#drops) {
        const whole = Math.floor(count / placeBytes);
        known.table.add(entries.subarray(0, whole * 2));
        known.end = from + whole * placeBytes;
        this.#keep(path, known);
      }
      for (const each of all) each(error);
    });
  }

  /** Those that were used last. */
  #keep(path: string, table: OpenTable): void {
    this.#tables.delete(path);
    this.#tables.set(path, table);
    let bytes = 0;
    for (const each of this.#tables.values()) bytes += each.table.bytes;
    for (const [other, each] of this.#tables) {
      if (bytes <= tableBytesMax || other === path) return;
      bytes -= each.table.bytes;
      this.#tables.delete(other);
    }
  }

  /** The base is dropped; another one may have its name. */
  forget(directory: string): void {
    this.#drops += 1;
    for (const [path, file] of this.#files) {
      if (!path.startsWith(`${directory}/`)) continue;
      file.closeSync();
      this.#files.delete(path);
    }
    for (const path of this.#tables.keys())
      if (path.startsWith(`${directory}/`)) this.#tables.delete(path);
  }

  close(): void {
    for (const file of this.#files.values()) file.closeSync();
    this.#files.clear();
    this.#tables.clear();
  }
}
