import type { Disk } from '../platform/disk.ts';
import type { CatalogChange, CatalogVolume } from './catalog.ts';
import type { Group } from './group.ts';
import type { GroupFiles } from './group-files.ts';
import { Volume } from './volume.ts';
import { makeBackingFile } from './volume-changes.ts';

/**
 * Changes of volumes that come as records from a group's source: they hold when they are durable here,
 * in their place among the writes, and their files are as they say. Where a file cannot be made the
 * change waits, and so does everything behind it on its way to the volumes.
 */
export class VolumeAdoption {
  readonly #disk: Disk;
  readonly #group: Group;
  readonly #files: GroupFiles;
  readonly #handedOver: (systemId: number) => void;
  /** By id, changes under way included: records behind them count on it. */
  readonly #sizes = new Map<number, number>();

  /** `handedOver`: the group is that system's from now on. */
  constructor(disk: Disk, group: Group, files: GroupFiles, handedOver: (systemId: number) => void) {
    this.#handedOver = handedOver;
    this.#disk = disk;
    this.#group = group;
    this.#files = files;
    for (const { id, sizeBytes } of group.catalog.volumes) this.#sizes.set(id, sizeBytes);
  }

  /** Undefined: there is no such volume. */
  sizeBytes(volume: number): number | undefined {
    return this.#sizes.get(volume);
  }

  /** The record of this change was appended. The catalog that following began with may have it already. */
  received(number: number, change: CatalogChange): void {
    const { changes, storing, catalog } = this.#group;
    if (number <= catalog.number) return;
    if (change.change === 'handed_over') {
      changes.received(
        number,
        change,
        () => undefined,
        () => this.#handedOver(change.to),
      );
      return;
    }
    if (change.change === 'volume_deleted') {
      this.#sizes.delete(change.id);
      changes.received(
        number,
        change,
        () => undefined,
        () => this.#deleted(change.id),
      );
      return;
    }
    const { volume } = change;
    this.#sizes.set(volume.id, volume.sizeBytes);
    if (change.change === 'volume_changed') {
      changes.received(
        number,
        change,
        () => this.#grow(volume),
        () => this.#changed(volume),
      );
      return;
    }
    if (!volume.journalOnly) storing.add(volume.id);
    changes.received(
      number,
      change,
      () => this.#make(volume),
      () => this.#created(volume),
    );
  }

  /** Before the catalog names it: a file that is missing then is taken for lost. */
  #make({ id, sizeBytes, journalOnly }: CatalogVolume): void {
    if (journalOnly) return;
    makeBackingFile(this.#disk, this.#files, this.#files.volume(id), sizeBytes).closeSync();
  }

  #created(entry: CatalogVolume): void {
    const path = entry.journalOnly ? '' : this.#files.volume(entry.id);
    const file = entry.journalOnly ? undefined : this.#disk.openSync(path, 'read-write', 'volume');
    this.#group.addVolume(new Volume(entry, file, path));
  }

  #grow({ id, sizeBytes }: CatalogVolume): void {
    const file = this.#find(id)?.file;
    if (!file || file.sizeSync() >= sizeBytes) return;
    file.truncateSync(sizeBytes);
    file.dataSyncSync();
  }

  #changed(entry: CatalogVolume): void {
    const volume = this.#find(entry.id);
    if (!volume) return;
    volume.catalog = entry;
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
}
