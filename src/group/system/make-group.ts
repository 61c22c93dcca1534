import { createArea, removeArea } from '../../journal/area.ts';
import { CheckpointFile } from '../../journal/checkpoint.ts';
import { HeadFile } from '../../journal/head.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, systemErrorCode } from '../../platform/errors.ts';
import { segmentBytes, segmentHeaderBytes } from '../../platform/limits.ts';
import { removeStages } from '../volumes/rollback-stage.ts';
import { cloneDirectory } from '../snapshots/clones.ts';
import { removeChecksums } from '../../volume/volume-checksums.ts';
import { dropPreserved } from '../../volume/preserved-blocks.ts';
import { removeBases } from '../views/stored-bases.ts';
import { writableViewDirectory } from '../views/writable-views.ts';
import { removeBranches } from './branches.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { journalAreas, readCatalog, writeCatalog } from '../catalog/catalog.ts';
import type { GroupFiles } from '../catalog/group-files.ts';

/** What hosts may have unsynced has to move there (32 MiB), while as much again is being applied. */
const emergencySegments = 8;

/** What a group begins with that is not new. */
export interface GroupBeginning {
  /** The last update number that its volumes count as having; its journal goes on behind it. */
  readonly number: number;
  /** Makes what else belongs to it, before it is a group. */
  readonly prepare: () => void;
}

/**
 * Makes a group's files. Its catalog stands as `unfinished` until all of them are there: a directory
 * with that is no group yet, and the next start takes away what is in it, journal directories elsewhere
 * included.
 */
export async function makeGroupFiles(
  deps: { readonly disk: Disk; readonly clock: Clock },
  files: GroupFiles,
  catalog: Catalog,
  begin: GroupBeginning = { number: 0, prepare: () => undefined },
): Promise<void> {
  const { disk, clock } = deps;
  disk.makeDirectorySync(files.volumes);
  writeCatalog(disk, files.unfinished, catalog);
  const striped = catalog.areaLayout === 'striped';
  const { groupId, journalCapacityBytes } = catalog;
  const perArea = striped
    ? journalCapacityBytes / journalAreas(catalog).length
    : journalCapacityBytes;
  const slots = Math.max(4, Math.ceil(perArea / segmentBytes));
  try {
    for (const { areaId, path, role } of catalog.areas) {
      const identity = { formatVersion: 1, groupId, areaId } as const;
      const count = role === 'emergency' ? Math.min(slots, emergencySegments) : slots;
      await createArea(disk, clock, files.area(path), identity, count);
    }
    CheckpointFile.create(disk, files.checkpoint, {
      groupId,
      applied: begin.number,
      released: begin.number,
      sequence: 1,
      offset: segmentHeaderBytes,
    });
    HeadFile.create(disk, files.head, groupId);
    begin.prepare();
    disk.renameSync(files.unfinished, files.catalog);
    disk.syncDirectorySync(files.directory);
  } catch (error) {
    try {
      removeGroupFiles(disk, files);
    } catch (another) {
      // What is left stands as `unfinished`; the next start, or creation, takes it away.
      if (systemErrorCode(another) === undefined) throw another;
    }
    throw error;
  }
}

/**
 * Whether this was left by a creation or a deletion that did not end, and is nobody's group. A catalog
 * that is missing beside volumes or a journal is damage, and nothing is taken away.
 */
export function isUnfinished(disk: Disk, files: GroupFiles): boolean {
  if (disk.existsSync(files.catalog)) return false;
  if (disk.existsSync(files.unfinished)) return true;
  const isEmpty = (path: string): boolean =>
    disk.isDirectorySync(path) && disk.listSync(path).length === 0;
  return disk
    .listSync(files.directory)
    .map((name) => `${files.directory}/${name}`)
    .every(
      (path) => path === `${files.unfinished}.tmp` || (path === files.volumes && isEmpty(path)),
    );
}

/**
 * Deletes a group's files. The catalog becomes `unfinished` first, so that a crash on the way leaves
 * no group, and goes last, so that the next start knows what is left.
 */
export function removeGroupFiles(disk: Disk, files: GroupFiles): void {
  if (disk.existsSync(files.catalog)) {
    disk.renameSync(files.catalog, files.unfinished);
    disk.syncDirectorySync(files.directory);
  }
  const catalog = readUnfinished(disk, files);
  if (catalog) {
    for (const { areaId, path } of catalog.areas) removeArea(disk, files.area(path), areaId);
  }
  if (disk.isDirectorySync(files.volumes)) {
    for (const name of disk.listSync(files.volumes))
      disk.removeFileSync(`${files.volumes}/${name}`);
    disk.syncDirectorySync(files.volumes);
    disk.removeDirectorySync(files.volumes);
  }
  dropPreserved(disk, files.preserved);
  removeBases(disk, files);
  if (disk.isDirectorySync(files.history)) disk.removeDirectorySync(files.history);
  removeChecksums(disk, files.checksums);
  removeBranches(disk, files);
  cloneDirectory(disk, files).removeAll();
  writableViewDirectory(disk, files).removeAll();
  removeStages(disk, files);
  for (const name of disk.listSync(files.directory)) {
    const path = `${files.directory}/${name}`;
    if (path !== files.unfinished && !disk.isDirectorySync(path)) disk.removeFileSync(path);
  }
  disk.syncDirectorySync(files.directory);
  if (disk.existsSync(files.unfinished)) disk.removeFileSync(files.unfinished);
  if (disk.listSync(files.directory).length === 0) disk.removeDirectorySync(files.directory);
}

function readUnfinished(disk: Disk, files: GroupFiles): Catalog | undefined {
  try {
    return readCatalog(disk, files.unfinished);
  } catch (error) {
    // Written by nobody that we know: what it may name is left alone.
    if (error instanceof JnbdError) return undefined;
    throw error;
  }
}
