import { PrivateStore } from '../../history/private-store.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError } from '../../platform/errors.ts';
import { contentsPath } from '../../volume/preserved-files.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { readSealedJson, writeSealedJson } from '../catalog/sealed-json.ts';

/** As it stands in the stage's file: written last, so that a directory without it is worth nothing. */
interface StageEntry {
  readonly formatVersion: 1;
  readonly plan: string;
  readonly to: number;
  readonly volumes: readonly StagedVolume[];
}

export interface StagedVolume {
  /** Of the volume. */
  readonly id: number;
  readonly dataBytes: number;
}

const entryFile = 'stage';

/**
 * What volumes are to hold where they hold something else, block by block, on this system alone. It is complete and
 * durable before the first of these blocks is written, so a rollback that has begun needs nothing else, whatever becomes
 * of the past that it was made of, and one that cannot be made has changed nothing.
 */
export class RollbackStage {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #entry: StageEntry;
  readonly #stores: ReadonlyMap<number, PrivateStore>;

  private constructor(
    disk: Disk,
    directory: string,
    entry: StageEntry,
    stores: ReadonlyMap<number, PrivateStore>,
  ) {
    this.#disk = disk;
    this.#directory = directory;
    this.#entry = entry;
    this.#stores = stores;
  }

  /** An empty one. Throws system errors, and then there is none. */
  static make(
    disk: Disk,
    clock: Clock,
    files: GroupFiles,
    plan: string,
    to: number,
    volumes: readonly StagedVolume[],
  ): RollbackStage {
    const directory = directoryOf(files, plan);
    const stores = new Map<number, PrivateStore>();
    try {
      // A life that ended while it made one may have left something.
      removeStage(disk, directory);
      disk.makeDirectorySync(directory);
      for (const { id, dataBytes } of volumes) {
        const path = contentsPath(directory, id);
        PrivateStore.make(disk, path, dataBytes);
        stores.set(id, PrivateStore.open(disk, clock, path, dataBytes));
      }
      disk.syncDirectorySync(directory);
    } catch (error) {
      for (const store of stores.values()) void store.close();
      removeStage(disk, directory);
      throw error;
    }
    return new RollbackStage(disk, directory, { formatVersion: 1, plan, to, volumes }, stores);
  }

  /** The one that was sealed for that plan; undefined: there is none. Throws JnbdError catalog_damaged, system errors. */
  static open(
    disk: Disk,
    clock: Clock,
    files: GroupFiles,
    plan: string,
  ): RollbackStage | undefined {
    const directory = directoryOf(files, plan);
    const entry = readSealedJson<StageEntry>(disk, `${directory}/${entryFile}`);
    if (!entry) return undefined;
    const stores = new Map<number, PrivateStore>();
    for (const { id, dataBytes } of entry.volumes)
      stores.set(id, PrivateStore.open(disk, clock, contentsPath(directory, id), dataBytes));
    return new RollbackStage(disk, directory, entry, stores);
  }

  get volumes(): readonly StagedVolume[] {
    return this.#entry.volumes;
  }

  store(volume: number): PrivateStore | undefined {
    return this.#stores.get(volume);
  }

  /** From now on it counts. Rejects with JnbdError write_failed, system errors. */
  async seal(): Promise<void> {
    for (const store of this.#stores.values()) {
      await store.settled();
      if (store.failure !== '') throw new JnbdError('write_failed', store.failure);
    }
    writeSealedJson(this.#disk, `${this.#directory}/${entryFile}`, this.#entry);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#stores.values()].map((store) => store.close()));
  }
}

function directoryOf(files: GroupFiles, plan: string): string {
  return `${files.rollbacks}/${plan}`;
}

/** All that are closed but that of a plan that stands, if it was sealed. Throws system errors. */
export function removeStages(disk: Disk, files: GroupFiles, plan?: string): void {
  const all = files.rollbacks;
  if (!disk.isDirectorySync(all)) return;
  for (const name of disk.listSync(all)) {
    const isWanted = name === plan && disk.existsSync(`${all}/${name}/${entryFile}`);
    if (!isWanted) removeStage(disk, `${all}/${name}`);
  }
  if (disk.listSync(all).length === 0) disk.removeDirectorySync(all);
}

/** The entry goes first, so that a crash leaves no stage without its contents. */
function removeStage(disk: Disk, directory: string): void {
  if (!disk.isDirectorySync(directory)) return;
  const entry = `${directory}/${entryFile}`;
  if (disk.existsSync(entry)) {
    disk.removeFileSync(entry);
    disk.syncDirectorySync(directory);
  }
  for (const name of disk.listSync(directory)) disk.removeFileSync(`${directory}/${name}`);
  disk.removeDirectorySync(directory);
}
