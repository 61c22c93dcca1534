import type { Clock } from '../platform/clock.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { systemErrorCode } from '../platform/errors.ts';
import { blockBytes, KiB } from '../platform/limits.ts';
import { PackedStore } from './packed-store.ts';
import { SparseStore } from './sparse-store.ts';
import { bitmapPath, type PreservedVolume, PreservedVolumeFiles } from './preserved-files.ts';

export const preservedBlockBytes = 64 * KiB;

/** What is to be preserved, and where: a directory that is made when it is needed. */
export interface Preserving {
  readonly directory: string;
  readonly volumes: readonly PreservedVolume[];
  /** Blocks of 4 KiB, packed; otherwise of `preservedBlockBytes`, at their own offsets. */
  readonly isPacked?: boolean;
}

/**
 * What blocks of volumes held before they were overwritten, so that the volumes can be as they were (SAFETY
 * 30). Contents are on the device, then the bits that say so, and only then is anything overwritten. A
 * crash between the two leaves a block that is preserved again: it is still what it was.
 */
export class PreservedBlocks {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #isPacked: boolean;
  readonly #volumes: Map<number, PreservedVolume>;
  readonly #files = new Map<number, PreservedVolumeFiles>();
  #syncFailure: Error | undefined;

  constructor(disk: Disk, { directory, volumes, isPacked = false }: Preserving) {
    this.#disk = disk;
    this.#directory = directory;
    this.#isPacked = isPacked;
    this.#volumes = new Map(volumes.map((volume) => [volume.id, volume]));
  }

  get directory(): string {
    return this.#directory;
  }

  has(volume: number): boolean {
    return this.#volumes.has(volume);
  }

  /** Of volumes that are new, or larger than before: nothing was overwritten in what was not covered. */
  cover(volumes: readonly PreservedVolume[]): void {
    for (const volume of volumes) {
      this.#files.get(volume.id)?.close();
      this.#files.delete(volume.id);
      this.#volumes.set(volume.id, volume);
    }
  }

  /** These bytes are about to be overwritten. `keep` comes before. Throws system errors. */
  want(volume: number, offset: number, length: number): void {
    const preserved = this.#volumes.get(volume);
    if (!preserved || length === 0) return;
    let files = this.#files.get(volume);
    if (!files) {
      files = this.#open(preserved);
      this.#files.set(volume, files);
    }
    files.want(offset, length);
  }

  #open(volume: PreservedVolume): PreservedVolumeFiles {
    const disk = this.#disk;
    if (!this.#isPacked) return sparseFiles(disk, this.#directory, volume).files;
    const open = (directory: string, id: number): PackedStore =>
      new PackedStore(disk, directory, id);
    return new PreservedVolumeFiles(disk, this.#directory, volume, blockBytes, open);
  }

  /**
   * Preserves what is wanted and is not preserved yet: durable when it returns. `open` gives the volumes'
   * own files; one that is gone will not be overwritten. Throws system errors, and then nothing may be overwritten; after a sync that failed always.
   */
  keep(open: (volume: number) => DiskFile | undefined): void {
    const wanting = [...this.#files].filter(([, files]) => files.isWanting);
    if (wanting.length === 0) return;
    try {
      if (this.#syncFailure !== undefined) throw this.#syncFailure;
      for (const [volume, files] of wanting) {
        const file = open(volume);
        if (file) files.copy(file);
        else files.forget();
      }
      this.#sync(() => {
        for (const [, files] of wanting) files.syncContents();
      });
      const syncs = wanting.map(([, files]) => files.writeBits());
      this.#sync(() => {
        for (const sync of syncs) sync();
      });
    } finally {
      for (const [, files] of wanting) files.forget();
    }
  }

  close(): void {
    for (const files of this.#files.values()) files.close();
    this.#files.clear();
  }

  /** What is preserved is not needed any more. What cannot be removed takes space until the next start. */
  drop(): void {
    this.close();
    try {
      dropPreserved(this.#disk, this.#directory);
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
    }
  }

  /** A page cache can lie after it: what a later sync says is not believed (SAFETY 4). */
  #sync(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#syncFailure = error as Error;
      throw error;
    }
  }
}

function sparseFiles(
  disk: Disk,
  directory: string,
  volume: PreservedVolume,
): { readonly files: PreservedVolumeFiles; readonly store: SparseStore } {
  disk.makeDirectorySync(directory);
  const store = new SparseStore(disk, directory, volume.id, volume.sizeBytes);
  const open = (): SparseStore => store;
  const files = new PreservedVolumeFiles(disk, directory, volume, preservedBlockBytes, open);
  return { files, store };
}

/**
 * Makes the volumes what they were when preserving began; on the device when it resolves. Nobody else has
 * them open. After a crash it is done again from the start. Rejects with system errors.
 */
export async function putBack(
  { disk, clock }: { readonly disk: Disk; readonly clock: Clock },
  directory: string,
  volumes: readonly (PreservedVolume & { readonly path: string })[],
): Promise<void> {
  const yieldNow = (): Promise<void> => new Promise((resolve) => clock.soon(resolve));
  for (const volume of volumes) {
    // One that was missing is missed when the group is opened.
    if (!disk.existsSync(volume.path)) continue;
    const file = disk.openSync(volume.path, 'read-write', 'volume');
    try {
      if (file.sizeSync() !== volume.sizeBytes) file.truncateSync(volume.sizeBytes);
      if (disk.existsSync(bitmapPath(directory, volume.id))) {
        const { files, store } = sparseFiles(disk, directory, volume);
        try {
          for (const run of files.runs())
            for (const _ of store.restore(file, ...files.bytesOf(run))) await yieldNow();
        } finally {
          files.close();
        }
      }
      await new Promise<void>((resolve, reject) => {
        file.dataSync((error) => (error ? reject(error) : resolve()));
      });
    } finally {
      file.closeSync();
    }
  }
}

/** Removes all that is preserved. */
export function dropPreserved(disk: Disk, directory: string): void {
  if (!disk.isDirectorySync(directory)) return;
  for (const name of disk.listSync(directory)) disk.removeFileSync(`${directory}/${name}`);
  disk.syncDirectorySync(directory);
  disk.removeDirectorySync(directory);
}
