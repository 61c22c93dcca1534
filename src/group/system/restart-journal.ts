import { CheckpointFile } from '../../journal/checkpoint.ts';
import { HeadFile } from '../../journal/head.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { refusedBySystem } from '../../platform/errors.ts';
import { segmentHeaderBytes } from '../../platform/limits.ts';
import { PreservedBlocks, putBack } from '../../volume/preserved-blocks.ts';
import type { PreservedVolume } from '../../volume/preserved-files.ts';
import { type Catalog, writeCatalog } from '../catalog/catalog.ts';
import { FollowFile, type FollowState } from '../catalog/follow-file.ts';
import { type KeptFollower, writeFollowers } from '../catalog/follower-file.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { restartMaps } from './restarted-maps.ts';
import { preservingOf } from '../catalog/resync-state.ts';
import { readSealedJson, writeSealedJson } from '../catalog/sealed-json.ts';
import { removeBases } from '../views/stored-bases.ts';
import { makeBackingFile } from '../volumes/volume-changes.ts';

/** What a group is once its journal began anew. Volumes whose files nothing is said of stay as they are. */
export interface RestartPlan {
  /**
   * The journal goes on behind this number; what it held before is void. Everything of it that is to stay is
   * in the volumes, on the device.
   */
  readonly number: number;
  readonly catalog: Catalog;
  /** Null: the group follows nobody. */
  readonly follow: FollowState | null;
  /** Undefined: followers stay as they are. */
  readonly followers?: readonly KeptFollower[] | undefined;
  /** Ids of volumes of the catalog whose files are made, empty, whatever there is of them. */
  readonly made: readonly number[];
  /** Volumes that become first what they were when preserving began. */
  readonly putBack?: readonly PreservedVolume[] | undefined;
}

interface RestartFile extends RestartPlan {
  readonly formatVersion: 1;
}

/**
 * Durable when it returns: from now on the plan is carried out, by the next start if need be, before
 * the group is opened. Throws write_failed, disk_full, and then nothing has changed.
 */
export function planRestart(disk: Disk, files: GroupFiles, plan: RestartPlan): void {
  const file: RestartFile = { formatVersion: 1, ...plan };
  try {
    writeSealedJson(disk, files.restart, file);
  } catch (error) {
    throw refusedBySystem(error, 'write_failed', `cannot write ${files.restart}`) ?? error;
  }
}

/**
 * Carries out a plan that is there; the group is not open. After a crash at any line it is carried out
 * again from the start. False: there is none. Throws JnbdError and system errors, and then the plan
 * still stands.
 */
export async function completeRestart(
  deps: { readonly disk: Disk; readonly clock: Clock },
  files: GroupFiles,
): Promise<boolean> {
  const { disk } = deps;
  const plan = readSealedJson<RestartFile>(disk, files.restart);
  if (!plan) return false;
  const { catalog, follow, followers, putBack: volumes } = plan;
  // The past ends before anything changes that apply does not.
  removeBases(disk, files);
  if (volumes) {
    const places = volumes.map((volume) => ({ ...volume, path: files.volume(volume.id) }));
    await putBack(deps, files.preserved, places);
  }
  for (const { id, sizeBytes, journalOnly } of catalog.volumes) {
    if (journalOnly) continue;
    if (!plan.made.includes(id)) cutOff(disk, files, id, sizeBytes, follow);
    else makeBackingFile(disk, files, files.volume(id), sizeBytes).closeSync();
    await new Promise<void>((resolve) => deps.clock.soon(resolve));
  }
  beginJournal(disk, files, catalog.groupId, plan.number);
  restartMaps(disk, files, plan);
  if (followers) writeFollowers(disk, files.followers, catalog.groupId, followers);
  if (follow) writeSealedJson(disk, files.follow, follow);
  else new FollowFile(disk, files.follow).remove();
  writeCatalog(disk, files.catalog, catalog);
  disk.syncDirectorySync(files.directory);
  disk.removeFileSync(files.restart);
  disk.syncDirectorySync(files.directory);
  return true;
}

/** What lies behind the end of a volume would be in it again once it grew. */
function cutOff(
  disk: Disk,
  files: GroupFiles,
  id: number,
  sizeBytes: number,
  follow: FollowState | null,
): void {
  const path = files.volume(id);
  if (!disk.existsSync(path)) return;
  const file = disk.openSync(path, 'read-write', 'volume');
  try {
    const before = file.sizeSync();
    if (before <= sizeBytes) return;
    const preserving = preservingOf(files, follow ?? undefined);
    if (preserving) {
      const preserved = new PreservedBlocks(disk, preserving);
      try {
        preserved.want(id, sizeBytes, before - sizeBytes);
        preserved.keep(() => file);
      } finally {
        preserved.close();
      }
    }
    file.truncateSync(sizeBytes);
    file.dataSyncSync();
  } finally {
    file.closeSync();
  }
}

/**
 * The journal holds nothing and goes on behind `number`. Recovery looks at no segment of a sequence below
 * the checkpoint's, and none that there is, or that comes back with its area, has one above what was
 * reserved: all of them are free.
 */
function beginJournal(disk: Disk, files: GroupFiles, groupId: string, number: number): void {
  const { file, head } = HeadFile.open(disk, files.head, groupId);
  file.close();
  const sequence = head.reserved + 1;
  HeadFile.create(disk, files.head, groupId, sequence);
  CheckpointFile.create(disk, files.checkpoint, {
    groupId,
    applied: number,
    released: number,
    sequence,
    offset: segmentHeaderBytes,
  });
}
