import type { Disk, DiskFile } from '../platform/disk.ts';
import { segmentBytes, segmentHeaderBytes } from '../platform/limits.ts';
import type { RecordHeader } from './record.ts';
import { isNumbered, recordType } from './record.ts';
import type { SegmentHeader } from './segment.ts';
import { SegmentReader } from './segment-reader.ts';

/** A segment file as found on disk, with the header it has. */
export interface FoundSegment {
  readonly path: string;
  readonly header: SegmentHeader;
  readonly file: DiskFile;
}

/** Where a scan starts: the record after `number` stands (or would) at this place. */
export interface ScanStart {
  readonly number: number;
  readonly sequence: number;
  readonly offset: number;
}

export interface RecordVisitor {
  /** `payloadOffset` is in the segment; `header` and `payload` hold until the next record. */
  record(
    header: RecordHeader,
    segment: FoundSegment,
    payloadOffset: number,
    payload: Uint8Array,
  ): void;
}

/** What a journal's numbers say about its contents (SAFETY 2, 3). */
export interface ScanOutcome {
  /** Every record up to this is there and whole. */
  readonly lastNumber: number;
  /** The highest number that anything in the journal says was durable. */
  readonly durable: number;
  /** The place behind the last record. */
  readonly sequence: number;
  readonly offset: number;
  /** Records that were durable and are not there any more: first and last number; why. */
  readonly damage:
    | { readonly from: number; readonly through: number; readonly text: string }
    | undefined;
  /** Per segment that holds records of the valid prefix: where they end, and the highest number. */
  readonly ends: ReadonlyMap<number, { readonly offset: number; readonly lastNumber: number }>;
}

/**
 * Walks a journal in the order of its segments and proves every record.
 *
 * The valid prefix ends at the first record that is missing or does not prove. If anything says that
 * a later number was durable (a mark, a segment's header, the checkpoint, the head) that is damage; so
 * is a segment that a roll leads to, or that the checkpoint is in, and that is not there: its header
 * was durable before anything referred to it. Otherwise it is the torn tail of a crash, and what
 * stands behind it is void for ever, because the next opening begins a segment that says so by its
 * first number.
 */
export class JournalScan {
  readonly #segments: readonly FoundSegment[];
  readonly #reader: SegmentReader;
  readonly #ends = new Map<number, { offset: number; lastNumber: number }>();
  #index: number;
  #offset: number;
  #lastNumber: number;
  #durable: number;
  #endSequence: number;
  #endOffset: number;
  /** The segment that the walk has to go on in: where it begins, or where a roll leads; 0: none. */
  #expected = 0;
  #stopped: string | undefined;
  /** Which segment is not there though it must be. */
  #lost: string | undefined;

  /** `durable`: what the head says; 0: nothing in this journal ever was. Segments in any order. */
  constructor(disk: Disk, segments: readonly FoundSegment[], start: ScanStart, durable: number) {
    this.#segments = [...segments].sort((a, b) => a.header.sequence - b.header.sequence);
    this.#reader = new SegmentReader(disk);
    this.#index = this.#segments.findIndex(({ header }) => header.sequence >= start.sequence);
    this.#offset =
      this.#segments[this.#index]?.header.sequence === start.sequence
        ? start.offset
        : segmentHeaderBytes;
    this.#lastNumber = start.number;
    this.#durable = Math.max(durable, start.number);
    // A follower's journal begins behind numbers that it never held.
    if (durable > 0) this.#expected = start.sequence;
    this.#endSequence = start.sequence;
    this.#endOffset = start.offset;
  }

  run(visitor: RecordVisitor): void {
    for (; this.#index >= 0 && this.#index < this.#segments.length; this.#index += 1) {
      const segment = this.#segments[this.#index];
      if (!segment) break;
      if (this.#enter(segment)) {
        if (this.#stopped === undefined) this.#walk(segment, visitor);
        if (this.#stopped !== undefined) this.#collectEvidence(segment);
      }
      this.#offset = segmentHeaderBytes;
    }
    this.#miss();
  }

  outcome(): ScanOutcome {
    const missing = this.#lastNumber + 1;
    const isDamaged = this.#durable >= missing || this.#lost !== undefined;
    return {
      lastNumber: this.#lastNumber,
      durable: this.#durable,
      sequence: this.#endSequence,
      offset: this.#endOffset,
      damage: isDamaged
        ? {
            from: missing,
            through: Math.max(this.#durable, missing),
            text: this.#lost ?? this.#stopped ?? 'the journal ends before it',
          }
        : undefined,
      ends: this.#ends,
    };
  }

  /** The walk goes on elsewhere than in the segment it should, or nowhere. */
  #miss(): void {
    if (this.#expected === 0 || this.#stopped !== undefined) return;
    const before = this.#segments[this.#index - 1];
    const leads = before ? `, where ${before.path} leads,` : '';
    this.#lost = `segment ${this.#expected}${leads} is not there`;
    this.#stopped = this.#lost;
    this.#expected = 0;
  }

  /** False: the device has another header than what was found, so nothing here can be believed. */
  #enter(segment: FoundSegment): boolean {
    const { header } = segment;
    const opened = this.#reader.open(segment.file);
    if (opened.kind !== 'header' || opened.header.salt !== header.salt) {
      const cause = this.#reader.readFailure ? ` (${this.#reader.readFailure.message})` : '';
      this.#lost ??= `the header of ${segment.path} cannot be read back${cause}`;
      this.#stopped ??= this.#lost;
      return false;
    }
    this.#durable = Math.max(this.#durable, header.durable);
    if (header.firstNumber > 0) {
      // The start of an incarnation or of a takeover: what stood at these numbers before is void, and
      // a walk that stopped goes on here when nothing is missing in between.
      if (header.firstNumber <= this.#lastNumber + 1) {
        this.#stopped = undefined;
        this.#lost = undefined;
      } else {
        this.#miss();
        this.#stopped ??= `segment ${segment.path} begins at ${header.firstNumber}`;
      }
      this.#expected = 0;
      return true;
    }
    const isExpected =
      header.sequence === this.#expected || (this.#expected === 0 && this.#lastNumber === 0);
    if (!isExpected) this.#miss();
    this.#expected = 0;
    if (!isExpected) this.#stopped ??= `no record leads to ${segment.path}`;
    return true;
  }

  /** The lowest number that a later segment says to begin at: from there on this one is void. */
  #voidFrom(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = this.#index + 1; i < this.#segments.length; i += 1) {
      const first = this.#segments[i]?.header.firstNumber ?? 0;
      if (first > 0) lowest = Math.min(lowest, first);
    }
    return lowest;
  }

  #walk(segment: FoundSegment, visitor: RecordVisitor): void {
    const reader = this.#reader;
    const { header } = reader;
    const voidFrom = this.#voidFrom();
    for (;;) {
      const result = reader.recordAt(this.#offset, segment.header.salt);
      if (result === 'end') break;
      if (result === 'invalid') {
        const cause = reader.readFailure ? ` (${reader.readFailure.message})` : '';
        this.#stopped = `no valid record at offset ${this.#offset} of ${segment.path}${cause}`;
        break;
      }
      const end = this.#offset + header.headerBytes + header.payloadBytes;
      if (header.type === recordType.roll) {
        this.#expected = header.number;
        this.#note(segment, end);
        return;
      }
      if (header.type === recordType.mark) this.#durable = Math.max(this.#durable, header.number);
      if (isNumbered(header.type)) {
        if (header.number >= voidFrom) {
          this.#stopped = `records from ${voidFrom} on stand in a later segment than ${segment.path}`;
          return;
        }
        if (header.number !== this.#lastNumber + 1) {
          this.#stopped = `number ${header.number} at offset ${this.#offset} of ${segment.path} follows ${this.#lastNumber}`;
          return;
        }
        const payloadOffset = this.#offset + header.headerBytes;
        visitor.record(header, segment, payloadOffset, reader.payload(this.#offset));
        this.#lastNumber = header.number;
      }
      this.#offset = end;
      this.#note(segment, end);
    }
  }

  #note(segment: FoundSegment, end: number): void {
    this.#endSequence = segment.header.sequence;
    this.#endOffset = Math.min(end, segmentBytes);
    // A segment with nothing but marks is not kept: a life without writes must not cost one.
    const { sequence } = segment.header;
    if (isNumbered(this.#reader.header.type) || this.#ends.has(sequence))
      this.#ends.set(sequence, { offset: end, lastNumber: this.#lastNumber });
  }

  /** Behind the valid prefix: what do marks there say of what was durable? */
  #collectEvidence(segment: FoundSegment): void {
    const { header } = this.#reader;
    for (let at = this.#offset; ; at += header.headerBytes) {
      at = this.#reader.nextMark(at, segment.header.salt);
      if (at < 0) return;
      this.#durable = Math.max(this.#durable, header.number);
    }
  }
}
