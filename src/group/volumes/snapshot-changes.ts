import type { Disk } from '../../platform/disk.ts';
import type { ScheduleRule } from '../../platform/schedule-text.ts';
import { JnbdError } from '../../platform/errors.ts';
import { snapshotsPerGroupMax, volumesPerGroupMax } from '../../platform/limits.ts';
import { shownVolumes, Volume } from '../apply/volume.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { checkName } from '../catalog/names.ts';
import { areaEntry, areasFreedBy, type CatalogSnapshot } from '../catalog/snapshots.ts';
import type { Group } from '../order/group.ts';
import { makeChange } from '../order/numbered-change.ts';
import { makeBackingFile } from './volume-changes.ts';

/** Ids stand in 16 bits of a record. */
const volumeIdMax = 0xffff;

/**
 * Makes a snapshot of all volumes of the group: files of its areas first, then the numbered record, which is its
 * instant: what is numbered behind it preserves what it replaces. A crash before the record is durable leaves files
 * that no volume names. Rejects with JnbdError: exists_differently, state_refuses, disk_full, write_failed.
 */
export async function createSnapshot(
  disk: Disk,
  group: Group,
  files: GroupFiles,
  name: string,
): Promise<{ readonly snapshot: CatalogSnapshot; readonly created: boolean }> {
  checkName('snapshot', name);
  return group.changes.inTurn(async () => {
    const existing = findSnapshot(group, name);
    if (existing) return { snapshot: existing, created: false };
    if (group.snapshots.clones.find(name))
      throw new JnbdError('exists_differently', `${group.name}@${name} is a writable clone`);
    const volumes = volumesToPreserve(group);
    const first = group.catalog.nextVolumeId;
    const entries = volumes.map((volume, at) => areaEntry(first + at, volume.catalog));
    const areas: Volume[] = [];
    const { snapshots } = group;
    let number = 0;
    try {
      for (const entry of entries) {
        const path = files.volume(entry.id);
        areas.push(new Volume(entry, makeBackingFile(disk, files, path, entry.sizeBytes), path));
      }
      const atMilliseconds = group.clock.wallMilliseconds();
      const snapshot = { name, atMilliseconds };
      const change = { change: 'snapshot_created', snapshot, areas: entries } as const;
      await makeChange(group, change, () => {
        // Apply is to know of them before it may be given what is preserved in them.
        for (const area of areas) group.addVolume(area);
        number = group.watermarks.newest + 1;
        snapshots.changed(number, change);
      });
    } catch (error) {
      // Once it is numbered only a restart tells whether it is there.
      if (number === 0) for (const { file } of areas) file?.closeSync();
      throw error;
    }
    const created = snapshots.list.find((snapshot) => snapshot.number === number);
    if (created) return { snapshot: created, created: true };
    throw new JnbdError('state_refuses', `snapshot ${group.name}@${name} was deleted again`);
  });
}

/** Of those that can be read. */
export function findSnapshot(group: Group, name: string): CatalogSnapshot | undefined {
  return group.snapshots.living.find((snapshot) => snapshot.name === name);
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

/** False: there was none of that name. Rejects with JnbdError: volume_in_use, state_refuses. */
export async function deleteSnapshot(group: Group, name: string): Promise<boolean> {
  return group.changes.inTurn(async () => {
    const { snapshots } = group;
    const snapshot = findSnapshot(group, name);
    if (!snapshot) return false;
    const { number } = snapshot;
    checkUnused(group, snapshot);
    const areas = areasFreedBy(snapshots.list, number);
    const change = { change: 'snapshot_deleted', number, areas } as const;
    await makeChange(group, change, () => {
      checkUnused(group, snapshot);
      // No record for an area may be numbered behind the one that frees it.
      snapshots.changed(group.watermarks.newest + 1, change);
    });
    const freed = new Set(areas);
    const gone = [...group.volumes.values()].filter(({ catalog }) => freed.has(catalog.id));
    for (const volume of gone) group.forgetVolume(volume);
    snapshots.space.begin();
    return true;
  });
}

/** By which rules snapshots are made from now on; none: no more. False: they were so before. */
export async function scheduleSnapshots(
  group: Group,
  rules: readonly ScheduleRule[],
): Promise<boolean> {
  return group.changes.inTurn(async () => {
    const known = group.catalog.snapshotSchedule ?? [];
    const isSame =
      known.length === rules.length &&
      known.every(({ everySeconds, keep }, at) => {
        const rule = rules[at];
        return rule?.everySeconds === everySeconds && rule.keep === keep;
      });
    if (isSame) return false;
    await makeChange(group, { change: 'snapshots_scheduled', rules });
    return true;
  });
}

function checkUnused(group: Group, { number, name }: CatalogSnapshot): void {
  const [clone] = group.snapshots.clones.of(number);
  if (clone) {
    throw new JnbdError(
      'volume_in_use',
      `snapshot ${group.name}@${name} is what clone ${group.name}@${clone.name} stands over; delete that first: jnbd snapshot delete ${group.name}@${clone.name}`,
    );
  }
  const [session] = group.snapshots.sessionsOf(number);
  if (!session) return;
  throw new JnbdError(
    'volume_in_use',
    `snapshot ${group.name}@${name} is in use by ${session.client.peer}; disconnect it first`,
  );
}
