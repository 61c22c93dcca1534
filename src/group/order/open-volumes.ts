import { assert } from '../../platform/assert.ts';
import type { Disk } from '../../platform/disk.ts';
import { messageOf, systemErrorCode } from '../../platform/errors.ts';
import { type CatalogChange, type CatalogVolume, createdVolumes } from '../catalog/catalog.ts';
import type { ConditionCode } from '../catalog/conditions.ts';
import type { Group } from './group.ts';
import { type GroupFiles, volumeFilePattern } from '../catalog/group-files.ts';
import { keepsFile } from '../catalog/resync-state.ts';
import { Volume } from '../apply/volume.ts';

/**
 * Opens the volumes of a group that starts. One whose file is missing, or cannot be opened, is abnormal;
 * nothing is created in its place, and apply waits for it.
 */
export function openVolumes(
  disk: Disk,
  group: Group,
  files: GroupFiles,
  changes: readonly { readonly change: CatalogChange }[],
): void {
  const fresh = new Set(
    changes.flatMap(({ change }) => createdVolumes(change).map(({ id }) => id)),
  );
  for (const entry of group.catalog.volumes) {
    const path = files.volume(entry.id);
    const isExpected = !entry.journalOnly && !fresh.has(entry.id);
    if (isExpected && !disk.existsSync(path)) {
      const why = `${path} is missing; nothing was created in its place`;
      addAbnormal(group, entry, files, 'volume_missing', why);
    } else {
      openVolume(disk, group, files, entry, fresh.has(entry.id));
    }
  }
  assert(group.volumes.size === group.catalog.volumes.length, 'volume names are unique');
  hideIncomplete(group);
}

/** No host sees half a copy. */
export function hideIncomplete(group: Group): void {
  const { state } = group.follow;
  const copied = new Set(state?.copies.map(({ volume }) => volume));
  for (const volume of group.volumes.values()) {
    const { id, journalOnly } = volume.catalog;
    const isIncomplete = copied.has(id) || (state?.resync !== undefined && !journalOnly);
    if (volume.state !== 'normal' || !isIncomplete) continue;
    const what = copied.has(id) ? 'being copied' : 'brought up to date';
    volume.become('unused', `its contents are ${what} from ${state?.sourceName ?? 'its source'}`);
  }
}

/** `isFresh`: its record came, and perhaps its file did not. It is there before the catalog's file says so. */
function openVolume(
  disk: Disk,
  group: Group,
  files: GroupFiles,
  entry: CatalogVolume,
  isFresh: boolean,
): void {
  if (entry.journalOnly) {
    group.volumes.set(entry.name, new Volume(entry, undefined, ''));
    return;
  }
  const path = files.volume(entry.id);
  try {
    const file = disk.openSync(path, 'open-or-create', 'volume');
    if (file.sizeSync() < entry.sizeBytes) file.truncateSync(entry.sizeBytes);
    if (isFresh) {
      file.dataSyncSync();
      disk.syncDirectorySync(files.volumes);
    }
    group.volumes.set(entry.name, new Volume(entry, file, path));
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    addAbnormal(group, entry, files, 'volume_failed', `cannot open ${path}: ${messageOf(error)}`);
    return;
  }
  if (entry.state !== 'unused') return;
  group.conditions.raise(`${group.name}/${entry.name}`, {
    code: 'import_unfinished',
    severity: 'warning',
    message: `volume ${group.name}/${entry.name} was being filled by volume create --from when the system stopped`,
    nextCommand: `jnbd volume delete ${group.name}/${entry.name}`,
  });
}

function addAbnormal(
  group: Group,
  entry: CatalogVolume,
  files: GroupFiles,
  code: ConditionCode,
  why: string,
): void {
  const volume = new Volume(entry, undefined, files.volume(entry.id));
  volume.become('abnormal', why);
  group.volumes.set(entry.name, volume);
  group.conditions.raise(`${group.name}/${entry.name}`, {
    code,
    severity: 'error',
    message: `volume ${group.name}/${entry.name}: ${why}; it is looked at again when the daemon starts`,
    nextCommand: `ls -l ${files.volumes}`,
  });
}

/** Files of volumes that were deleted just before the system stopped. */
export function removeOrphans(disk: Disk, group: Group, files: GroupFiles): void {
  if (!disk.isDirectorySync(files.volumes)) return;
  const ids = new Set(group.catalog.volumes.map(({ id }) => id));
  for (const name of disk.listSync(files.volumes)) {
    const id = Number(volumeFilePattern.exec(name)?.[1] ?? Number.NaN);
    const isKept = group.deleted.has(id) || keepsFile(group.follow.state, id);
    if (id < group.catalog.nextVolumeId && !ids.has(id) && !isKept)
      disk.removeFileSync(`${files.volumes}/${name}`);
  }
}
