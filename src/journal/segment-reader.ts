import type { Disk, DiskFile } from '../platform/disk.ts';
import { MiB, segmentBytes } from '../platform/limits.ts';
import type { RecordHeader } from './record.ts';
import {
  checksumHolds,
  decodeHeader,
  emptyRecordHeader,
  isNumbered,
  recordType,
} from './record.ts';
import type { SegmentHeaderResult } from './segment.ts';
import { decodeSegmentHeader } from './segment.ts';

const loadBytes = 1 * MiB;
/** Type, flags and volume of every mark, four bytes behind its start. */
const markStart = Buffer.from([recordType.mark, 0, 0, 0]);

export type RecordResult =
  | 'record'
  /** Nothing valid at this offset: the end of what was written, or damage. */
  | 'invalid'
  /** The segment has no more room. */
  | 'end';

/**
 * Reads one segment at a time as the device holds it (past the page cache), for recovery and offline
 * inspection. Holds one segment in memory, loaded as far as it was asked for.
 */
export class SegmentReader {
  readonly header: RecordHeader = emptyRecordHeader();
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #file: DiskFile | undefined;
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

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  open(file: DiskFile): SegmentHeaderResult {
    this.#file = file;
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

  payload(offset: number): Uint8Array {
    const start = offset + this.header.headerBytes;
    return this.#bytes.subarray(start, start + this.header.payloadBytes);
  }

  /**
   * The number of the next record that proves, from `from` on, with one in (after, after + 2^24]; 0
   * where there is none. Byte by byte: only for what stands behind something invalid.
   */
  nextNumbered(from: number, after: number, salt: number): number {
    this.#load(segmentBytes);
    const { header } = this;
    for (let at = from; at + 28 <= this.#loaded; at += 1) {
      const type = this.#bytes[at + 4] ?? 0;
      if (!isNumbered(type) || this.recordAt(at, salt) !== 'record') continue;
      if (header.number > after && header.number <= after + 2 ** 24) return header.number;
    }
    return 0;
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
      const read = this.#file?.readDirectSync(this.#bytes, at, bytes, at) ?? 0;
      this.#loaded += read;
      return read > 0;
    } catch (error) {
      this.#readFailure = error as Error;
      return false;
    }
  }
}
