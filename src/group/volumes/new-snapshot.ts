import type { Disk } from '../../platform/disk.ts';
import { JnbdError } from '../../platform/errors.ts';
import { snapshotsPerGroupMax, volumesPerGroupMax } from '../../platform/limits.ts';
import { shownVolumes, Volume } from '../apply/volume.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { areaEntry, type CatalogSnapshot, type SnapshotChange } from '../catalog/snapshots.ts';
import type { Group } from '../order/group.ts';
import { makeBackingFile } from './volume-changes.ts';

/** Ids stand in 16 bits of a record. */
const volumeIdMax = 0xffff;

/**
 * A snapshot on its way: files of its areas are there, its record is still to be numbered. A crash before that is
 * durable leaves files that no volume names.
 */
export class NewSnapshot {
  readonly name: string;
  readonly change: SnapshotChange & { readonly change: 'snapshot_created' };
  readonly #group: Group;
  readonly #areas: Volume[] = [];
  /** Of its record; 0: it has none yet. */
  number = 0;

  /** In turn with other changes of the catalog. Throws JnbdError: state_refuses, volume_abnormal, disk_full, write_failed. */
  constructor(disk: Disk, group: Group, files: GroupFiles, name: string) {
    this.#group = group;
    this.name = name;
    const volumes = volumesToPreserve(group);
    const first = group.catalog.nextVolumeId;
    const areas = volumes.map((volume, at) => areaEntry(first + at, volume.catalog));
    try {
      for (const entry of areas) {
        const path = files.volume(entry.id);
        const file = makeBackingFile(disk, files, path, entry.sizeBytes);
        this.#areas.push(new Volume(entry, file, path));
      }
    } catch (error) {
      this.drop();
      throw error;
    }
    const atMilliseconds = group.clock.wallMilliseconds();
    this.change = { change: 'snapshot_created', snapshot: { name, atMilliseconds }, areas };
  }

  /** Its record is numbered in this turn: what is numbered behind it preserves what it replaces. */
  numbering(): void {
    const { snapshots, watermarks } = this.#group;
    // Apply is to know of them before it may be given what is preserved in them.
    for (const area of this.#areas) this.#group.addVolume(area);
    this.number = watermarks.newest + 1;
    snapshots.changed(this.number, this.change);
  }

  /** It was not made. Once it is numbered only a restart tells whether it is there. */
  drop(): void {
    if (this.number === 0) for (const { file } of this.#areas) file?.closeSync();
  }

  /** As it is in the catalog. Throws JnbdError state_refuses. */
  found(): CatalogSnapshot {
    const { snapshots, name } = this.#group;
    const found = snapshots.list.find(({ number }) => number === this.number);
    if (found) return found;
    throw new JnbdError('state_refuses', `snapshot ${name}@${this.name} was deleted again`);
  }
}

/** Throws state_refuses, volume_abnormal. */
function volumesToPreserve(group: Group): Volume[] {
  const { name, role, failureText, catalog, snapshots } = group;
  const refuse = (why: string): never => {
    throw new JnbdError('state_refuses', `no snapshot of group ${name} can be made: ${why}`);
  };
  if (group.refusesWrites)
    refuse(`it is ${group.state === 'normal' ? role : group.state} here: ${failureText}`);
  const volumes = shownVolumes(group.volumes).filter(
    ({ catalog: { journalOnly, state } }) => !journalOnly && state === 'normal',
  );
  if (volumes.length === 0) refuse('it has no volume that stores anything');
  for (const { state, failure, catalog: entry } of volumes) {
    if (state === 'normal') continue;
    throw new JnbdError('volume_abnormal', `volume ${name}/${entry.name} is ${state}: ${failure}`);
  }
  if (snapshots.list.length >= snapshotsPerGroupMax)
    refuse(`it has ${snapshotsPerGroupMax} snapshots, which is the most; delete one`);
  if (catalog.volumes.length + volumes.length > volumesPerGroupMax)
    refuse(
      `volumes and what snapshots keep of them would be more than ${volumesPerGroupMax}; delete a snapshot`,
    );
  if (catalog.nextVolumeId + volumes.length > volumeIdMax)
    refuse(
      `it has had ${volumeIdMax} volumes and areas of snapshots, which is the most of one group`,
    );
  return volumes;
}
