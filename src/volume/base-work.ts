import type { Disk, DiskFile } from '../platform/disk.ts';
import { messageOf, systemErrorCode } from '../platform/errors.ts';
import { ApplyError, asApplyError, guard } from './apply-error.ts';
import type { ApplyVolume, FromApply } from './apply-messages.ts';
import { PreservedBlocks, type Preserving } from './preserved-blocks.ts';
import type { PreservedVolume } from './preserved-files.ts';

/** In the directory of a base: which update it is of. A directory without it is not a base. */
export function basePath(directory: string): string {
  return `${directory}/base`;
}

/**
 * What apply does for the history of a group (SAFETY 30): before it overwrites blocks of a volume for the first time
 * since the newest base began, it saves them there. Blocks of areas are written once, and need no saving.
 */
export class BaseWork {
  readonly #disk: Disk;
  #newest: PreservedBlocks | undefined;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** There is a base that blocks are saved in. */
  get isOn(): boolean {
    return this.#newest !== undefined;
  }

  open(base: Preserving | undefined): void {
    if (base) this.#newest = new PreservedBlocks(this.#disk, base);
  }

  /** Durable when it returns. A crash before that leaves a directory that is no base, and the one before goes on. */
  begin(base: Preserving, contents: Uint8Array): FromApply {
    const { directory } = base;
    try {
      // What stands there was never a base.
      removeBase(this.#disk, directory);
      this.#disk.makeDirectorySync(directory);
      this.#disk.replaceFileSync(basePath(directory), contents, 'catalog');
    } catch (error) {
      return { kind: 'base_begun', failure: textOf(error) };
    }
    this.#newest?.close();
    this.#newest = new PreservedBlocks(this.#disk, base);
    return { kind: 'base_begun', failure: undefined };
  }

  cover(volumes: readonly PreservedVolume[]): void {
    this.#newest?.cover(volumes);
  }

  /** In this order, so that a crash leaves the newest ones: without those behind it a base is worth nothing. */
  drop(directories: readonly string[]): FromApply {
    try {
      for (const directory of directories) {
        const isNewest = this.#newest?.directory === directory;
        if (isNewest) this.#newest?.close();
        removeBase(this.#disk, directory);
        // Where it may still be there nothing is overwritten without it.
        if (isNewest) this.#newest = undefined;
      }
    } catch (error) {
      return { kind: 'bases_dropped', failure: textOf(error) };
    }
    return { kind: 'bases_dropped', failure: undefined };
  }

  /** These bytes are about to be overwritten. `keep` comes before. */
  want({ id, areaDataBytes }: ApplyVolume, offset: number, length: number): void {
    const newest = this.#newest;
    if (!newest || areaDataBytes !== undefined) return;
    try {
      if (!newest.has(id)) throw new Error(`volume ${id} is not in the newest base`);
      newest.want(id, offset, length);
    } catch (error) {
      throw asApplyError('history', id, error);
    }
  }

  /** What is wanted is saved, on the device, when it returns. */
  keep(open: (volume: number) => DiskFile | undefined): void {
    guard('history', undefined, () => this.#newest?.keep(open));
  }

  close(): void {
    this.#newest?.close();
  }
}

/** First it is no base any more, durably. */
export function removeBase(disk: Disk, directory: string): void {
  if (!disk.isDirectorySync(directory)) return;
  if (disk.existsSync(basePath(directory))) {
    disk.removeFileSync(basePath(directory));
    disk.syncDirectorySync(directory);
  }
  for (const name of disk.listSync(directory)) disk.removeFileSync(`${directory}/${name}`);
  disk.syncDirectorySync(directory);
  disk.removeDirectorySync(directory);
}

function textOf(error: unknown): string {
  if (systemErrorCode(error) === undefined && !(error instanceof ApplyError)) throw error;
  return messageOf(error);
}
