import { assert } from '../platform/assert.ts';
import { crc32 } from '../platform/checksum.ts';
import { updateNumberMax } from '../platform/limits.ts';

/**
 * The record: header and payload, as FORMAT.md lays them out. An NBD request header (28 bytes, 32
 * with extended headers) has exactly the room of ours, so a request becomes a record where it was
 * received.
 */
export const recordType = {
  /** Payload: `length` bytes for `offset` of `volume`. */
  write: 1,
  /** `length` bytes read as zero and stay allocated. No payload. */
  zero: 2,
  /** `length` bytes read as zero; their space is given back. No payload. */
  hole: 3,
  /** A change of the catalog: `length` bytes of JSON. */
  catalog: 4,
  /** A marker of a cut over several systems: `length` bytes, as `cut-record.ts` has them. */
  marker: 5,
  /** That every member of the cut held behind such a marker: `length` bytes. */
  commit: 6,
  /** Where the checksums of volumes are compared: `length` bytes, as `point-record.ts` has them. */
  point: 7,
  /** Not numbered: `length` bytes behind the header mean nothing. */
  pad: 0x80,
  /** Not numbered: everything up to `number` was durable when this was written. */
  mark: 0x81,
  /** Not numbered, the last of its segment: `number` is the next segment's sequence. */
  roll: 0x82,
} as const;
export type RecordType = (typeof recordType)[keyof typeof recordType];

export const recordHeaderBytes = 28;
export const wideRecordHeaderBytes = 32;
const wideFlag = 1;
const two32 = 2 ** 32;

const checksumAt = 0;
const typeAt = 4;
const flagsAt = 5;
const volumeAt = 6;
const timeAt = 8;
const lengthAt = 12;
const numberAt = 16;
const offsetAt = 22;
const lengthHighAt = 28;

export function isNumbered(type: number): boolean {
  return type >= recordType.write && type <= recordType.point;
}

/** Of the types that there are. */
export function hasPayload(type: number): boolean {
  return type !== recordType.zero && type !== recordType.hole && type <= recordType.pad;
}

/** Whether it is about bytes of a volume. Of numbered types. */
export function changesVolume(type: number): boolean {
  return type <= recordType.hole;
}

/**
 * Writes a header at `at` and its checksum over header and payload; the payload lies behind it
 * already. `timeMilliseconds` counts from the segment's time base, `salt` is the segment's.
 */
export function stampRecord(
  bytes: Buffer,
  view: DataView,
  at: number,
  headerBytes: 28 | 32,
  type: RecordType,
  volume: number,
  timeMilliseconds: number,
  length: number,
  number: number,
  offset: number,
  salt: number,
): void {
  view.setUint16(at + typeAt, headerBytes === 32 ? type | (wideFlag << 8) : type, true);
  view.setUint16(at + volumeAt, volume, true);
  view.setUint32(at + timeAt, timeMilliseconds, true);
  view.setUint32(at + lengthAt, length, true);
  view.setUint32(at + numberAt, number, true);
  view.setUint16(at + numberAt + 4, (number / two32) | 0, true);
  view.setUint16(at + offsetAt, offset, true);
  view.setUint32(at + offsetAt + 2, offset / 65536, true);
  if (headerBytes === 32) view.setUint32(at + lengthHighAt, (length / two32) | 0, true);
  const end = at + headerBytes + (hasPayload(type) ? length : 0);
  const checksum = crc32(bytes.subarray(at + typeAt, end));
  view.setUint32(at + checksumAt, checksum ^ salt, true);
}

/** What a record's checksum and time depend on, of the segment that it is in. */
export interface RecordSegment {
  readonly salt: number;
  readonly timeBaseMilliseconds: number;
}

/** Makes a record, wholly in `bytes` and proved, one of another segment: same number, same time. */
export function restampRecord(
  bytes: Buffer,
  view: DataView,
  at: number,
  header: RecordHeader,
  from: RecordSegment,
  to: RecordSegment,
): void {
  const timeShift = from.timeBaseMilliseconds - to.timeBaseMilliseconds;
  if (timeShift === 0) {
    view.setUint32(at, view.getUint32(at, true) ^ from.salt ^ to.salt, true);
    return;
  }
  const { headerBytes, type, volume, timeMilliseconds, length, number, offset } = header;
  const time = Math.min(Math.max(0, timeMilliseconds + timeShift), two32 - 1);
  const width = headerBytes === wideRecordHeaderBytes ? wideRecordHeaderBytes : recordHeaderBytes;
  const known = type as RecordType;
  stampRecord(bytes, view, at, width, known, volume, time, length, number, offset, to.salt);
}

/** A decoded header, reused from record to record by whoever reads a journal. */
export interface RecordHeader {
  type: number;
  headerBytes: number;
  volume: number;
  timeMilliseconds: number;
  length: number;
  number: number;
  offset: number;
  payloadBytes: number;
}

export function emptyRecordHeader(): RecordHeader {
  return {
    type: 0,
    headerBytes: 0,
    volume: 0,
    timeMilliseconds: 0,
    length: 0,
    number: 0,
    offset: 0,
    payloadBytes: 0,
  };
}

/** By type: searching behind damage asks for every byte of a segment. */
const known = new Uint8Array(256);
for (const type of Object.values(recordType)) known[type] = 1;

export function isKnown(type: number): boolean {
  return known[type] === 1;
}

export type DecodeResult = 'header' | 'short' | 'invalid';

/**
 * Decodes the header at `at` of `bytes[0, end)` into `header`, without proving its checksum.
 * `short`: more bytes are needed; `invalid`: this can be no record.
 */
export function decodeHeader(
  view: DataView,
  at: number,
  end: number,
  header: RecordHeader,
): DecodeResult {
  if (end - at < recordHeaderBytes) return 'short';
  const type = view.getUint8(at + typeAt);
  const flags = view.getUint8(at + flagsAt);
  if (!isKnown(type) || (flags & ~wideFlag) !== 0) return 'invalid';
  const headerBytes = flags === wideFlag ? wideRecordHeaderBytes : recordHeaderBytes;
  if (end - at < headerBytes) return 'short';
  header.type = type;
  header.headerBytes = headerBytes;
  header.volume = view.getUint16(at + volumeAt, true);
  header.timeMilliseconds = view.getUint32(at + timeAt, true);
  header.length = view.getUint32(at + lengthAt, true);
  if (headerBytes === wideRecordHeaderBytes) {
    header.length += view.getUint32(at + lengthHighAt, true) * two32;
  }
  header.number =
    view.getUint32(at + numberAt, true) + view.getUint16(at + numberAt + 4, true) * two32;
  header.offset =
    view.getUint16(at + offsetAt, true) + view.getUint32(at + offsetAt + 2, true) * 65536;
  header.payloadBytes = hasPayload(type) ? header.length : 0;
  return 'header';
}

/** Whether the record at `at`, wholly in `bytes`, is what was stamped for a segment with this salt. */
export function checksumHolds(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  header: RecordHeader,
  salt: number,
): boolean {
  const end = at + header.headerBytes + header.payloadBytes;
  assert(end <= bytes.length, 'the record lies in the buffer');
  return view.getUint32(at, true) === (crc32(bytes.subarray(at + typeAt, end)) ^ salt) >>> 0;
}

export function assertUpdateNumber(number: number): void {
  assert(number >= 0 && number <= updateNumberMax, 'an update number fits 48 bits', number);
}
