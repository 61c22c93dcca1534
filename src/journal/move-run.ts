import { assert } from '../platform/assert.ts';
import { AreaFailure } from './area.ts';
import type { ReceiveSlab } from './receive-slab.ts';
import type { RecordHeader } from './record.ts';
import {
  checksumHolds,
  decodeHeader,
  emptyRecordHeader,
  isNumbered,
  restampRecord,
} from './record.ts';
import type { RetainedRuns } from './retained-runs.ts';
import type { LiveSegment, SegmentChain } from './segment-chain.ts';

/** A record is at another place now: offsets are of its payload (or where that would be). */
export type RecordMoved = (
  header: RecordHeader,
  from: LiveSegment,
  fromOffset: number,
  to: LiveSegment,
  toOffset: number,
) => void;

/**
 * Writes what is not durable to other segments; false: there are not enough. Their headers come last,
 * and the last one's first: until all is moved, a crash finds every record where it was. Throws
 * AreaFailure.
 */
export function moveRuns(
  retained: RetainedRuns,
  chain: SegmentChain,
  durable: number,
  moved: RecordMoved,
): boolean {
  const begun: LiveSegment[] = [];
  let isEnough = true;
  const begin = (firstNumber: number): LiveSegment | undefined => {
    const segment = chain.begin(firstNumber, durable, 'moved records');
    if (segment) begun.unshift(segment);
    else isEnough = false;
    return segment;
  };
  let target = begin(durable + 1);
  retained.rewrite((slab, start, end, old, oldOffset) => {
    if (target && !chain.hasRoom(end - start)) target = begin(target.lastNumber + 1);
    if (!target) return undefined;
    moveRun(slab, start, end, old, oldOffset, target, moved);
    return target;
  });
  if (isEnough) for (const segment of begun) chain.writeHeader(segment);
  return isEnough;
}

/**
 * Writes a run that is still in memory, and lies at `oldOffset` of `old`, to another segment: same
 * numbers, the other segment's salt and time base. `moved` is called for each numbered record once it
 * was written. Throws AreaFailure; the run is then as it was.
 */
function moveRun(
  slab: ReceiveSlab,
  start: number,
  end: number,
  old: LiveSegment,
  oldOffset: number,
  target: LiveSegment,
  moved: RecordMoved,
): void {
  restamp(slab, start, end, old, target);
  const newOffset = target.endOffset;
  try {
    target.file.appendSync(slab.bytes, start, end - start, newOffset);
  } catch (error) {
    // The next attempt expects what was stamped for the segment that the run is in.
    restamp(slab, start, end, target, old);
    throw new AreaFailure(target.area, error);
  }
  target.endOffset += end - start;
  target.dirty = true;
  const header = emptyRecordHeader();
  for (let at = start; at < end; at += header.headerBytes + header.payloadBytes) {
    decodeHeader(slab.view, at, end, header);
    if (!isNumbered(header.type)) continue;
    target.lastNumber = header.number;
    const inRun = at - start + header.headerBytes;
    moved(header, old, oldOffset + inRun, target, newOffset + inRun);
  }
}

function restamp(
  slab: ReceiveSlab,
  start: number,
  end: number,
  from: LiveSegment,
  to: LiveSegment,
): void {
  const header = emptyRecordHeader();
  const { salt } = from.header;
  for (let at = start; at < end; at += header.headerBytes + header.payloadBytes) {
    const decoded = decodeHeader(slab.view, at, end, header);
    assert(decoded === 'header', `a retained run holds records at ${at}`);
    assert(checksumHolds(slab.bytes, slab.view, at, header, salt), 'retained bytes are whole');
    restampRecord(slab.bytes, slab.view, at, header, from.header, to.header);
  }
}
