import { slabHeadroomBytes } from '../platform/limits.ts';
import type { ReceiveSlab } from './receive-slab.ts';
import type { RecordType } from './record.ts';
import { recordHeaderBytes, recordType, stampRecord } from './record.ts';
import type { SegmentHeader } from './segment.ts';

const timeMillisecondsMax = 2 ** 32 - 1;

/**
 * Records that stand one behind the other in a slab and go to the journal in one write. One object
 * for all runs of a journal, used again and again.
 */
export class Run {
  #slab: ReceiveSlab | undefined;
  #start = 0;
  #end = 0;
  /** Behind the last record that counts: trailing pads are not written. */
  #recordsEnd = 0;
  #timeMilliseconds = 0;
  #salt = 0;

  get slab(): ReceiveSlab | undefined {
    return this.#slab;
  }
  get start(): number {
    return this.#start;
  }
  get recordsEnd(): number {
    return this.#recordsEnd;
  }
  /** Bytes stamped so far, pads included. */
  get bytes(): number {
    return this.#slab ? this.#end - this.#start : 0;
  }

  /** Whether a record at `start` of the slab would be the next of this run. */
  continuesAt(slab: ReceiveSlab, start: number): boolean {
    return this.#slab === slab && this.#end === start;
  }

  /** Whether a mark fits before a run that begins here, in the free headroom of the slab. */
  static hasHeadroom(start: number): boolean {
    return start >= recordHeaderBytes && start <= slabHeadroomBytes;
  }

  /** Begins a run for a segment; all its records get the same time. */
  begin(slab: ReceiveSlab, start: number, segment: SegmentHeader, wallMilliseconds: number): void {
    this.#slab = slab;
    this.#start = start;
    this.#end = start;
    this.#recordsEnd = start;
    this.#salt = segment.salt;
    const time = wallMilliseconds - segment.timeBaseMilliseconds;
    this.#timeMilliseconds = Math.min(Math.max(0, time), timeMillisecondsMax);
  }

  /** Puts a mark before the run's first record. */
  prependMark(durable: number): void {
    const first = this.#start;
    this.#start = first - recordHeaderBytes;
    this.#stamp(this.#start, recordHeaderBytes, recordType.mark, 0, 0, durable, 0);
  }

  /** Stamps the next record; `recordBytes` is header and payload. */
  append(
    headerBytes: 28 | 32,
    recordBytes: number,
    type: RecordType,
    volume: number,
    length: number,
    number: number,
    offset: number,
  ): void {
    this.#stamp(this.#end, headerBytes, type, volume, length, number, offset);
    this.#end += recordBytes;
    this.#recordsEnd = this.#end;
  }

  /** The next record, stamped for the segment by whoever received it. */
  appendStamped(recordBytes: number): void {
    this.#end += recordBytes;
    this.#recordsEnd = this.#end;
  }

  appendPad(headerBytes: 28 | 32): void {
    this.#stamp(this.#end, headerBytes, recordType.pad, 0, 0, 0, 0);
    this.#end += headerBytes;
  }

  /** The run is written: there is none until the next `begin`. */
  finish(): void {
    this.#slab = undefined;
  }

  #stamp(
    at: number,
    headerBytes: 28 | 32,
    type: RecordType,
    volume: number,
    length: number,
    number: number,
    offset: number,
  ): void {
    const slab = this.#slab;
    if (!slab) return;
    const { bytes, view } = slab;
    const time = this.#timeMilliseconds;
    stampRecord(
      bytes,
      view,
      at,
      headerBytes,
      type,
      volume,
      time,
      length,
      number,
      offset,
      this.#salt,
    );
  }
}
