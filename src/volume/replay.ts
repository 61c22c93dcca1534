import { isNumbered, type RecordHeader, recordType } from '../journal/record.ts';
import { SegmentReader } from '../journal/segment-reader.ts';
import type { Clock } from '../platform/clock.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { segmentHeaderBytes } from '../platform/limits.ts';
import type { ScannedSegment } from './region-scan.ts';

/** `payload` holds until the next record, and stands at `payloadOffset` of `segment`. */
export type RecordSeen = (
  header: RecordHeader,
  payload: Uint8Array,
  segment: ScannedSegment,
  payloadOffset: number,
) => void;

/**
 * Reads updates from + 1 to `through`, all of them durable in `segments`, in their order, each proved, past
 * the page cache. Yields to the event loop after each segment. Rejects where one is missing or cannot be read.
 */
export async function readUpdates(
  deps: { readonly disk: Disk; readonly clock: Clock },
  segments: readonly ScannedSegment[],
  from: number,
  through: number,
  seen: RecordSeen,
): Promise<void> {
  const { disk, clock } = deps;
  const reader = new SegmentReader(disk);
  let last = from;
  for (const segment of segments) {
    const { path, salt, endsBefore } = segment;
    if (last >= through) return;
    const file = disk.openSync(path, 'read', 'segment');
    try {
      reader.open(file);
      const { header } = reader;
      let at = segmentHeaderBytes;
      while (last < through && reader.recordAt(at, salt) === 'record') {
        const isNext = isNumbered(header.type) && header.number === last + 1;
        if (isNext && header.number < endsBefore) {
          last = header.number;
          seen(header, reader.payload(at), segment, at + header.headerBytes);
        }
        at += header.headerBytes + header.payloadBytes;
      }
    } finally {
      file.closeSync();
    }
    await new Promise<void>((resolve) => clock.soon(resolve));
  }
  if (last < through) throw new Error(`update ${last + 1} is not in the journal's segments`);
}

/** Does to its volume what the record says. Undefined: the volume is gone, or stores nothing. */
export function replay(
  { type, offset, length }: RecordHeader,
  payload: Uint8Array,
  file: DiskFile | undefined,
): void {
  if (!file || length === 0) return;
  if (type === recordType.write) file.writeSync(payload, 0, length, offset);
  if (type === recordType.zero) file.zeroRangeSync(offset, length);
  if (type === recordType.hole) file.punchHoleSync(offset, length);
}
