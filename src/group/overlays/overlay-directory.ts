import { PrivateStore } from '../../history/private-store.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { messageOf, systemErrorCode } from '../../platform/errors.ts';
import { contentsPath } from '../../volume/preserved-files.ts';
import { readSealedJson, writeSealedJson } from '../catalog/sealed-json.ts';
import { Overlay, OverlayVolume, type OverlayVolumeEntry } from './overlay.ts';

/** What is in an overlay's directory beside its stores. */
export interface OverlayEntry {
  readonly formatVersion: 1;
  readonly name: string;
  readonly volumes: readonly OverlayVolumeEntry[];
}

/**
 * Where the overlays of one kind of a group are: `NAME/ENTRY`, and a store for each volume. A directory without the
 * entry is none.
 */
export class OverlayDirectory<Entry extends OverlayEntry> {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #entryFile: string;
  /** Names of those that are being removed. */
  readonly #leaving = new Set<string>();

  constructor(disk: Disk, directory: string, entryFile: string) {
    this.#disk = disk;
    this.#directory = directory;
    this.#entryFile = entryFile;
  }

  /** Those that are there; what a creation, or a deletion, left that did not end is removed. Throws JnbdError. */
  entries(): Entry[] {
    const disk = this.#disk;
    if (!disk.isDirectorySync(this.#directory)) return [];
    return disk.listSync(this.#directory).flatMap((name) => {
      const entry = readSealedJson<Entry>(disk, this.#entry(name));
      if (entry) return [entry];
      this.#removeDirectory(name);
      return [];
    });
  }

  isLeaving(name: string): boolean {
    return this.#leaving.has(name);
  }

  /** Empty stores, then the entry: from then on it is there. Throws system errors, and then nothing is. */
  make(entry: Entry, clock: Clock): Overlay {
    const disk = this.#disk;
    const directory = `${this.#directory}/${entry.name}`;
    try {
      // One that could not be removed.
      this.#removeFiles(entry.name);
      disk.makeDirectorySync(directory);
      for (const { id, dataBytes } of entry.volumes)
        PrivateStore.make(disk, this.#store(entry.name, id), dataBytes);
      disk.syncDirectorySync(directory);
      this.write(entry);
    } catch (error) {
      this.#removeFiles(entry.name);
      throw error;
    }
    return this.open(entry, clock);
  }

  /** Replaces what is told of it. Throws system errors. */
  write(entry: Entry): void {
    writeSealedJson(this.#disk, this.#entry(entry.name), entry);
  }

  /** Its stores; one that cannot be opened makes a failed overlay. */
  open({ name, volumes }: Entry, clock: Clock): Overlay {
    let failure = '';
    const opened = volumes.map((volume) => {
      const path = this.#store(name, volume.id);
      try {
        const store = PrivateStore.open(this.#disk, clock, path, volume.dataBytes);
        return new OverlayVolume(volume, store);
      } catch (error) {
        if (systemErrorCode(error) === undefined) throw error;
        failure = `${path} cannot be opened: ${messageOf(error)}`;
        return new OverlayVolume(volume, undefined);
      }
    });
    return new Overlay(name, opened, failure);
  }

  /**
   * What was written to it is gone when this resolves; its name is free then. `idle`: nothing goes on in it any more.
   * Rejects with system errors.
   */
  async remove(overlay: Overlay, idle?: Promise<unknown>): Promise<void> {
    this.#leaving.add(overlay.name);
    try {
      await idle;
      await overlay.close();
      this.#removeFiles(overlay.name);
    } finally {
      this.#leaving.delete(overlay.name);
    }
  }

  /** All of them, and the directory: of a group that is deleted. */
  removeAll(): void {
    if (!this.#disk.isDirectorySync(this.#directory)) return;
    for (const name of this.#disk.listSync(this.#directory)) this.#removeFiles(name);
    this.#disk.removeDirectorySync(this.#directory);
  }

  #entry(name: string): string {
    return `${this.#directory}/${name}/${this.#entryFile}`;
  }

  #store(name: string, volume: number): string {
    return contentsPath(`${this.#directory}/${name}`, volume);
  }

  /** The entry goes first, so that a crash leaves no overlay without its contents. */
  #removeFiles(name: string): void {
    const disk = this.#disk;
    const entry = this.#entry(name);
    if (disk.existsSync(entry)) {
      disk.removeFileSync(entry);
      disk.syncDirectorySync(`${this.#directory}/${name}`);
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
