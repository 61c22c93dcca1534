import { crc32 } from '../platform/checksum.ts';
import { segmentBytes, segmentHeaderBytes } from '../platform/limits.ts';

/**
 * The header of a segment: which use of the file this is. FORMAT.md has the byte table. It stands
 * twice in the first 4 KiB, in two sectors, so that one bad sector does not lose a segment.
 *
 * A header is durable before a record, or the roll of the segment before, refers to it: a segment
 * that must be there and has no readable header is damaged, never "not yet written".
 */
export interface SegmentHeader {
  readonly groupId: string;
  readonly generation: number;
  readonly generationSystem: number;
  readonly incarnation: number;
  /** 1 for the group's first segment, one more for each later one, over all areas. */
  readonly sequence: number;
  /** Where an incarnation begins: its first update number; 0 in the segments that follow. */
  readonly firstNumber: number;
  /** Everything up to this was durable when the header was written. */
  readonly durable: number;
  /** Unix milliseconds that record times count from. */
  readonly timeBaseMilliseconds: number;
  /** Xored into each record's checksum, so that records of an earlier use never pass. */
  readonly salt: number;
}

export const segmentMagic = 'jnbdSEG1';
export const segmentFormatVersion = 1;
const headerBytes = 96;
const copiesAt = [0, 2048];
const copyBytesMax = 512;

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const block = Buffer.alloc(segmentHeaderBytes);
  block.write(segmentMagic, 0, 'latin1');
  block.writeUInt16LE(segmentFormatVersion, 8);
  block.writeUInt16LE(headerBytes, 10);
  block.writeUInt32LE(segmentBytes, 12);
  Buffer.from(header.groupId, 'hex').copy(block, 16, 0, 16);
  block.writeUInt32LE(header.generation, 32);
  block.writeUInt32LE(header.salt, 36);
  block.writeUIntLE(header.generationSystem, 40, 6);
  block.writeUIntLE(header.incarnation, 48, 6);
  block.writeUIntLE(header.sequence, 56, 6);
  block.writeUIntLE(header.firstNumber, 64, 6);
  block.writeUIntLE(header.timeBaseMilliseconds, 72, 6);
  block.writeUIntLE(header.durable, 80, 6);
  block.writeUInt32LE(crc32(block.subarray(0, headerBytes - 4)), headerBytes - 4);
  block.copy(block, copiesAt[1], 0, headerBytes);
  return block;
}

/** In every format the magic, the version and the length come first and the checksum last. */
function isWhole(copy: Buffer): boolean {
  if (copy.toString('latin1', 0, 8) !== segmentMagic) return false;
  const checksumAt = copy.readUInt16LE(10) - 4;
  if (checksumAt < 12 || checksumAt > copyBytesMax - 4) return false;
  return copy.readUInt32LE(checksumAt) === crc32(copy.subarray(0, checksumAt));
}

export type SegmentHeaderResult =
  | { readonly kind: 'header'; readonly header: SegmentHeader }
  /** Never used: nothing but zeroes. */
  | { readonly kind: 'blank' }
  | { readonly kind: 'newer'; readonly formatVersion: number }
  | { readonly kind: 'bad' };

/** Reads the first 4 KiB of a segment. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeaderResult {
  const block = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (block.length < segmentHeaderBytes) return { kind: 'bad' };
  if (block.every((byte) => byte === 0)) return { kind: 'blank' };
  for (const at of copiesAt) {
    const copy = block.subarray(at, at + copyBytesMax);
    if (!isWhole(copy)) continue;
    const formatVersion = copy.readUInt16LE(8);
    if (formatVersion > segmentFormatVersion) return { kind: 'newer', formatVersion };
    return {
      kind: 'header',
      header: {
        groupId: copy.toString('hex', 16, 32),
        generation: copy.readUInt32LE(32),
        salt: copy.readUInt32LE(36),
        generationSystem: copy.readUIntLE(40, 6),
        incarnation: copy.readUIntLE(48, 6),
        sequence: copy.readUIntLE(56, 6),
        firstNumber: copy.readUIntLE(64, 6),
        timeBaseMilliseconds: copy.readUIntLE(72, 6),
        durable: copy.readUIntLE(80, 6),
      },
    };
  }
  return { kind: 'bad' };
}

/** Slot files are named by their place in the area, never by what they hold at the moment. */
export function segmentFileName(slot: number): string {
  return `${String(slot).padStart(6, '0')}.segment`;
}

export const segmentFilePattern = /^\d{6}\.segment$/;

/** A place in a group's journal: ordered by sequence, then offset. */
export interface JournalPosition {
  readonly sequence: number;
  readonly offset: number;
}
