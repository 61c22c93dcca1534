import type { DiskFile } from '../platform/disk.ts';
import { KiB, MiB } from '../platform/limits.ts';
import { ApplyError, guard } from './apply-error.ts';
import type { ApplySegment } from './apply-messages.ts';
import type { ApplyStep } from './apply-plan.ts';
import type { JournalPayloads } from './journal-payloads.ts';
import { nodeKind } from './node-kind.ts';

/**
 * At most so much is written at once. A page cache keeps what was written at once in one folio, and
 * looks at every block of a folio for each later write into it: after writes of 1 MiB a write of 4 KiB
 * took 3.3 microseconds, after writes of 256 KiB 1.5 (ext4, Linux 6.18).
 */
const stagingBytes = 256 * KiB;
/** Payloads shorter than this are read together with what stands around them in the journal. */
const shortBytes = 32 * KiB;
const windowBytes = 2 * MiB;
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

/** The short payloads that begin in one part of a segment. */
interface Window {
  readonly segment: ApplySegment;
  readonly files: DiskFile[];
  /** By volume and address. */
  readonly steps: ApplyStep[];
}

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
  readonly #windows = new Map<number, Window>();
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
    this.#windows.clear();
  }

  /** Data of a volume, which is there when `finish` returns. */
  data(file: DiskFile, step: ApplyStep, segment: ApplySegment): void {
    if (step.length >= shortBytes || segment.direct) {
      this.#stageFromJournal(file, step, segment);
      return;
    }
    const part = Math.floor(step.segmentOffset / windowBytes);
    const key = segment.sequence * 16 + part;
    let window = this.#windows.get(key);
    if (!window) {
      window = { segment, files: [], steps: [] };
      this.#windows.set(key, window);
    }
    window.files.push(file);
    window.steps.push(step);
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

  finish(): void {
    this.#flush();
    // In the order of the journal: it is read as it was written.
    const keys = [...this.#windows.keys()].sort((a, b) => a - b);
    for (const key of keys) {
      const window = this.#windows.get(key);
      if (window) this.#writeWindow(window);
      this.#windows.delete(key);
    }
  }

  #writeWindow({ segment, files, steps }: Window): void {
    let start = Infinity;
    let end = 0;
    let wanted = 0;
    for (const { segmentOffset, length } of steps) {
      start = Math.min(start, segmentOffset);
      end = Math.max(end, segmentOffset + length);
      wanted += length;
    }
    const isRead =
      wanted >= (end - start) * wantedShare && this.#readWindow(segment, start, end - start);
    for (const [at, step] of steps.entries()) {
      const file = files[at];
      if (!file) continue;
      if (!isRead) this.#stageFromJournal(file, step, segment);
      else if (this.#isAlone(steps, at)) this.#write(file, step, step.segmentOffset - start);
      else this.#stageFromWindow(file, step, step.segmentOffset - start);
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

  #isAlone(steps: readonly ApplyStep[], at: number): boolean {
    const step = steps[at];
    const next = steps[at + 1];
    if (!step) return true;
    const { volume, offset, length } = step;
    const isNeighbour = next?.volume === volume && next.offset === offset + length;
    return !isNeighbour && !this.#continues(volume, offset);
  }

  #continues(volume: number, offset: number): boolean {
    return this.#bytes > 0 && volume === this.#volume && offset === this.#offset + this.#bytes;
  }

  #write(file: DiskFile, { volume, offset, length }: ApplyStep, at: number): void {
    this.#flush();
    guard('volume', volume, () => file.writeSync(this.#window, at, length, offset));
    this.#written(volume, this.#window, at, length, offset);
  }

  #stageFromWindow(file: DiskFile, { volume, offset, length }: ApplyStep, at: number): void {
    for (let done = 0; done < length; ) {
      const count = this.#room(file, volume, offset + done, length - done);
      const from = at + done;
      this.#staging.set(this.#window.subarray(from, from + count), this.#bytes);
      this.#bytes += count;
      done += count;
    }
  }

  #stageFromJournal(file: DiskFile, step: ApplyStep, segment: ApplySegment): void {
    const { volume, offset, length, segmentOffset } = step;
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
