import { must } from '../platform/assert.ts';
import type { DiskFile } from '../platform/disk.ts';
import { KiB, MiB } from '../platform/limits.ts';
import { ApplyError, asApplyError, guard } from './apply-error.ts';
import type { ApplySegment } from './apply-messages.ts';
import type { ApplyStep } from './apply-plan.ts';
import type { JournalPayloads } from './journal-payloads.ts';
import { nodeKind } from './node-kind.ts';
import { shortBytes, ShortPayloads, windowBytes } from './short-payloads.ts';

/** Neighbours are put together up to this, and what is long is read that much at a time. */
const stagingBytes = 256 * KiB;
/** Of what is read together, at least this part has to be wanted. */
const wantedShare = 1 / 4;
/** One punch of 16 MiB of allocated blocks takes milliseconds: larger ones are done in parts. */
const punchBytesMax = 16 * MiB;

/** `bytes[start, start + length)` are at `offset` of the volume. */
export type Written = (
  volume: number,
  bytes: Uint8Array,
  start: number,
  length: number,
  offset: number,
) => void;

/**
 * Writes what one table changes, in few calls: neighbours are written at once, and payloads that stand
 * near each other in the journal are read at once. No byte is in two steps, so their order is free.
 */
export class VolumeWriter {
  readonly #payloads: JournalPayloads;
  readonly #written: Written;
  readonly #staging = new Uint8Array(stagingBytes);
  /** Room for a payload that begins at the end of a window. */
  readonly #window = new Uint8Array(windowBytes + shortBytes);
  readonly #short = new ShortPayloads();
  /** Of the steps that are kept: by volume, and by segment as steps name them. */
  readonly #files = new Map<number, DiskFile>();
  readonly #segments: (ApplySegment | undefined)[] = [];
  /** Of the step that was kept last. */
  #lastShort = 0;
  #file: DiskFile | undefined;
  #volume = 0;
  #offset = 0;
  #bytes = 0;

  /** `written` is told of all data that is in a volume's file. */
  constructor(payloads: JournalPayloads, written: Written) {
    this.#payloads = payloads;
    this.#written = written;
  }

  /** Forgets what a table left that failed. */
  begin(): void {
    this.#bytes = 0;
    this.#short.clear();
    this.#files.clear();
    this.#segments.length = 0;
  }

  /** Data of a volume, which is there when `finish` has ended. The step is the caller's again then. */
  data(file: DiskFile, step: ApplyStep, segment: ApplySegment): void {
    const { volume, offset, length, segmentOffset } = step;
    if (length >= shortBytes || segment.direct) {
      this.#stageFromJournal(file, segment, volume, offset, length, segmentOffset);
      return;
    }
    if (this.#short.isFull) for (const _ of this.#writeWindows());
    if (this.#short.count === 0 || volume !== this.#lastShort) this.#files.set(volume, file);
    this.#lastShort = volume;
    this.#segments[step.segment] = segment;
    this.#short.add(step);
  }

  clear(file: DiskFile, step: Pick<ApplyStep, 'kind' | 'volume' | 'offset' | 'length'>): void {
    for (let done = 0; done < step.length; done += punchBytesMax) {
      const length = Math.min(punchBytesMax, step.length - done);
      guard('volume', step.volume, () => {
        if (step.kind === nodeKind.hole) file.punchHoleSync(step.offset + done, length);
        else file.zeroRangeSync(step.offset + done, length);
      });
    }
  }

  /** Stops now and then, so that its thread can do something else: until it has ended it is in the middle of the table. */
  *finish(): Generator<void> {
    this.#flush();
    yield* this.#writeWindows();
    this.begin();
  }

  /** The journal is read in the order in which it was written. */
  *#writeWindows(): Generator<void> {
    const short = this.#short;
    short.sort();
    for (let at = 0; at < short.count; ) {
      const end = short.windowEnd(at);
      this.#writeWindow(at, end);
      at = end;
      yield;
    }
    short.clear();
  }

  #writeWindow(first: number, end: number): void {
    const short = this.#short;
    const segment = must(this.#segments[short.segment(first)], 'the segment of a step');
    let readFrom = Infinity;
    let readEnd = 0;
    let wanted = 0;
    for (let at = first; at < end; at += 1) {
      const segmentOffset = short.segmentOffset(at);
      const length = short.length(at);
      readFrom = Math.min(readFrom, segmentOffset);
      readEnd = Math.max(readEnd, segmentOffset + length);
      wanted += length;
    }
    const isRead =
      wanted >= (readEnd - readFrom) * wantedShare &&
      this.#readWindow(segment, readFrom, readEnd - readFrom);
    for (let at = first; at < end; at += 1) {
      const volume = short.volume(at);
      const offset = short.offset(at);
      const length = short.length(at);
      const segmentOffset = short.segmentOffset(at);
      const file = must(this.#files.get(volume), 'the file of a step');
      if (!isRead) {
        this.#stageFromJournal(file, segment, volume, offset, length, segmentOffset);
      } else if (
        this.#continues(volume, offset) ||
        (at + 1 < end &&
          short.offset(at + 1) === offset + length &&
          short.volume(at + 1) === volume)
      ) {
        this.#stageFromWindow(file, volume, offset, length, segmentOffset - readFrom);
      } else {
        this.#write(file, volume, offset, length, segmentOffset - readFrom);
      }
    }
    this.#flush();
  }

  /** False: something in it cannot be read, which nobody may want. */
  #readWindow(segment: ApplySegment, start: number, length: number): boolean {
    try {
      this.#payloads.read(segment, undefined, this.#window, 0, length, start);
      return true;
    } catch (error) {
      if (!(error instanceof ApplyError)) throw error;
      return false;
    }
  }

  #continues(volume: number, offset: number): boolean {
    return this.#bytes > 0 && volume === this.#volume && offset === this.#offset + this.#bytes;
  }

  /** A payload that stands alone is written from where it was read. */
  #write(file: DiskFile, volume: number, offset: number, length: number, at: number): void {
    this.#flush();
    try {
      file.writeSync(this.#window, at, length, offset);
    } catch (error) {
      throw asApplyError('volume', volume, error);
    }
    this.#written(volume, this.#window, at, length, offset);
  }

  #stageFromWindow(
    file: DiskFile,
    volume: number,
    offset: number,
    length: number,
    at: number,
  ): void {
    for (let done = 0; done < length; ) {
      const count = this.#room(file, volume, offset + done, length - done);
      const from = at + done;
      this.#staging.set(this.#window.subarray(from, from + count), this.#bytes);
      this.#bytes += count;
      done += count;
    }
  }

  #stageFromJournal(
    file: DiskFile,
    segment: ApplySegment,
    volume: number,
    offset: number,
    length: number,
    segmentOffset: number,
  ): void {
    for (let done = 0; done < length; ) {
      const count = this.#room(file, volume, offset + done, length - done);
      const position = segmentOffset + done;
      this.#payloads.read(segment, volume, this.#staging, this.#bytes, count, position);
      this.#bytes += count;
      done += count;
    }
  }

  /** How much of `length` can be staged for that place now; what is staged for another one is written. */
  #room(file: DiskFile, volume: number, offset: number, length: number): number {
    if (!this.#continues(volume, offset) || this.#bytes === stagingBytes) this.#flush();
    if (this.#bytes === 0) {
      this.#file = file;
      this.#volume = volume;
      this.#offset = offset;
    }
    return Math.min(length, stagingBytes - this.#bytes);
  }

  #flush(): void {
    const bytes = this.#bytes;
    const file = this.#file;
    if (bytes === 0 || !file) return;
    this.#bytes = 0;
    guard('volume', this.#volume, () => file.writeSync(this.#staging, 0, bytes, this.#offset));
    this.#written(this.#volume, this.#staging, 0, bytes, this.#offset);
  }
}
