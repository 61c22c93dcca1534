import { strict as assert } from 'node:assert';
import type { Position, Stretch } from '../../../src/group/catalog/lineage.ts';
import {
  checksumHolds,
  decodeHeader,
  emptyRecordHeader,
  isNumbered,
  recordType,
} from '../../../src/journal/record.ts';
import { FrameDecoder } from '../../../src/replicator/protocol/frame-decoder.ts';
import { copyKind, type RecordsHeader } from '../../../src/replicator/protocol/frames.ts';
import {
  decodeJournalAnswer,
  encodeCaller,
  encodeJournalRead,
  type JournalAnswer,
  type JournalRead,
  paths,
  type WireHeaders,
} from '../../../src/replicator/protocol/wire.ts';
import { wantedRangesMax } from '../../../src/replicator/protocol/wire-ranges.ts';
import { readProblem } from '../../../src/replicator/protocol/wire-json.ts';
import { RegionSet } from '../../../src/volume/region-set.ts';
import { Collector } from '../protocol/frame-collector.ts';
import type { MemoryAnswer } from './memory-transport.ts';
import type { SourceSetting } from './source-setting.ts';

/** What a record did; `bytes` undefined: the range reads as zero. */
export interface ReadRecord {
  readonly number: number;
  readonly type: number;
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  readonly bytes: Buffer | undefined;
}

export type ReadResult =
  | { readonly kind: 'records'; readonly answer: JournalAnswer; readonly bytes: number }
  | { readonly kind: 'nothing'; readonly answer: JournalAnswer }
  | { readonly kind: 'problem'; readonly code: string; readonly text: string };

/** A follower as far as reading goes: takes what it is given only where all of it is right. */
export class TestReader {
  readonly systemId: number;
  readonly records: ReadRecord[] = [];
  readonly stretches: Stretch[] = [];
  /** Contents of volumes after everything that was taken. */
  readonly images = new Map<number, Buffer>();
  /** Up to where each volume was copied. */
  readonly copied = new Map<number, number>();
  /** What is wanted besides; what came is taken out. */
  readonly ranges = new RegionSet();
  position: Position = { generation: 0, incarnation: 0, number: 0 };
  received = 0;
  /** The highest number that any contents could show. */
  shows = 0;
  copyBytes = 0;
  holes = 0;
  readonly #setting: SourceSetting;
  readonly #groupId: string;

  constructor(setting: SourceSetting, systemId: number, groupName = 'g') {
    this.#setting = setting;
    this.systemId = systemId;
    this.#groupId = setting.machine.group(groupName).catalog.groupId;
  }

  get number(): number {
    return this.position.number;
  }

  /** As the source has it now. */
  beginAt(number: number): void {
    const { lineage } = this.#setting.machine.group().catalog;
    const stretch = lineage.findLast(({ firstNumber }) => firstNumber <= number);
    this.stretches.splice(0);
    if (stretch) this.stretches.push(stretch);
    const { generation = 0, incarnation = 0 } = stretch ?? {};
    this.position = { generation, incarnation, number };
    this.received = number;
  }

  get path(): string {
    return paths.journal(this.#groupId);
  }

  headers(options: Partial<JournalRead> = {}): WireHeaders {
    const read: JournalRead = {
      position: this.position,
      received: this.received,
      applied: 0,
      batchBytes: 1024 * 1024,
      waitMilliseconds: 0,
      isRetry: false,
      copied: [...this.copied].map(([volume, address]) => ({ volume, address })),
      members: [],
      ranges: [...this.ranges.ranges()].slice(0, wantedRangesMax),
      ...options,
    };
    return {
      ...encodeCaller({ systemId: this.systemId, name: 'reader' }),
      ...encodeJournalRead(read),
    };
  }

  /** Asks, and takes nothing of what comes before it is told to where it `holds`. */
  ask(options: Partial<JournalRead> = {}, holds = false): MemoryAnswer {
    const { path } = this;
    return this.#setting.transport.ask({ path, headers: this.headers(options) }, holds);
  }

  async read(options: Partial<JournalRead> = {}): Promise<ReadResult> {
    const answer = this.ask(options);
    await this.#setting.machine.until(() => answer.isDone);
    return this.take(answer);
  }

  /** Reads until there is nothing more. */
  async drain(options: Partial<JournalRead> = {}): Promise<void> {
    for (;;) {
      const result = await this.read(options);
      assert.notEqual(result.kind, 'problem', JSON.stringify(result));
      if (result.kind === 'nothing') return;
    }
  }

  take(answer: MemoryAnswer): ReadResult {
    const { status, headers, body } = answer;
    if (status >= 400) {
      const { error } = readProblem(status, body);
      return { kind: 'problem', code: error.code, text: error.message };
    }
    const head = decodeJournalAnswer(headers);
    assert.equal(head.first, this.number + 1);
    if (status === 204) {
      assert.deepEqual([body.length, head.through], [0, this.position]);
      return { kind: 'nothing', answer: head };
    }
    assert.equal(status, 200);
    assert.equal(headers['content-length'], String(body.length));
    const collector = new Collector();
    const decoder = new FrameDecoder(collector);
    decoder.decode(body);
    assert.ok(decoder.isWhole, 'the answer has its end');
    for (const frame of collector.frames) {
      if (frame.kind === 'records') this.#takeRecords(frame.header, frame.content);
      else if (frame.kind === 'copy') this.#takeCopy(frame.header, frame.content);
      else if (frame.kind === 'stretch') this.#begin(frame.stretch);
    }
    assert.deepEqual(head.through, this.position);
    assert.ok(this.number <= head.watermarks.durable, 'only what is durable is sent');
    this.received = this.number;
    return { kind: 'records', answer: head, bytes: body.length };
  }

  #begin(stretch: Stretch): void {
    assert.equal(stretch.firstNumber, this.number + 1);
    this.stretches.push(stretch);
  }

  #takeRecords(frame: RecordsHeader, content: Uint8Array): void {
    const bytes = Buffer.from(content);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const stretch = this.stretches.at(-1);
    const { generation, incarnation } = frame;
    assert.deepEqual(
      [generation, incarnation],
      [stretch?.generation, stretch?.incarnation],
      'the stretch of the records was told before',
    );
    assert.equal(frame.first, this.number + 1);
    const header = emptyRecordHeader();
    let number = this.number;
    for (let at = 0; at < bytes.length; at += header.headerBytes + header.payloadBytes) {
      assert.equal(decodeHeader(view, at, bytes.length, header), 'header');
      assert.ok(checksumHolds(bytes, view, at, header, frame.salt), 'the checksum holds');
      if (!isNumbered(header.type)) {
        assert.notEqual(header.type, recordType.roll);
        continue;
      }
      assert.equal(header.number, number + 1);
      number += 1;
      const payloadAt = at + header.headerBytes;
      const { type, volume, offset, length, payloadBytes } = header;
      const payload = bytes.subarray(payloadAt, payloadAt + payloadBytes);
      this.#takeRecord({
        number,
        type,
        volume,
        offset,
        length,
        bytes: payloadBytes > 0 ? Buffer.from(payload) : undefined,
      });
    }
    assert.equal(frame.last, number);
    this.position = { generation, incarnation, number };
  }

  #takeRecord(record: ReadRecord): void {
    this.records.push(record);
    const image = this.images.get(record.volume);
    if (!image || record.type === recordType.catalog) return;
    const { offset, length, bytes } = record;
    if (bytes) image.set(bytes, offset);
    else image.fill(0, offset, offset + length);
  }

  #takeCopy(
    frame: {
      readonly volume: number;
      readonly kind: number;
      readonly offset: number;
      readonly length: number;
      readonly shows: number;
    },
    content: Uint8Array,
  ): void {
    const { volume, kind, offset, length, shows } = frame;
    const isWanted = this.ranges.covers(volume, offset, length);
    if (!isWanted) {
      assert.equal(offset, this.copied.get(volume), 'contents come in order of address');
      this.copied.set(volume, offset + length);
    }
    this.ranges.remove(volume, offset, length);
    const image = this.images.get(volume);
    assert.ok(image && offset + length <= image.length, 'contents are of the volume');
    if (kind === copyKind.data) {
      image.set(content, offset);
      this.copyBytes += content.length;
    } else {
      image.fill(0, offset, offset + length);
      this.holes += 1;
    }
    assert.ok(shows >= this.number, 'contents show at least what stands before them');
    this.shows = Math.max(this.shows, shows);
  }
}
