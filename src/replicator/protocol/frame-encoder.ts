/** Frames written in place, around records and contents that lie there already. */
import { assert } from '../../platform/assert.ts';
import { crc32 } from '../../platform/checksum.ts';
import {
  type CopyHeader,
  copyHeaderBytes,
  copyKindAt,
  copyLengthAt,
  copyOffsetAt,
  copyPrefixBytes,
  copyShowsAt,
  copyVolumeAt,
  endFrameBytes,
  type FrameKind,
  frameHeaderBytes,
  frameKind,
  frameMagic,
  type RecordsHeader,
  recordsHeaderBytes,
  recordsPrefixBytes,
  stretchFrameBytes,
} from './frames.ts';
import { copyBytesMax, recordsBytesMax, type Stretch } from './wire.ts';

const two32 = 2 ** 32;

function setWhole48(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true);
  view.setUint16(at + 4, value / two32, true);
}

function encodeFrameHeader(view: DataView, at: number, kind: FrameKind, bytes: number): void {
  view.setUint32(at, frameMagic, true);
  view.setUint32(at + 4, kind, true);
  view.setUint32(at + 8, bytes, true);
}

/**
 * Writes the 44 bytes at `at` that precede `header.recordsBytes` bytes of records. Returns where the
 * records begin.
 */
export function encodeRecordsPrefix(view: DataView, at: number, header: RecordsHeader): number {
  const { recordsBytes } = header;
  assert(
    recordsBytes > 0 && recordsBytes <= recordsBytesMax,
    'the records fit one frame',
    recordsBytes,
  );
  encodeFrameHeader(view, at, frameKind.records, recordsHeaderBytes + recordsBytes);
  const fields = at + frameHeaderBytes;
  view.setUint32(fields, header.salt, true);
  setWhole48(view, fields + 4, header.timeBaseMilliseconds);
  setWhole48(view, fields + 10, header.first);
  setWhole48(view, fields + 16, header.last);
  view.setUint32(fields + 22, header.generation, true);
  setWhole48(view, fields + 26, header.incarnation);
  return at + recordsPrefixBytes;
}

/**
 * Writes the 48 bytes at `at` that precede the contents, and the checksum over fields and contents,
 * which must lie behind already. Returns where the contents begin.
 */
export function encodeCopyPrefix(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  header: CopyHeader,
): number {
  const { contentBytes } = header;
  assert(contentBytes <= copyBytesMax, 'the contents fit one copy frame', contentBytes);
  encodeFrameHeader(view, at, frameKind.copy, copyHeaderBytes + contentBytes);
  const fields = at + frameHeaderBytes;
  view.setUint8(fields + copyKindAt, header.kind);
  view.setUint8(fields + copyKindAt + 1, 0);
  view.setUint16(fields + copyVolumeAt, header.volume, true);
  setWhole48(view, fields + copyOffsetAt, header.offset);
  setWhole48(view, fields + copyLengthAt, header.length);
  setWhole48(view, fields + copyShowsAt, header.shows);
  view.setUint32(fields + copyShowsAt + 6, header.generation, true);
  setWhole48(view, fields + copyShowsAt + 10, header.incarnation);
  const end = fields + copyHeaderBytes + contentBytes;
  view.setUint32(fields, crc32(bytes.subarray(fields + 4, end)), true);
  return at + copyPrefixBytes;
}

/** Returns where the next frame begins. */
export function encodeStretch(view: DataView, at: number, stretch: Stretch): number {
  encodeFrameHeader(view, at, frameKind.stretch, stretchFrameBytes);
  const fields = at + frameHeaderBytes;
  view.setUint32(fields, stretch.generation, true);
  setWhole48(view, fields + 4, stretch.system);
  setWhole48(view, fields + 10, stretch.incarnation);
  setWhole48(view, fields + 16, stretch.firstNumber);
  return fields + stretchFrameBytes;
}

/** `frames`: how many stand before this one in the body. Returns where the body ends. */
export function encodeEnd(view: DataView, at: number, frames: number): number {
  encodeFrameHeader(view, at, frameKind.end, endFrameBytes);
  view.setUint32(at + frameHeaderBytes, frames, true);
  return at + frameHeaderBytes + endFrameBytes;
}
