import type { Disk } from '../platform/disk.ts';
import { JnbdError, refusedBySystem, systemErrorCode } from '../platform/errors.ts';
import { dropPreserved } from '../volume/preserved-blocks.ts';
import { RegionSet } from '../volume/region-set.ts';
import type { FollowState } from './follow-file.ts';
import type { GroupFiles } from './group-files.ts';

/** What a resync that is over, or was never begun, left behind. What cannot be removed takes space. */
export function removeResyncLeft(
  disk: Disk,
  files: GroupFiles,
  follow: FollowState | undefined,
): void {
  if (follow?.resync) return;
  try {
    dropPreserved(disk, files.preserved);
    if (disk.existsSync(files.resyncRegions)) disk.removeFileSync(files.resyncRegions);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
  }
}

/** What a resync has still to bring. Throws catalog_damaged, format_newer. */
export function readRegions(disk: Disk, files: GroupFiles): RegionSet {
  const bytes = disk.readFileSync(files.resyncRegions, 'catalog');
  if (bytes) return RegionSet.decode(bytes, files.resyncRegions);
  throw new JnbdError('catalog_damaged', `${files.resyncRegions} is missing`);
}

/** Throws write_failed, disk_full. */
export function writeRegions(disk: Disk, files: GroupFiles, regions: RegionSet): void {
  try {
    disk.replaceFileSync(files.resyncRegions, regions.encode(), 'catalog');
  } catch (error) {
    throw refusedBySystem(error, 'write_failed', `cannot write ${files.resyncRegions}`) ?? error;
  }
}
