import type { Disk } from '../../platform/disk.ts';
import type { ScheduleRule } from '../../platform/schedule-text.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { refuseRollingBack } from '../apply/volume.ts';
import { checkName } from '../catalog/names.ts';
import { areasFreedBy, type CatalogSnapshot, hiddenName, isHidden } from '../catalog/snapshots.ts';
import type { Group } from '../order/group.ts';
import { makeChange } from '../order/numbered-change.ts';
import { NewSnapshot } from './new-snapshot.ts';

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
): Promise<MadeSnapshot> {
  checkName('snapshot', name);
  refuseRollingBack(group.name, group.volumes.values());
  return makeSnapshot(disk, group, files, () => name);
}

/** For comparing this system with others at one position. Whoever has it made deletes it. Rejects as `createSnapshot`. */
export async function createHiddenSnapshot(
  disk: Disk,
  group: Group,
  files: GroupFiles,
): Promise<CatalogSnapshot> {
  const name = (): string => hiddenName(group.watermarks.newest + 1);
  return (await makeSnapshot(disk, group, files, name)).snapshot;
}

interface MadeSnapshot {
  readonly snapshot: CatalogSnapshot;
  readonly created: boolean;
}

function makeSnapshot(
  disk: Disk,
  group: Group,
  files: GroupFiles,
  nameNow: () => string,
): Promise<MadeSnapshot> {
  return group.changes.inTurn(async () => {
    const name = nameNow();
    const existing = findSnapshot(group, name);
    if (existing) return { snapshot: existing, created: false };
    refuseNameOfClone(group, name);
    const made = new NewSnapshot(disk, group, files, name);
    try {
      await makeChange(group, made.change, () => made.numbering());
    } catch (error) {
      made.drop();
      throw error;
    }
    return { snapshot: made.found(), created: true };
  });
}

/** Throws exists_differently. */
export function refuseNameOfClone({ name: group, snapshots, views }: Group, name: string): void {
  if (!snapshots.clones.find(name) && !views.find(name)) return;
  const what = views.find(name) ? 'view' : 'writable clone';
  throw new JnbdError('exists_differently', `${group}@${name} is a ${what}`);
}

/** Of those that can be read. */
export function findSnapshot(group: Group, name: string): CatalogSnapshot | undefined {
  return group.snapshots.living.find((snapshot) => snapshot.name === name);
}

/** False: there was none of that name. Rejects with JnbdError: volume_in_use, state_refuses. */
export function deleteSnapshot(group: Group, name: string): Promise<boolean> {
  return deleteFound(group, () => findSnapshot(group, name));
}

/** As `deleteSnapshot`. */
export function deleteHiddenSnapshot(group: Group, number: number): Promise<boolean> {
  return deleteFound(group, () =>
    group.snapshots.living.find((each) => each.number === number && isHidden(each)),
  );
}

function deleteFound(group: Group, find: () => CatalogSnapshot | undefined): Promise<boolean> {
  return group.changes.inTurn(async () => {
    const { snapshots } = group;
    const snapshot = find();
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
  for (const volume of group.volumes.values()) {
    if (volume.rollsBackTo !== number) continue;
    const text = `volume ${group.name}/${volume.catalog.name} is being rolled back to snapshot ${group.name}@${name}`;
    throw new JnbdError('volume_in_use', text);
  }
  const [session] = group.snapshots.sessionsOf(number);
  if (!session) return;
  throw new JnbdError(
    'volume_in_use',
    `snapshot ${group.name}@${name} is in use by ${session.client.peer}; disconnect it first`,
  );
}
