import { InvariantError } from '../platform/assert.ts';
import type { Disk } from '../platform/disk.ts';
import { messageOf } from '../platform/errors.ts';
import { type MapPosition, readDirtyMap, writeDirtyMap } from './dirty-map.ts';
import { type ScannedSegment, scanRegions } from './region-scan.ts';
import { RegionSet } from './region-set.ts';

/** What is found out of a journal in the apply worker; no volume is touched. */
export type RegionWork =
  /** What updates from + 1 to `through`, all of them durable, changed. */
  | {
      readonly kind: 'scan';
      readonly segments: readonly ScannedSegment[];
      readonly from: number;
      readonly through: number;
    }
  /** Brings the dirty map in a file to `through`, durably; it has come to `from` at least. */
  | {
      readonly kind: 'extend_map';
      readonly path: string;
      readonly segments: readonly ScannedSegment[];
      readonly from: number;
      readonly through: MapPosition;
      /** Taken as changed, from end to end, where the segments cannot be read. */
      readonly whole: readonly { readonly id: number; readonly sizeBytes: number }[] | undefined;
    };

/** Why there is nothing else: the records cannot be read, or the file. */
export interface RegionFailure {
  readonly part: 'segment' | 'file';
  readonly message: string;
}

export type RegionAnswer =
  /** As a region set encodes itself. */
  | { readonly kind: 'scanned'; readonly regions: Uint8Array }
  | {
      readonly kind: 'map_extended';
      readonly through: number;
      readonly bytes: number;
      readonly isWhole: boolean;
    }
  | { readonly kind: 'region_failure'; readonly failure: RegionFailure };

export function doRegionWork(disk: Disk, work: RegionWork): RegionAnswer {
  let part: RegionFailure['part'] = 'segment';
  try {
    if (work.kind === 'scan') {
      const regions = new RegionSet();
      scanRegions(disk, work.segments, work.from, work.through, regions);
      return { kind: 'scanned', regions: regions.encode() };
    }
    part = 'file';
    const { path, segments, from, through, whole } = work;
    const map = readDirtyMap(disk, path);
    // A journal that began anew behind `through` has let the map come to it.
    const reached = map?.through.number === from ? from : (map?.own.number ?? 0);
    // One of an earlier time, or none: it was removed meanwhile.
    if (!map || reached < from) throw new Error(`${path} does not reach to ${from}`);
    const { regions } = map;
    if (reached >= through.number) {
      return { kind: 'map_extended', through: reached, bytes: regions.bytes, isWhole: false };
    }
    part = 'segment';
    const isRead = tryScan(disk, segments, reached, through.number, regions, !whole);
    if (!isRead) for (const { id, sizeBytes } of whole ?? []) regions.add(id, 0, sizeBytes);
    part = 'file';
    writeDirtyMap(disk, path, { ...map, through, own: through });
    const { number } = through;
    return { kind: 'map_extended', through: number, bytes: regions.bytes, isWhole: !isRead };
  } catch (error) {
    if (error instanceof InvariantError) throw error;
    return { kind: 'region_failure', failure: { part, message: messageOf(error) } };
  }
}

/** False: not all of it can be read. */
function tryScan(
  disk: Disk,
  segments: readonly ScannedSegment[],
  from: number,
  through: number,
  regions: RegionSet,
  isNeeded: boolean,
): boolean {
  try {
    scanRegions(disk, segments, from, through, regions);
    return true;
  } catch (error) {
    if (isNeeded || error instanceof InvariantError) throw error;
    return false;
  }
}
