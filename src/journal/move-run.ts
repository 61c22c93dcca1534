import { assert } from '../platform/assert.ts';
import { AreaFailure } from './area.ts';
import type { ReceiveSlab } from './receive-slab.ts';
import type { RecordHeader, RecordType } from './record.ts';
import {
  checksumHolds,
  decodeHeader,
  emptyRecordHeader,
  isNumbered,
  resaltRecord,
  stampRecord,
} from './record.ts';
import type { LiveSegment } from './segment-chain.ts';

/**
 * Writes a run that is still in memory to another segment: same numbers, the other segment's salt and
 * time base. `moved` is called for each numbered record with its new place. Throws AreaFailure.
 */
export function moveRun(
  slab: ReceiveSlab,
  start: number,
  end: number,
  old: LiveSegment,
  target: LiveSegment,
  moved: (header: RecordHeader, segment: LiveSegment, payloadOffset: number) => void,
): void {
  const header = emptyRecordHeader();
  const timeShift = old.header.timeBaseMilliseconds - target.header.timeBaseMilliseconds;
  for (let at = start; at < end; at += header.headerBytes + header.payloadBytes) {
    const decoded = decodeHeader(slab.view, at, end, header);
    assert(decoded === 'header', `a retained run holds records at ${at}`);
    const { salt } = old.header;
    assert(checksumHolds(slab.bytes, slab.view, at, header, salt), 'retained bytes are whole');
    if (timeShift === 0) {
      resaltRecord(slab.view, at, salt, target.header.salt);
    } else {
      stampRecord(
        slab.bytes,
        slab.view,
        at,
        header.headerBytes as 28 | 32,
        header.type as RecordType,
        header.volume,
        Math.max(0, header.timeMilliseconds + timeShift),
        header.length,
        header.number,
        header.offset,
        target.header.salt,
      );
    }
    if (!isNumbered(header.type)) continue;
    target.lastNumber = header.number;
    moved(header, target, target.endOffset + (at - start) + header.headerBytes);
  }
  try {
    target.file.writeSync(slab.bytes, start, end - start, target.endOffset);
  } catch (error) {
    throw new AreaFailure(target.area, error);
  }
  target.endOffset += end - start;
  target.dirty = true;
}
