import { PrivateStore } from '../../history/private-store.ts';
import type { Disk } from '../../platform/disk.ts';
import { readSealedJson, writeSealedJson } from '../catalog/sealed-json.ts';

/** The volume of a clone, as it was when the clone was made. */
export interface CloneVolumeEntry {
  readonly id: number;
  readonly name: string;
  readonly dataBytes: number;
}

/** What is in a clone's directory beside its stores. */
export interface CloneEntry {
  readonly formatVersion: 1;
  readonly name: string;
  /** Numbers are used again behind a fork; time and name are not. */
  readonly snapshot: {
    readonly number: number;
    readonly name: string;
    readonly atMilliseconds: number;
  };
  readonly createdAtMilliseconds: number;
  readonly volumes: readonly CloneVolumeEntry[];
  /** Its stores have all blocks: the snapshot may be gone. */
  readonly isWhole?: true;
}

/** The entry: a directory without it is no clone. */
const entryFile = 'clone';

/** Where the clones of a group are: `NAME/clone`, and a store for each volume. */
export class CloneFiles {
  readonly #disk: Disk;
  readonly #directory: string;

  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  store(name: string, volume: number): string {
    return `${this.#directory}/${name}/${String(volume).padStart(4, '0')}.blocks`;
  }

  /** Those that are there; what a creation, or a deletion, left that did not end is removed. Throws JnbdError. */
  list(): CloneEntry[] {
    const disk = this.#disk;
    if (!disk.isDirectorySync(this.#directory)) return [];
    return disk.listSync(this.#directory).flatMap((name) => {
      const entry = readSealedJson<CloneEntry>(disk, `${this.#directory}/${name}/${entryFile}`);
      if (entry) return [entry];
      this.#removeDirectory(name);
      return [];
    });
  }

  /** Empty stores, then the entry: from then on it is there. Throws system errors, and then nothing is. */
  make(entry: CloneEntry): void {
    const disk = this.#disk;
    const directory = `${this.#directory}/${entry.name}`;
    try {
      disk.makeDirectorySync(directory);
      for (const { id, dataBytes } of entry.volumes)
        PrivateStore.make(disk, this.store(entry.name, id), dataBytes);
      disk.syncDirectorySync(directory);
      this.write(entry);
    } catch (error) {
      this.remove(entry.name);
      throw error;
    }
  }

  write(entry: CloneEntry): void {
    writeSealedJson(this.#disk, `${this.#directory}/${entry.name}/${entryFile}`, entry);
  }

  /** The entry goes first, so that a crash leaves no clone without its contents. */
  remove(name: string): void {
    const disk = this.#disk;
    const directory = `${this.#directory}/${name}`;
    const entry = `${directory}/${entryFile}`;
    if (disk.existsSync(entry)) {
      disk.removeFileSync(entry);
      disk.syncDirectorySync(directory);
    }
    this.#removeDirectory(name);
  }

  #removeDirectory(name: string): void {
    const disk = this.#disk;
    const directory = `${this.#directory}/${name}`;
    if (!disk.isDirectorySync(directory)) return;
    for (const file of disk.listSync(directory)) disk.removeFileSync(`${directory}/${file}`);
    disk.removeDirectorySync(directory);
    disk.syncDirectorySync(this.#directory);
  }
}

/** Of a group that is deleted. */
export function removeClones(disk: Disk, directory: string): void {
  if (!disk.isDirectorySync(directory)) return;
  const files = new CloneFiles(disk, directory);
  for (const name of disk.listSync(directory)) files.remove(name);
  disk.removeDirectorySync(directory);
}
