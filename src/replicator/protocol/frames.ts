/**
 * The frames in the body of a journal answer, as PROTOCOL.md lays them out: kinds, sizes, and what
 * each says. All integers are little endian.
 */
import type { Stretch } from './wire.ts';

export const frameKind = {
  /** Raw records of one segment, whole ones. */
  records: 1,
  /** Contents of a volume, or a hole in it. */
  copy: 2,
  /** A stretch of the lineage begins: records behind it may belong to it. */
  stretch: 3,
  /** The last frame: without it the body was cut off. */
  end: 4,
} as const;
export type FrameKind = (typeof frameKind)[keyof typeof frameKind];

export const copyKind = { data: 1, hole: 2 } as const;
export type CopyKind = (typeof copyKind)[keyof typeof copyKind];

/** `jRF1` */
export const frameMagic = 0x3146_526a;
/** magic, kind, flags, reserved, bytes that follow. */
export const frameHeaderBytes = 12;
/** Behind the frame header, before the records. */
export const recordsHeaderBytes = 32;
/** Behind the frame header, before the contents. */
export const copyHeaderBytes = 36;
export const stretchFrameBytes = 22;
export const endFrameBytes = 4;

/** Fields of a copy frame, from behind the frame header on; its checksum comes first. */
export const copyKindAt = 4;
export const copyVolumeAt = 6;
export const copyOffsetAt = 8;
export const copyLengthAt = 14;
export const copyShowsAt = 20;

/** The frame's own header and the records' header: what a sender keeps free before the records. */
export const recordsPrefixBytes = frameHeaderBytes + recordsHeaderBytes;
export const copyPrefixBytes = frameHeaderBytes + copyHeaderBytes;

/** What stands before the records of a frame. All of them are of one segment and one stretch. */
export interface RecordsHeader {
  /** Of the segment: xored into the checksum of every record. */
  salt: number;
  /** Of the segment, Unix milliseconds: times in the records count from it. */
  timeBaseMilliseconds: number;
  /** First and last update number in the frame, which has them all; pads and marks may be among them. */
  first: number;
  last: number;
  /** Of the stretch that the numbers belong to. */
  generation: number;
  incarnation: number;
  /** Records, headers and payloads. */
  recordsBytes: number;
}

/** What stands before the contents of a copy frame. */
export interface CopyHeader {
  volume: number;
  kind: CopyKind;
  offset: number;
  length: number;
  /** Nothing that the contents show was written by a record above this number. */
  shows: number;
  /** Of the stretch that this number belongs to. */
  generation: number;
  incarnation: number;
  /** `length` for data, 0 for a hole. */
  contentBytes: number;
}

export function emptyCopyHeader(): CopyHeader {
  return {
    volume: 0,
    kind: copyKind.data,
    offset: 0,
    length: 0,
    shows: 0,
    generation: 0,
    incarnation: 0,
    contentBytes: 0,
  };
}

/**
 * Where decoded frames go. The headers are used again for the next frame: who wants to keep one copies
 * it. Calls come from within `FrameDecoder.decode`.
 */
export interface FrameReceiver {
  /**
   * A frame of records begins. The answer is where `recordsBytes` bytes are to be written, so at least
   * that long; `undefined`: there is no room now. The decoder then stops, and asks again when it is
   * given bytes or `decode` is called with none.
   */
  placeRecords(header: RecordsHeader): Uint8Array | undefined;
  /** The records of the last `placeRecords` are all there. They are not proved yet. */
  records(header: RecordsHeader): void;
  /** The same for `contentBytes` of a copy; not called where that is 0. */
  placeCopy(header: CopyHeader): Uint8Array | undefined;
  /** The contents are all there and the frame's checksum holds. */
  copy(header: CopyHeader): void;
  stretch(stretch: Stretch): void;
  /** The answer is whole. Nothing may follow. */
  end(): void;
}
