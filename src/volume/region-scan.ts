import { changesVolume } from '../journal/record.ts';
import { SegmentReader } from '../journal/segment-reader.ts';
import type { Disk } from '../platform/disk.ts';
import { segmentHeaderBytes, updateNumberMax } from '../platform/limits.ts';
import type { RegionSet } from './region-set.ts';
import { readSegmentUpdates, type ScannedSegment } from './segment-updates.ts';

export type { ScannedSegment };

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
  let end = '';
  for (const segment of segments) {
    if (last >= through) return;
    let proved = segmentHeaderBytes;
    last = readSegmentUpdates(disk, reader, segment, last, through, (header, at) => {
      const { type, volume, offset, length } = header;
      proved = at + header.headerBytes + header.payloadBytes;
      if (!changesVolume(type)) return;
      regions.add(volume, offset, Math.min(length, updateNumberMax + 1 - offset));
    });
    end = `; what proves ends at ${proved} of ${segment.path}`;
  }
  if (last < through) throw new Error(`update ${last + 1} is not in the journal's segments${end}`);
}
