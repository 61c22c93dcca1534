import {
  checksumHolds,
  decodeHeader,
  emptyRecordHeader,
  isNumbered,
  type RecordHeader,
  recordType,
} from '../../journal/record.ts';
import { JnbdError } from '../../platform/errors.ts';
import { encodeRecordsPrefix } from '../protocol/frame-encoder.ts';
import { recordsPrefixBytes } from '../protocol/frames.ts';
import { SourceBatch } from './source-batch.ts';
import type { SourceJournal } from './source-journal.ts';
import { type SourceSegment, windowBytes } from './source-segment.ts';
import { frameBytesMax, recordsBytesMax, type Stretch } from '../protocol/wire.ts';

/** A record's header, and something behind it. */
const frameRoomMin = recordsPrefixBytes + windowBytes;

/** Where the records that were read end. */
export interface RecordsEnd {
  readonly through: number;
  /** Of the segment that the last one is in; undefined: there was none. */
  readonly segment: SourceSegment | undefined;
  readonly offset: number;
}

interface FrameRecords {
  readonly recordsBytes: number;
  readonly first: number;
  readonly last: number;
  /** In the segment, behind the records. */
  readonly offset: number;
}

/**
 * Puts records into the batch, as they stand in the segments: from `first` up to `limit`, as many as
 * there is room for. Every record is proved, so neither damage nor a segment that was released and used
 * again meanwhile is ever sent. Throws record_unreadable where the first one cannot be read; what stands
 * before a later one is taken.
 */
export async function fillRecords(
  journal: SourceJournal,
  batch: SourceBatch,
  first: number,
  limit: number,
): Promise<RecordsEnd> {
  let end: RecordsEnd = { through: first - 1, segment: undefined, offset: 0 };
  try {
    while (end.through < limit) {
      const next = await fillFrame(journal, batch, end, limit);
      if (!next) break;
      end = next;
    }
  } catch (error) {
    if (!(error instanceof JnbdError) || end.through < first) throw error;
  }
  return end;
}

/** One frame more; undefined: there is no room for one. */
async function fillFrame(
  journal: SourceJournal,
  batch: SourceBatch,
  before: RecordsEnd,
  limit: number,
): Promise<RecordsEnd | undefined> {
  const number = before.through + 1;
  const place = journal.placeOf(number);
  if (!place) return missing(number, journal);
  const { segment } = place;
  const { stretch, before: stretchEnd } = journal.stretchOf(number);
  if (!stretch) return missing(number, journal);
  const begins = stretch.firstNumber === number;
  const prefixBytes = recordsPrefixBytes + (begins ? SourceBatch.stretchBytes : 0);
  if (batch.frames > 0 && batch.room < prefixBytes + frameRoomMin) return undefined;
  const scratchStart = batch.end + prefixBytes;
  const offset =
    before.segment === segment
      ? before.offset
      : await segment.find(number, batch.buffer, scratchStart);
  const last = Math.min(limit, place.before - 1, stretchEnd - 1);
  const found = await readRecords(segment, batch, scratchStart, offset, number, last);
  if (!found) return undefined;
  if (begins) batch.addStretch(stretch);
  addFrame(batch, segment, stretch, found);
  segment.leave(found.last + 1, found.offset);
  return { through: found.last, segment, offset: found.offset };
}

function addFrame(
  batch: SourceBatch,
  { place }: SourceSegment,
  { generation, incarnation }: Stretch,
  { first, last, recordsBytes }: FrameRecords,
): void {
  encodeRecordsPrefix(batch.buffer.view, batch.end, {
    salt: place.salt,
    timeBaseMilliseconds: place.timeBaseMilliseconds,
    first,
    last,
    generation,
    incarnation,
    recordsBytes,
  });
  batch.added(recordsPrefixBytes + recordsBytes);
}

const header: RecordHeader = emptyRecordHeader();

/**
 * Reads the records from `number` to at most `last` to `start` of the buffer, whole ones that stand one
 * behind the other, up to the size of a frame. Undefined: not even the first finds room.
 */
async function readRecords(
  segment: SourceSegment,
  batch: SourceBatch,
  start: number,
  position: number,
  number: number,
  last: number,
): Promise<FrameRecords | undefined> {
  const { bytes } = batch.buffer;
  const room = batch.end + batch.room - start;
  const isAlone = batch.frames === 0;
  let wanted = Math.max(windowBytes, Math.min(frameBytesMax - recordsPrefixBytes, room));
  for (let offset = position; ; ) {
    const count = await segment.read(bytes, start, wanted, offset);
    const walked = walk(segment, batch, start, count, offset, number, last);
    if (walked.recordsBytes > 0 && walked.last >= number) return walked;
    if (walked.needs === 0 && walked.offset > offset) {
      // Nothing but marks and pads was whole: they are left out.
      offset = walked.offset;
      continue;
    }
    const wasAskedFor = walked.needs <= wanted;
    if (wasAskedFor || walked.needs > recordsBytesMax) {
      return segment.unreadable(offset, `update ${number} has to be there`);
    }
    const roomOfBuffer = batch.end + batch.roomOfBuffer - start;
    if (walked.needs > (isAlone ? roomOfBuffer : room)) return undefined;
    wanted = walked.needs;
  }
}

interface Walked extends FrameRecords {
  /** The first record is longer than what was read: so many bytes have to be; 0: it is not that. */
  readonly needs: number;
}

/** What of `bytes[start, start + count)`, which stand at `offset`, is a frame. Throws record_unreadable. */
function walk(
  segment: SourceSegment,
  { buffer: { bytes, view } }: SourceBatch,
  start: number,
  count: number,
  offset: number,
  number: number,
  last: number,
): Walked {
  const end = start + count;
  const { salt } = segment.place;
  let at = start;
  let next = number;
  while (next <= last) {
    const decoded = decodeHeader(view, at, end, header);
    const recordBytes = decoded === 'header' ? header.headerBytes + header.payloadBytes : 0;
    const isCut = decoded === 'short' || at + recordBytes > end;
    if (isCut && at > start) break;
    if (isCut) {
      const needs = decoded === 'short' ? 0 : recordBytes;
      return { recordsBytes: 0, first: number, last: number - 1, offset, needs };
    }
    const here = offset + at - start;
    // A roll leads out of the segment that the number is in.
    if (decoded === 'invalid' || header.type === recordType.roll) {
      if (next > number) break;
      return segment.unreadable(here, `update ${next} has to be there`);
    }
    if (!checksumHolds(bytes, view, at, header, salt)) {
      if (next > number) break;
      return segment.unreadable(here, `the checksum of update ${next} does not hold`);
    }
    if (isNumbered(header.type)) {
      if (header.number !== next) {
        if (next > number) break;
        return segment.unreadable(here, `update ${header.number} is there instead of ${next}`);
      }
      segment.note(next, here);
      next += 1;
    }
    at += recordBytes;
  }
  return {
    recordsBytes: at - start,
    first: number,
    last: next - 1,
    offset: offset + at - start,
    needs: 0,
  };
}

function missing(number: number, { picture }: SourceJournal): never {
  throw new JnbdError(
    'record_unreadable',
    `update ${number} of group ${picture.name} is not in any segment of its journal`,
  );
}
