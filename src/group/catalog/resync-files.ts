import type { Disk } from '../../platform/disk.ts';
import { JnbdError, refusedBySystem, systemErrorCode } from '../../platform/errors.ts';
import { dropPreserved } from '../../volume/preserved-blocks.ts';
import { RegionSet } from '../../volume/region-set.ts';
import type { CatalogVolume } from './catalog.ts';
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

/**
 * What a resync has still to bring. Where that is not known any more, because its file is missing or damaged,
 * it is all of the volumes. Throws format_newer.
 */
export function readRegions(
  disk: Disk,
  files: GroupFiles,
  volumes: readonly CatalogVolume[],
): { readonly regions: RegionSet; readonly isKnown: boolean } {
  const bytes = disk.readFileSync(files.resyncRegions, 'catalog');
  try {
    if (bytes) return { regions: RegionSet.decode(bytes, files.resyncRegions), isKnown: true };
  } catch (error) {
    const isDamaged = error instanceof JnbdError && error.code === 'catalog_damaged';
    if (!isDamaged) throw error;
  }
  const stored = volumes.filter(({ journalOnly }) => !journalOnly);
  const whole = stored.map(({ id, sizeBytes }) => ({ volume: id, offset: 0, length: sizeBytes }));
  return { regions: RegionSet.of(whole), isKnown: false };
}

/** Throws write_failed, disk_full. */
export function writeRegions(disk: Disk, files: GroupFiles, regions: RegionSet): void {
  try {
    disk.replaceFileSync(files.resyncRegions, regions.encode(), 'catalog');
  } catch (error) {
    throw refusedBySystem(error, 'write_failed', `cannot write ${files.resyncRegions}`) ?? error;
  }
}
