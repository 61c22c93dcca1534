import type { Disk, DiskFile } from '../platform/disk.ts';
import { MiB, segmentBytes, segmentHeaderBytes } from '../platform/limits.ts';
import type { RecordHeader } from './record.ts';
import {
  checksumHolds,
  decodeHeader,
  emptyRecordHeader,
  isKnown,
  isNumbered,
  recordType,
} from './record.ts';
import type { SegmentHeaderResult } from './segment.ts';
import { decodeSegmentHeader } from './segment.ts';

const loadBytes = 1 * MiB;
/** Much of a segment was never written: that is passed over in steps of this. */
const blankBytes = 4096;
const blank = Buffer.alloc(blankBytes * 2);
/** Type, flags and volume of every mark, four bytes behind its start. */
const markStart = Buffer.from([recordType.mark, 0, 0, 0]);

export type RecordResult =
  | 'record'
  /** Nothing valid at this offset: the end of what was written, or damage. */
  | 'invalid'
  /** The segment has no more room. */
  | 'end';

/**
 * Reads one segment at a time as the device holds it (past the page cache, unless it is told otherwise),
 * for recovery and offline inspection. Holds one segment in memory, loaded as far as it was asked for.
 */
export class SegmentReader {
  readonly header: RecordHeader = emptyRecordHeader();
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #file: DiskFile | undefined;
  #isDirect = true;
  #loaded = 0;
  #readFailure: Error | undefined;

  constructor(disk: Disk) {
    this.#bytes = disk.allocateAligned(segmentBytes);
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, segmentBytes);
  }

  /** The error of the device behind an `invalid`, if it was one. */
  get readFailure(): Error | undefined {
    return this.#readFailure;
  }

  /** `isDirect`: what the page cache has is not believed (SAFETY 4). */
  open(file: DiskFile, isDirect = true): SegmentHeaderResult {
    this.#file = file;
    this.#isDirect = isDirect;
    this.#loaded = 0;
    this.#readFailure = undefined;
    return this.#load(4096) ? decodeSegmentHeader(this.#bytes.subarray(0, 4096)) : { kind: 'bad' };
  }

  /** Proves the record at `offset` and leaves its header in `header`. */
  recordAt(offset: number, salt: number): RecordResult {
    const { header } = this;
    if (offset + 28 > segmentBytes) return 'end';
    if (!this.#load(Math.min(segmentBytes, offset + 32))) return 'invalid';
    if (decodeHeader(this.#view, offset, segmentBytes, header) !== 'header') return 'invalid';
    const end = offset + header.headerBytes + header.payloadBytes;
    if (end > segmentBytes || !this.#load(end)) return 'invalid';
    return checksumHolds(this.#bytes, this.#view, offset, header, salt) ? 'record' : 'invalid';
  }

  /** Whether what is at `offset` looks like a record, proved or not; its header is then in `header`. */
  beginsAt(offset: number): boolean {
    if (offset + 28 > segmentBytes || !this.#load(Math.min(segmentBytes, offset + 32)))
      return false;
    return decodeHeader(this.#view, offset, segmentBytes, this.header) === 'header';
  }

  payload(offset: number): Uint8Array {
    const start = offset + this.header.headerBytes;
    return this.#bytes.subarray(start, start + this.header.payloadBytes);
  }

  /**
   * The next offset from `from` on where a record proves that is a mark or a roll, or has a number in
   * (after, after + 2^24]; -1 where there is none. Its header is in `header`. Byte by byte: only for
   * what stands behind something invalid.
   */
  nextValid(from: number, after: number, salt: number): number {
    this.#load(segmentBytes);
    const { header } = this;
    const bytes = this.#bytes;
    const loaded = this.#loaded;
    for (let at = from; at + 28 <= loaded; at += 1) {
      const type = bytes[at + 4] ?? 0;
      if (type === 0) {
        if (at % blankBytes === 0) while (this.#isBlank(at)) at += blankBytes;
        continue;
      }
      if (!isKnown(type) || this.recordAt(at, salt) !== 'record') continue;
      if (!isNumbered(type)) {
        if (type !== recordType.pad && header.length === 0) return at;
      } else if (header.number > after && header.number <= after + 2 ** 24) {
        return at;
      }
    }
    return -1;
  }

  /** The first number after `after` of a segment just opened; 0: it has none. */
  firstNumber(after: number, salt: number): number {
    const { header } = this;
    let at = segmentHeaderBytes;
    for (; this.recordAt(at, salt) === 'record'; at += header.headerBytes + header.payloadBytes) {
      if (isNumbered(header.type)) return header.number;
    }
    // Nothing was written, or what was written first is damaged.
    for (; ; at += 1) {
      at = this.nextValid(at, after, salt);
      if (at < 0) return 0;
      if (isNumbered(header.type)) return header.number;
    }
  }

  /** The last number of a segment just opened, up to the first record that does not prove; 0: none. */
  lastNumber(salt: number): number {
    const { header } = this;
    let last = 0;
    let at = segmentHeaderBytes;
    for (; this.recordAt(at, salt) === 'record'; at += header.headerBytes + header.payloadBytes) {
      if (isNumbered(header.type)) last = header.number;
    }
    return last;
  }

  /** The next mark that proves from `from` on; -1 where there is none. Its header is in `header`. */
  nextMark(from: number, salt: number): number {
    this.#load(segmentBytes);
    const bytes = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#loaded);
    for (let at = from; ; at += 1) {
      const found = bytes.indexOf(markStart, at + 4);
      if (found < 0) return -1;
      at = found - 4;
      if (this.recordAt(at, salt) === 'record' && this.header.length === 0) return at;
    }
  }

  /** Nothing can begin here, nor before the last bytes of it. */
  #isBlank(at: number): boolean {
    const end = at + blankBytes * 2;
    return end <= this.#loaded && blank.compare(this.#bytes, at, end) === 0;
  }

  #load(end: number): boolean {
    if (end <= this.#loaded) return true;
    const until = Math.min(segmentBytes, Math.ceil(end / loadBytes) * loadBytes);
    // In one read; where the device fails, in small ones, so that all is had up to the bad sector.
    if (!this.#read(until - this.#loaded)) while (end > this.#loaded && this.#read(4096));
    return end <= this.#loaded;
  }

  #read(bytes: number): boolean {
    try {
      const at = this.#loaded;
      const read = this.#file ? this.#readFrom(this.#file, bytes, at) : 0;
      this.#loaded += read;
      return read > 0;
    } catch (error) {
      this.#readFailure = error as Error;
      return false;
    }
  }

  #readFrom(file: DiskFile, bytes: number, at: number): number {
    if (this.#isDirect) return file.readDirectSync(this.#bytes, at, bytes, at);
    return file.readSync(this.#bytes, at, bytes, at);
  }
}
