import { changesVolume, isNumbered } from '../journal/record.ts';
import { SegmentReader } from '../journal/segment-reader.ts';
import type { Disk } from '../platform/disk.ts';
import { segmentHeaderBytes, updateNumberMax } from '../platform/limits.ts';
import type { RegionSet } from './region-set.ts';

/** A segment of a journal, and which of its records count. */
export interface ScannedSegment {
  readonly path: string;
  readonly salt: number;
  /** What it has from this number on stands in a later segment. */
  readonly endsBefore: number;
  /** Read past the page cache: the segment's area has failed. */
  readonly direct: boolean;
}

/**
 * Adds to `regions` what updates from + 1 to `through` changed, all of them durable in `segments`, which
 * stand in their order. Every record is proved. Throws where one of them is missing or
 * cannot be read; what `regions` has then is of no use.
 */
export function scanRegions(
  disk: Disk,
  segments: readonly ScannedSegment[],
  from: number,
  through: number,
  regions: RegionSet,
): void {
  const reader = new SegmentReader(disk);
  let last = from;
  for (const segment of segments) {
    if (last >= through) return;
    last = scanSegment(disk, reader, segment, last, through, regions);
  }
  if (last < through) throw new Error(`update ${last + 1} is not in the journal's segments`);
}

/** Returns the last number up to which nothing is missing. */
function scanSegment(
  disk: Disk,
  reader: SegmentReader,
  { path, salt, endsBefore, direct }: ScannedSegment,
  from: number,
  through: number,
  regions: RegionSet,
): number {
  const { header } = reader;
  const file = disk.openSync(path, 'read', 'segment');
  let last = from;
  try {
    const found = reader.open(file, direct);
    if (found.kind !== 'header' || found.header.salt !== salt) {
      throw new Error(`${path} is another segment than it was`);
    }
    let at = segmentHeaderBytes;
    while (last < through && reader.recordAt(at, salt) === 'record') {
      at += header.headerBytes + header.payloadBytes;
      if (!isNumbered(header.type) || header.number <= last) continue;
      if (header.number >= endsBefore) break;
      if (header.number !== last + 1) throw new Error(`update ${last + 1} is not in ${path}`);
      last = header.number;
      if (!changesVolume(header.type)) continue;
      const { volume, offset, length } = header;
      regions.add(volume, offset, Math.min(length, updateNumberMax + 1 - offset));
    }
  } finally {
    file.closeSync();
  }
  if (reader.readFailure && last < through && last + 1 < endsBefore) throw reader.readFailure;
  return last;
}
