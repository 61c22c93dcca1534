import type { OpenBase } from '../../history/past-blocks.ts';
import type { Disk } from '../../platform/disk.ts';
import { blockBytes } from '../../platform/limits.ts';
import { bitmapPath, openBits, type PreservedVolume } from '../../volume/preserved-files.ts';

/** Which blocks of volumes the newest base has, in memory that the apply worker changes. */
export class BaseBits implements OpenBase {
  readonly directory: string;
  readonly #disk: Disk;
  readonly #bits = new Map<number, Uint8Array<SharedArrayBuffer>>();
  /** Of these the worker knows, and how large they were then. */
  readonly #covered = new Map<number, number>();

  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.directory = directory;
  }

  bits(volume: number): Uint8Array {
    return this.#bits.get(volume) ?? this.#load(volume, this.#sizeOnDisk(volume));
  }

  /**
   * Those that the worker does not know yet, or knows smaller than they are. Nothing is being applied: of what it
   * does not know nothing was overwritten.
   */
  cover(volumes: Iterable<{ readonly id: number; readonly sizeBytes: number }>): PreservedVolume[] {
    const fresh: PreservedVolume[] = [];
    for (const { id, sizeBytes } of volumes) {
      if ((this.#covered.get(id) ?? -1) >= sizeBytes) continue;
      const before = this.#bits.get(id);
      const bits = this.#load(id, Math.max(sizeBytes, this.#sizeOnDisk(id)));
      if (before) bits.set(before);
      this.#covered.set(id, sizeBytes);
      fresh.push({ id, sizeBytes, bits: bits.buffer });
    }
    return fresh;
  }

  #load(id: number, sizeBytes: number): Uint8Array<SharedArrayBuffer> {
    const shared = openBits(this.#disk, this.directory, { id, sizeBytes }, blockBytes);
    const bits = new Uint8Array(shared);
    this.#bits.set(id, bits);
    return bits;
  }

  /** How large a volume its bits are of, at least. */
  #sizeOnDisk(id: number): number {
    const path = bitmapPath(this.directory, id);
    if (!this.#disk.existsSync(path)) return 0;
    const file = this.#disk.openSync(path, 'read', 'volume');
    const bytes = file.sizeSync();
    file.closeSync();
    return bytes * 8 * blockBytes;
  }
}
