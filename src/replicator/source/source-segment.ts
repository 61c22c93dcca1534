import { decodeHeader, emptyRecordHeader, isNumbered, recordType } from '../../journal/record.ts';
import { JnbdError, messageOf } from '../../platform/errors.ts';
import { KiB, segmentBytes, segmentHeaderBytes } from '../../platform/limits.ts';
import type { BatchBuffer } from './batch-buffers.ts';
import type { SourceFiles } from './source-files.ts';
import type { SourceSegmentPlace } from './source-messages.ts';

/** What is walked at most to find a record. */
const anchorBytes = 256 * KiB;
/** Headers are looked for in so much at a time. */
export const windowBytes = 16 * KiB;

const header = emptyRecordHeader();

/** One segment of a journal that others write, and where some of its records stand. */
export class SourceSegment {
  readonly place: SourceSegmentPlace;
  readonly #files: SourceFiles;
  /** Numbers and offsets of records, rising: one every `anchorBytes` of what was walked. */
  readonly #anchorNumbers: number[] = [];
  readonly #anchorOffsets: number[] = [];
  /** Where the last reader ended. */
  #nextNumber = 0;
  #nextOffset = segmentHeaderBytes;
  /** Nothing is written from here on, as far as is known. */
  endOffset = segmentBytes;
  isGone = false;

  constructor(files: SourceFiles, place: SourceSegmentPlace) {
    this.#files = files;
    this.place = place;
  }

  /** Reads what is written at `position`, at most `length` bytes. Throws record_unreadable. */
  async read(bytes: Uint8Array, start: number, length: number, position: number): Promise<number> {
    const count = Math.min(length, this.endOffset - position);
    if (count <= 0) return 0;
    try {
      return await this.#files.read(this.place.path, 'segment', bytes, start, count, position);
    } catch (error) {
      return this.unreadable(position, messageOf(error));
    }
  }

  /** The record before which nothing of the journal's order is missing stands at this offset. */
  note(number: number, offset: number): void {
    const last = this.#anchorOffsets.at(-1) ?? 0;
    if (offset < last + anchorBytes) return;
    this.#anchorNumbers.push(number);
    this.#anchorOffsets.push(offset);
  }

  /** A reader read up to `offset`, where the record `number` stands or will. */
  leave(number: number, offset: number): void {
    this.#nextNumber = number;
    this.#nextOffset = offset;
  }

  /** Where `find` would begin without reading anything; undefined: not known. */
  offsetOf(number: number): number | undefined {
    return this.#nextNumber === number ? this.#nextOffset : undefined;
  }

  /**
   * Where the record `number` stands, or something unnumbered right before it. It is durable, and in
   * this segment. Reads through `windowBytes` of `scratch` from `start` on. Throws record_unreadable.
   */
  async find(number: number, scratch: BatchBuffer, start: number): Promise<number> {
    if (this.#nextNumber === number) return this.#nextOffset;
    let offset = this.#start(number);
    for (;;) {
      const windowStart = offset;
      const count = await this.read(scratch.bytes, start, windowBytes, windowStart);
      for (;;) {
        const at = offset - windowStart;
        const end = start + count;
        const decoded = at < count ? decodeHeader(scratch.view, start + at, end, header) : 'short';
        if (decoded === 'short' && at > 0) break;
        if (decoded !== 'header') return this.unreadable(offset, `update ${number} is behind it`);
        if (isNumbered(header.type)) {
          if (header.number === number) return offset;
          if (header.number > number) this.unreadable(offset, `update ${header.number} is there`);
          this.note(header.number, offset);
        } else if (header.type === recordType.roll) {
          return this.unreadable(offset, `the segment ends before update ${number}`);
        }
        offset += header.headerBytes + header.payloadBytes;
      }
    }
  }

  #start(number: number): number {
    let offset = segmentHeaderBytes;
    for (let i = this.#anchorNumbers.length - 1; i >= 0; i -= 1) {
      if ((this.#anchorNumbers[i] ?? 0) > number) continue;
      offset = this.#anchorOffsets[i] ?? offset;
      break;
    }
    const isNearer = this.#nextNumber > 0 && this.#nextNumber <= number;
    return isNearer ? Math.max(offset, this.#nextOffset) : offset;
  }

  /** Also where the segment was released and is used again meanwhile: another try then says so. */
  unreadable(offset: number, why: string): never {
    const { path } = this.place;
    throw new JnbdError(
      'record_unreadable',
      `no record can be read at offset ${offset} of ${path}: ${why}`,
    );
  }
}
