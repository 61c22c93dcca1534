import type { Disk, DiskFile } from '../../platform/disk.ts';
import {
  type CatalogChange,
  type CatalogVolume,
  createdVolumes,
  deletedVolumes,
} from '../catalog/catalog.ts';
import type { RollbackChange } from '../catalog/rollback.ts';
import type { Group } from '../order/group.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { hideIncomplete } from '../order/open-volumes.ts';
import { describeRollbacks, rollbackText, Volume } from '../apply/volume.ts';
import { clearVolumeConditions, makeBackingFile } from './volume-changes.ts';

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
  /** By id, what changes under way make of it, 0 where it goes: records behind them count on it. */
  readonly #underWay = new Map<number, { readonly number: number; readonly sizeBytes: number }>();

  /** `handedOver`: the group is that system's from now on. */
  constructor(disk: Disk, group: Group, files: GroupFiles, handedOver: (systemId: number) => void) {
    this.#handedOver = handedOver;
    this.#disk = disk;
    this.#group = group;
    this.#files = files;
  }

  /** Undefined: there is no such volume. */
  sizeBytes(volume: number): number | undefined {
    const change = this.#underWay.get(volume);
    if (change) return change.sizeBytes === 0 ? undefined : change.sizeBytes;
    return this.#group.catalog.volumes.find(({ id }) => id === volume)?.sizeBytes;
  }

  /** The record of this change was appended. The catalog that following began with may have it already. */
  received(number: number, change: CatalogChange): void {
    const { changes, catalog } = this.#group;
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
    if (change.change === 'protection_changed') {
      changes.received(
        number,
        change,
        () => undefined,
        () => this.#group.synchronous.told(),
      );
      return;
    }
    if (change.change === 'rollback_begun' || change.change === 'rollback_ended') {
      this.#receivedRollback(number, change);
      return;
    }
    // From here on records are of the time of the snapshot, or of one that is without it.
    this.#group.snapshots.changed(number, change);
    if (change.change !== 'volume_changed') {
      this.#receivedWhole(number, change);
      return;
    }
    const { volume } = change;
    const { id, sizeBytes } = volume;
    this.#underWay.set(id, { number, sizeBytes });
    changes.received(
      number,
      change,
      () => this.#grow(volume),
      () => {
        this.#settled(id, number);
        this.#changed(volume);
      },
    );
  }

  /** Nobody reads here what is behind the record that begins it, before the one that ends it holds. */
  #receivedRollback(number: number, change: RollbackChange): void {
    const { changes, name } = this.#group;
    const begun = change.change === 'rollback_begun' ? change : undefined;
    for (const id of begun?.volumes ?? []) {
      const volume = this.#find(id);
      if (!volume) continue;
      volume.rollBackTo(begun?.to);
      const reason = rollbackText(name, volume) ?? '';
      for (const session of volume.sessions) session.client.revoke(reason);
    }
    const describe = (): void => {
      describeRollbacks(this.#group);
      this.#group.changed();
    };
    changes.received(number, change, () => undefined, describe);
  }

  /** Volumes come or go, several at once where it is a snapshot. */
  #receivedWhole(number: number, change: CatalogChange): void {
    const { changes, storing } = this.#group;
    const created = createdVolumes(change);
    const deleted = deletedVolumes(change);
    for (const { id, sizeBytes, journalOnly } of created) {
      this.#underWay.set(id, { number, sizeBytes });
      if (!journalOnly) storing.add(id);
    }
    for (const id of deleted) this.#underWay.set(id, { number, sizeBytes: 0 });
    const files = new Map<number, DiskFile | undefined>();
    changes.received(
      number,
      change,
      () => {
        for (const volume of created)
          if (!files.has(volume.id)) files.set(volume.id, this.#make(volume));
        for (const id of deleted) this.#keep(number, id);
      },
      () => {
        for (const volume of created) {
          this.#settled(volume.id, number);
          this.#created(volume, files.get(volume.id));
        }
        for (const id of deleted) {
          this.#settled(id, number);
          this.#deleted(id);
        }
        this.#snapshotChanged(change);
      },
    );
  }

  #snapshotChanged(change: CatalogChange): void {
    if (change.change === 'snapshot_deleted') {
      const reason = `a snapshot of group ${this.#group.name} was deleted`;
      for (const session of this.#group.snapshots.sessionsOf(change.number))
        session.client.revoke(reason);
    }
    // Who reads snapshots may have waited for the files.
    if (change.change === 'snapshot_created') this.#group.mayShowMore();
  }

  /** The catalog has it, unless a later change of the same volume is under way. */
  #settled(id: number, number: number): void {
    if (this.#underWay.get(id)?.number === number) this.#underWay.delete(id);
  }

  /** Before the catalog names it: a file that is missing then is taken for lost. */
  #make({ id, sizeBytes, journalOnly }: CatalogVolume): DiskFile | undefined {
    if (journalOnly) return undefined;
    return makeBackingFile(this.#disk, this.#files, this.#files.volume(id), sizeBytes);
  }

  #created(entry: CatalogVolume, file: DiskFile | undefined): void {
    const path = entry.journalOnly ? '' : this.#files.volume(entry.id);
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
    volume.describe(entry);
    if (volume.state !== 'abnormal' && volume.state !== entry.state) {
      volume.become(entry.state);
      hideIncomplete(this.#group);
    }
    this.#group.changed();
  }

  /** Before the catalog has lost it. One whose contents never came is worth nothing. */
  #keep(number: number, id: number): void {
    const { catalog, deleted } = this.#group;
    if (this.#find(id)?.state === 'normal') deleted.keep(catalog, id, number);
  }

  #deleted(id: number): void {
    const volume = this.#find(id);
    if (!volume) return;
    const reason = `volume ${this.#group.name}/${volume.catalog.name} was deleted`;
    for (const session of volume.sessions) session.client.revoke(reason);
    if (this.#group.deleted.has(id)) this.#group.deleted.hide(volume);
    else this.#group.forgetVolume(volume);
    clearVolumeConditions(this.#group, volume.catalog.name);
  }

  #find(id: number): Volume | undefined {
    return [...this.#group.volumes.values()].find(({ catalog }) => catalog.id === id);
  }
}
