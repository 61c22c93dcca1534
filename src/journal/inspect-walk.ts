import { segmentHeaderBytes } from '../platform/limits.ts';
import type { RecordHeader } from './record.ts';
import { isNumbered, recordType } from './record.ts';
import type { FoundSegment } from './scan.ts';
import type { SegmentReader } from './segment-reader.ts';

/** Numbers that follow each other in one segment, and where the first of them stands. */
export interface Piece {
  readonly from: number;
  through: number;
  readonly offset: number;
}

/** Something that is no record, with valid ones behind it. */
export interface Gap {
  readonly offset: number;
  /** The number before it; 0: none. */
  readonly after: number;
  /** The number behind it; 0: a mark or a roll. */
  readonly before: number;
  /** What the mark behind it says; 0: it is none. */
  readonly marked: number;
}

/** All that proves in one segment. */
export interface SegmentWalk {
  readonly segment: FoundSegment;
  readonly pieces: Piece[];
  readonly gaps: Gap[];
  records: number;
  /** The highest mark. */
  marked: number;
  /** Where its roll leads; 0: it has none. */
  rolledTo: number;
  /** Where the last thing that proves ends. */
  end: number;
  endsWith: 'roll' | 'unwritten' | 'torn' | 'full';
  firstTime: number;
  lastTime: number;
  readFailure: string | undefined;
}

export type RecordSeen = (segment: FoundSegment, header: RecordHeader, offset: number) => void;

/** Proves every record of a segment, also those behind what does not prove. */
export function walkSegment(
  reader: SegmentReader,
  segment: FoundSegment,
  seen: RecordSeen,
): SegmentWalk {
  const walk: SegmentWalk = {
    segment,
    pieces: [],
    gaps: [],
    records: 0,
    marked: 0,
    rolledTo: 0,
    end: segmentHeaderBytes,
    endsWith: 'unwritten',
    firstTime: 0,
    lastTime: 0,
    readFailure: undefined,
  };
  const { salt, timeBaseMilliseconds } = segment.header;
  const opened = reader.open(segment.file);
  const isSame = opened.kind === 'header' && opened.header.salt === salt;
  for (let at = segmentHeaderBytes; isSame; ) {
    const result = reader.recordAt(at, salt);
    if (result !== 'record') {
      walk.end = at;
      const last = walk.pieces.at(-1)?.through ?? 0;
      const next = result === 'end' ? -1 : reader.nextValid(at + 1, last, salt);
      if (next < 0) {
        walk.endsWith = result === 'end' ? 'full' : isTorn(reader, walk, at) ? 'torn' : 'unwritten';
        break;
      }
      const { type, number } = reader.header;
      walk.gaps.push({
        offset: at,
        after: last,
        before: isNumbered(type) ? number : 0,
        marked: type === recordType.mark ? number : 0,
      });
      at = next;
      reader.recordAt(at, salt);
    }
    const { header } = reader;
    const end = at + header.headerBytes + header.payloadBytes;
    seen(segment, header, at);
    if (isNumbered(header.type)) {
      add(walk, header.number, at);
      walk.lastTime = timeBaseMilliseconds + header.timeMilliseconds;
      if (walk.records === 1) walk.firstTime = walk.lastTime;
    }
    if (header.type === recordType.mark) walk.marked = Math.max(walk.marked, header.number);
    walk.end = end;
    at = end;
    if (header.type === recordType.roll) {
      walk.rolledTo = header.number;
      walk.endsWith = 'roll';
      break;
    }
  }
  walk.readFailure = reader.readFailure?.message;
  return walk;
}

function add(walk: SegmentWalk, number: number, offset: number): void {
  walk.records += 1;
  const piece = walk.pieces.at(-1);
  if (piece && piece.through + 1 === number) piece.through = number;
  else walk.pieces.push({ from: number, through: number, offset });
}

/**
 * Behind what proves, a file that was used before still holds what it held then. It is a torn tail
 * where something begins like the next record of this use, or cannot be read at all.
 */
function isTorn(reader: SegmentReader, { segment, pieces }: SegmentWalk, at: number): boolean {
  if (reader.readFailure) return true;
  const { header } = reader;
  if (!reader.beginsAt(at) || !isNumbered(header.type)) return false;
  const last = pieces.at(-1)?.through;
  if (last !== undefined) return header.number === last + 1;
  const { firstNumber, durable } = segment.header;
  return firstNumber > 0 ? header.number === firstNumber : header.number > durable;
}
