import type { DiskFile, FileExtent } from '../../platform/disk.ts';
import { systemErrorCode } from '../../platform/errors.ts';

/** Of the one file that is asked about. */
const extent: FileExtent = { storage: 'data', end: 0, work: 0 };
/** In tenths of a microsecond. Where more would have to be looked at, space counts as not there. */
const lookWorkMax = 20_000;

/** Overwriting what has its space already needs no new. Nor does what stores nothing. */
export function isAllocated(file: DiskFile | undefined, offset: number, length: number): boolean {
  if (!file) return true;
  try {
    const end = offset + length;
    let work = 0;
    for (let at = offset; at < end; at = extent.end) {
      file.extentSync(at, end, extent);
      work += extent.work;
      if (extent.storage === 'hole' || work > lookWorkMax) return false;
    }
    return true;
  } catch (error) {
    return systemErrorCode(error) === undefined;
  }
}
