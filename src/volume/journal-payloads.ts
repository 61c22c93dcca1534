import { isNumbered } from '../journal/record.ts';
import { SegmentReader } from '../journal/segment-reader.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { segmentBytes, segmentHeaderBytes } from '../platform/limits.ts';
import { guard } from './apply-error.ts';
import type { ApplySegment } from './apply-messages.ts';

/** Every segment of a journal of 16 GiB: blocks are read in order of their address, from all over it. */
const openSegmentsMax = 1024;
/** Applied segments that are in memory for followers which have not received them: 1 GiB. */
const appliedSegmentsMax = 64;
const pageBytes = 4096;

/** What is applied is read through this: the payloads of records, from the files of the segments. */
export class JournalPayloads {
  readonly #disk: Disk;
  readonly #files = new Map<string, DiskFile>();
  /** Paths of segments that are applied and still in memory, in that order, with their last numbers. */
  readonly #applied = new Map<string, number>();
  /** Sequences of segments on failed areas whose records proved. */
  readonly #proved = new Set<number>();

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  close(): void {
    for (const file of this.#files.values()) file.closeSync();
    this.#files.clear();
  }

  /** All of it, or it throws: `volume` is whose it is, where it is one's. */
  read(
    segment: ApplySegment,
    volume: number | undefined,
    into: Uint8Array,
    start: number,
    length: number,
    position: number,
  ): void {
    const file = this.#file(segment.path);
    if (segment.direct) this.#prove(segment, file);
    guard('segment', volume, () => {
      const count = segment.direct
        ? this.#readDirect(file, into, start, length, position)
        : file.readSync(into, start, length, position);
      if (count !== length) throw new Error(`${segment.path} ends at ${position + count}`);
    });
  }

  /** All of it is. */
  applied({ path, lastNumber }: ApplySegment): void {
    this.#applied.delete(path); // It was another segment's.
    this.#applied.set(path, lastNumber);
  }

  /**
   * Nobody who follows the journal reads soon what is applied of it up to `through`. What is appended next is written
   * to the memory that is let go here, where new pages would have to be found for all of the journal, in place of
   * others that are of use.
   */
  letGo(through: number): void {
    for (const [path, lastNumber] of this.#applied) {
      if (lastNumber > through && this.#applied.size <= appliedSegmentsMax) return;
      this.#applied.delete(path);
      this.#files.get(path)?.adviseNotNeeded(0, segmentBytes);
    }
  }

  /** Every record of a failed area is proved, from the device, before any of them is believed. */
  #prove(segment: ApplySegment, file: DiskFile): void {
    if (this.#proved.has(segment.sequence)) return;
    guard('segment', undefined, () => {
      const reader = new SegmentReader(this.#disk);
      const found = reader.open(file);
      if (found.kind !== 'header') throw new Error(`${segment.path} has no readable header`);
      let offset = segmentHeaderBytes;
      for (let number = 0; number < segment.lastNumber; ) {
        if (reader.recordAt(offset, found.header.salt) !== 'record') {
          throw new Error(`no valid record at offset ${offset} of ${segment.path}`);
        }
        if (isNumbered(reader.header.type)) number = reader.header.number;
        offset += reader.header.headerBytes + reader.header.payloadBytes;
      }
    });
    this.#proved.add(segment.sequence);
  }

  #readDirect(
    file: DiskFile,
    into: Uint8Array,
    start: number,
    length: number,
    position: number,
  ): number {
    const first = position - (position % pageBytes);
    const end = Math.ceil((position + length) / pageBytes) * pageBytes;
    const aligned = this.#disk.allocateAligned(end - first);
    const read = file.readDirectSync(aligned, 0, end - first, first);
    const count = Math.max(0, Math.min(length, read - (position - first)));
    into.set(aligned.subarray(position - first, position - first + count), start);
    return count;
  }

  #file(path: string): DiskFile {
    const open = this.#files.get(path);
    if (open) return open;
    return guard('segment', undefined, () => {
      if (this.#files.size >= openSegmentsMax) {
        const [oldest] = this.#files;
        if (oldest) {
          oldest[1].closeSync();
          this.#files.delete(oldest[0]);
        }
      }
      const file = this.#disk.openSync(path, 'read', 'segment');
      this.#files.set(path, file);
      return file;
    });
  }
}
