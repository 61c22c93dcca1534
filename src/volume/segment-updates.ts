import { isNumbered, type RecordHeader } from '../journal/record.ts';
import type { SegmentReader } from '../journal/segment-reader.ts';
import type { Disk } from '../platform/disk.ts';
import { segmentHeaderBytes } from '../platform/limits.ts';

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
 * Tells `seen` of updates from + 1 to `through` as far as the segment has them, in order, each proved, and where
 * it stands. Returns the last number up to which nothing is missing. Throws where one is missing in between, or
 * cannot be read.
 */
export function readSegmentUpdates(
  disk: Disk,
  reader: SegmentReader,
  { path, salt, endsBefore, direct }: ScannedSegment,
  from: number,
  through: number,
  seen: (header: RecordHeader, at: number, payload: () => Uint8Array) => void,
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
      const start = at;
      at += header.headerBytes + header.payloadBytes;
      if (!isNumbered(header.type) || header.number <= last) continue;
      if (header.number >= endsBefore) break;
      if (header.number !== last + 1) throw new Error(`update ${last + 1} is not in ${path}`);
      last = header.number;
      seen(header, start, () => reader.payload(start));
    }
  } finally {
    file.closeSync();
  }
  if (reader.readFailure && last < through && last + 1 < endsBefore) throw reader.readFailure;
  return last;
}
