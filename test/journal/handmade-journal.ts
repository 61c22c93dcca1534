import { type RecordType, recordType, stampRecord } from '../../src/journal/record.ts';
import { type FoundSegment, JournalScan, type ScanOutcome } from '../../src/journal/scan.ts';
import { encodeSegmentHeader, type SegmentHeader } from '../../src/journal/segment.ts';
import type { Disk, DiskFile } from '../../src/platform/disk.ts';
import { segmentBytes, segmentHeaderBytes } from '../../src/platform/limits.ts';

export const groupId = 'cafe0123456789abcdef0123456789ab';

/** Where a record lies, for whoever wants to spoil it. */
export interface RecordPlace {
  readonly segment: HandmadeSegment;
  readonly offset: number;
  readonly bytes: number;
}

/** One segment, written record by record; nothing of it is synced unless asked for. */
export class HandmadeSegment implements FoundSegment {
  readonly path: string;
  readonly file: DiskFile;
  readonly header: SegmentHeader;
  end = segmentHeaderBytes;

  constructor(disk: Disk, path: string, header: SegmentHeader) {
    this.path = path;
    this.header = header;
    this.file = disk.openSync(path, 'open-or-create', 'segment');
    if (this.file.sizeSync() === 0) this.file.preallocateSync(0, segmentBytes);
    this.file.writeSync(encodeSegmentHeader(header), 0, segmentHeaderBytes, 0);
  }

  record(
    type: RecordType,
    number: number,
    payload: Uint8Array = new Uint8Array(0),
    fields: { volume?: number; offset?: number; length?: number; wide?: boolean } = {},
  ): RecordPlace {
    const headerBytes = fields.wide === true ? 32 : 28;
    const bytes = Buffer.alloc(headerBytes + payload.length);
    bytes.set(payload, headerBytes);
    stampRecord(
      bytes,
      new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
      0,
      headerBytes,
      type,
      fields.volume ?? 0,
      0,
      fields.length ?? payload.length,
      number,
      fields.offset ?? 0,
      this.header.salt,
    );
    const place = { segment: this, offset: this.end, bytes: bytes.length };
    this.file.writeSync(bytes, 0, bytes.length, this.end);
    this.end += bytes.length;
    return place;
  }

  /** A write of one block with contents that tell the number, and who wrote it. */
  write(number: number, tag = ''): RecordPlace {
    const payload = Buffer.alloc(512, 0xee);
    payload.write(`${number}${tag}\n`, 'latin1');
    return this.record(recordType.write, number, payload, { volume: 1, offset: number * 512 });
  }

  writes(from: number, through: number, tag = ''): RecordPlace[] {
    return Array.from({ length: through - from + 1 }, (_, at) => this.write(from + at, tag));
  }

  mark(durable: number): RecordPlace {
    return this.record(recordType.mark, durable);
  }

  roll(sequence: number): RecordPlace {
    return this.record(recordType.roll, sequence);
  }

  pad(payloadBytes = 0): RecordPlace {
    return this.record(recordType.pad, 0, new Uint8Array(payloadBytes).fill(7));
  }

  /** One pad up to where only a roll fits. */
  fill(): void {
    const room = segmentBytes - 28 - this.end;
    if (room >= 28) this.pad(room - 28);
  }
}

/** Flips one bit of what a record (or anything) holds. */
export function spoil(place: RecordPlace, byte = place.bytes - 1): void {
  const { file } = place.segment;
  const bytes = Buffer.alloc(1);
  file.readSync(bytes, 0, 1, place.offset + byte);
  bytes[0] = (bytes[0] ?? 0) ^ 0x10;
  file.writeSync(bytes, 0, 1, place.offset + byte);
}

/** Fills part of a record with zeroes, as when its sectors were never written. */
export function tear(place: RecordPlace, from = 0): void {
  const zeroes = new Uint8Array(place.bytes - from);
  place.segment.file.writeSync(zeroes, 0, zeroes.length, place.offset + from);
}

export class HandmadeJournal {
  readonly segments: HandmadeSegment[] = [];
  readonly #disk: Disk;
  #salt = 0x1000;

  constructor(disk: Disk) {
    this.#disk = disk;
    disk.makeDirectorySync('/j');
  }

  segment(
    sequence: number,
    fields: Partial<SegmentHeader> & { slot?: number } = {},
  ): HandmadeSegment {
    this.#salt += 0x01010101;
    const { slot = sequence, ...header } = fields;
    const path = `/j/${String(slot).padStart(6, '0')}.segment`;
    const reused = this.segments.findIndex((segment) => segment.path === path);
    if (reused >= 0) this.segments.splice(reused, 1);
    const segment = new HandmadeSegment(this.#disk, path, {
      groupId,
      generation: 1,
      generationSystem: 1,
      incarnation: 1,
      sequence,
      firstNumber: 0,
      durable: 0,
      timeBaseMilliseconds: 1_000_000,
      salt: this.#salt,
      ...header,
    });
    this.segments.push(segment);
    return segment;
  }

  /** What recovery finds: the outcome, and what each record's payload says. */
  scan(
    start: { number: number; sequence: number; offset: number } = {
      number: 0,
      sequence: 1,
      offset: segmentHeaderBytes,
    },
  ): ScanOutcome & { readonly said: string[] } {
    const said: string[] = [];
    const scan = new JournalScan(this.#disk, this.segments, start, start.number);
    scan.run({
      record: (header, _segment, _payloadOffset, payload) => {
        const text = Buffer.from(payload).toString('latin1');
        const word = text.split('\n')[0] ?? '';
        said.push(header.type === recordType.write ? word : `type ${header.type}`);
      },
    });
    return { ...scan.outcome(), said };
  }
}

export function numbers(from: number, through: number, tag = ''): string[] {
  return Array.from({ length: through - from + 1 }, (_, at) => `${from + at}${tag}`);
}
