import type { Disk } from '../platform/disk.ts';
import { messageOf } from '../platform/errors.ts';
import type { CatalogChange, CatalogVolume } from './catalog.ts';
import type { Group } from './group.ts';
import type { GroupFiles } from './group-files.ts';
import { Volume } from './volume.ts';
import { makeBackingFile } from './volume-changes.ts';

/**
 * Changes of volumes that come as records from a group's source: they hold when they are durable here,
 * in their place among the writes, and files follow. A volume whose file cannot be made is abnormal:
 * its records stay in the journal.
 */
export class VolumeAdoption {
  readonly #disk: Disk;
  readonly #group: Group;
  readonly #files: GroupFiles;
  /** By id, changes under way included: records behind them count on it. */
  readonly #sizes = new Map<number, number>();

  constructor(disk: Disk, group: Group, files: GroupFiles) {
    this.#disk = disk;
    this.#group = group;
    this.#files = files;
    for (const { id, sizeBytes } of group.catalog.volumes) this.#sizes.set(id, sizeBytes);
  }

  /** Undefined: there is no such volume. */
  sizeBytes(volume: number): number | undefined {
    return this.#sizes.get(volume);
  }

  /** The record of this change was appended. */
  received(number: number, change: CatalogChange): void {
    const { changes, storing } = this.#group;
    if (change.change === 'volume_deleted') {
      this.#sizes.delete(change.id);
      changes.received(number, change, () => this.#deleted(change.id));
      return;
    }
    const { volume } = change;
    this.#sizes.set(volume.id, volume.sizeBytes);
    if (change.change === 'volume_changed') {
      changes.received(number, change, () => this.#changed(volume));
      return;
    }
    if (!volume.journalOnly) storing.add(volume.id);
    changes.received(number, change, () => this.#created(volume));
  }

  /** Also of a volume that was there when following began. */
  #created(entry: CatalogVolume): void {
    if (entry.journalOnly) {
      this.#group.addVolume(new Volume(entry, undefined, ''));
      return;
    }
    const path = this.#files.volume(entry.id);
    this.#attempt(entry, () => {
      const file = makeBackingFile(this.#disk, this.#files, path, entry.sizeBytes);
      this.#group.addVolume(new Volume(entry, file, path));
    });
  }

  #changed(entry: CatalogVolume): void {
    const volume = this.#find(entry.id);
    if (!volume) return;
    volume.catalog = entry;
    this.#attempt(entry, () => {
      if (volume.file && volume.file.sizeSync() < entry.sizeBytes) {
        volume.file.truncateSync(entry.sizeBytes);
        volume.file.dataSyncSync();
      }
    });
    if (volume.state !== 'abnormal' && volume.state !== entry.state) volume.become(entry.state);
  }

  #deleted(id: number): void {
    const volume = this.#find(id);
    if (!volume) return;
    const reason = `volume ${this.#group.name}/${volume.catalog.name} was deleted`;
    for (const session of volume.sessions) session.client.revoke(reason);
    this.#group.forgetVolume(volume);
  }

  #find(id: number): Volume | undefined {
    return [...this.#group.volumes.values()].find(({ catalog }) => catalog.id === id);
  }

  #attempt(entry: CatalogVolume, run: () => void): void {
    try {
      run();
    } catch (error) {
      const why = messageOf(error);
      const path = this.#files.volume(entry.id);
      const volume = this.#find(entry.id) ?? new Volume(entry, undefined, path);
      volume.become('abnormal', why);
      if (!this.#find(entry.id)) this.#group.addVolume(volume);
      this.#group.conditions.raise(`${this.#group.name}/${entry.name}`, {
        code: 'volume_failed',
        severity: 'error',
        message: `volume ${this.#group.name}/${entry.name}: ${why}`,
        nextCommand: `ls -l ${this.#files.volumes}`,
      });
    }
  }
}
