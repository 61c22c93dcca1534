import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import {
  checksumHolds,
  decodeHeader,
  emptyRecordHeader,
  isNumbered,
  type RecordHeader,
  recordType,
} from '../../src/journal/record.ts';
import {
  decodeSegmentHeader,
  segmentFilePattern,
  type SegmentHeader,
} from '../../src/journal/segment.ts';
import { segmentBytes, segmentHeaderBytes } from '../../src/platform/limits.ts';

/** Header and payload hold until the next record. */
export type RecordSeen = (header: RecordHeader, payload: Buffer) => void;

/** What a follower found that no journal may show. */
export class OrderBroken extends Error {}

interface Place {
  readonly descriptor: number;
  readonly path: string;
  readonly header: SegmentHeader;
}

const windowBytes = 2 * 1024 * 1024;
const readBytes = 256 * 1024;

/**
 * Reads the records of one group in their order while they are written and over every restart, from
 * the first one on. It knows the format and nothing of recovery: what it has seen was appended, and
 * has to be there after any kill. It must look before a segment is used again, so whoever writes
 * keeps what it has not seen below the size of a segment.
 */
export class JournalFollower {
  readonly #directories: readonly string[];
  readonly #seen: RecordSeen;
  readonly #files = new Map<string, number>();
  readonly #window = Buffer.alloc(windowBytes);
  readonly #view = new DataView(this.#window.buffer, this.#window.byteOffset, windowBytes);
  readonly #header = emptyRecordHeader();
  #place: Place | undefined;
  #offset = segmentHeaderBytes;
  #windowStart = 0;
  #windowEnd = 0;
  #number = 0;
  /** How often the journal went on in another segment by a roll, and how often it began anew. */
  rolls = 0;
  beginnings = 0;

  constructor(directories: readonly string[], seen: RecordSeen) {
    this.#directories = directories;
    this.#seen = seen;
  }

  /** The last update seen. */
  get number(): number {
    return this.#number;
  }

  /** Where the last record ends. */
  get end(): { readonly path: string; readonly offset: number } {
    return { path: this.#place?.path ?? '', offset: this.#offset };
  }

  /** Something stands behind the last record: a tail that the kill tore. */
  get hasTornTail(): boolean {
    if (!this.#place || this.#offset >= segmentBytes) return false;
    const bytes = Buffer.alloc(Math.min(64, segmentBytes - this.#offset));
    readSync(this.#place.descriptor, bytes, 0, bytes.length, this.#offset);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const result = decodeHeader(view, 0, bytes.length, this.#header);
    // What an earlier use of the file left has numbers below.
    return result === 'header' && this.#header.number === this.#number + 1;
  }

  /** Sees every record that was not seen before. Throws OrderBroken. */
  poll(): void {
    // Headers first: once a later one is there, what stands before it does not change any more.
    let places = this.#findPlaces();
    this.#place ??= this.#enter(places[0]);
    this.#windowEnd = 0;
    while (this.#place) {
      const { sequence } = this.#place.header;
      const later = places.filter(({ header }) => header.sequence > sequence);
      const next = later.find(({ header }) => header.firstNumber > 0);
      const rolledTo = this.#walk(this.#place, next?.header.firstNumber ?? Infinity);
      if (rolledTo > 0) {
        places = this.#findPlaces();
        const target = places.find(({ header }) => header.sequence === rolledTo);
        if (!target) {
          throw new OrderBroken(
            `${this.#place.path} leads to segment ${rolledTo}, which is not there`,
          );
        }
        this.rolls += 1;
        this.#place = this.#enter(target);
      } else if (next) {
        this.#begin(next);
      } else {
        return;
      }
    }
  }

  close(): void {
    for (const descriptor of this.#files.values()) closeSync(descriptor);
    this.#files.clear();
  }

  #begin(next: Place): void {
    const { firstNumber } = next.header;
    if (firstNumber !== this.#number + 1) {
      throw new OrderBroken(
        `${next.path} goes on with update ${firstNumber}, but update ${this.#number} was the last that was appended`,
      );
    }
    this.beginnings += 1;
    this.#place = this.#enter(next);
  }

  #enter(place: Place | undefined): Place | undefined {
    this.#offset = segmentHeaderBytes;
    this.#windowEnd = 0;
    return place;
  }

  /** In the order of their sequence. */
  #findPlaces(): Place[] {
    const places: Place[] = [];
    const block = Buffer.alloc(segmentHeaderBytes);
    for (const directory of this.#directories) {
      for (const name of readdirSync(directory)) {
        if (!segmentFilePattern.test(name)) continue;
        const path = join(directory, name);
        let descriptor = this.#files.get(path);
        if (descriptor === undefined) {
          descriptor = openSync(path, 'r');
          this.#files.set(path, descriptor);
        }
        readSync(descriptor, block, 0, block.length, 0);
        const result = decodeSegmentHeader(block);
        if (result.kind === 'header') places.push({ descriptor, path, header: result.header });
      }
    }
    return places.sort((a, b) => a.header.sequence - b.header.sequence);
  }

  /** Up to the end of what is written, or of what counts. Returns where a roll leads, else 0. */
  #walk(place: Place, voidFrom: number): number {
    const header = this.#header;
    while (this.#load(place)) {
      const at = this.#offset - this.#windowStart;
      const end = at + header.headerBytes + header.payloadBytes;
      if (!checksumHolds(this.#window, this.#view, at, header, place.header.salt)) return 0;
      if (isNumbered(header.type)) {
        if (header.number >= voidFrom) return 0;
        if (header.number !== this.#number + 1) {
          throw new OrderBroken(
            `update ${header.number} follows update ${this.#number} (${place.path} at ${this.#offset})`,
          );
        }
        this.#number = header.number;
        this.#seen(header, this.#window.subarray(at + header.headerBytes, end));
      }
      this.#offset += end - at;
      if (header.type === recordType.roll) return header.number;
    }
    return 0;
  }

  /** Has the record at the offset whole in the window; false: none can be there. */
  #load(place: Place): boolean {
    const header = this.#header;
    let wanted = readBytes;
    for (;;) {
      const at = this.#offset - this.#windowStart;
      const isInside = at >= 0 && this.#offset < this.#windowEnd;
      if (isInside) {
        const length = this.#windowEnd - this.#windowStart;
        const result = decodeHeader(this.#view, at, length, header);
        if (result === 'invalid') return false;
        const recordBytes = header.headerBytes + header.payloadBytes;
        if (result === 'header') {
          if (this.#offset + recordBytes > segmentBytes || recordBytes > windowBytes) return false;
          if (at + recordBytes <= length) return true;
          wanted = Math.max(readBytes, recordBytes);
        }
        if (at === 0 && length >= Math.min(wanted, segmentBytes - this.#offset)) return false;
      }
      const count = Math.min(wanted, windowBytes, segmentBytes - this.#offset);
      if (count <= 0) return false;
      this.#windowStart = this.#offset;
      const read = readSync(place.descriptor, this.#window, 0, count, this.#offset);
      this.#windowEnd = this.#offset + read;
      if (read < count) return false;
    }
  }
}
