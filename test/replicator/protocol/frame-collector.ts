import fc from 'fast-check';
import { updateNumberMax } from '../../../src/platform/limits.ts';
import {
  encodeCopyPrefix,
  encodeEnd,
  encodeRecordsPrefix,
  encodeStretch,
} from '../../../src/replicator/protocol/frame-encoder.ts';
import {
  type CopyHeader,
  copyKind,
  copyPrefixBytes,
  type FrameReceiver,
  type RecordsHeader,
  recordsPrefixBytes,
} from '../../../src/replicator/protocol/frames.ts';
import type { Stretch } from '../../../src/replicator/protocol/wire.ts';

export type Frame =
  | { kind: 'records'; header: RecordsHeader; content: Uint8Array }
  | { kind: 'copy'; header: CopyHeader; content: Uint8Array }
  | { kind: 'stretch'; stretch: Stretch }
  | { kind: 'end' };

const number48 = fc.integer({ min: 0, max: updateNumberMax });
export const uint32 = fc.nat(0xffff_ffff);

const recordsFrame: fc.Arbitrary<Frame> = fc
  .record({
    salt: uint32,
    timeBaseMilliseconds: number48,
    first: fc.integer({ min: 1, max: updateNumberMax - 100 }),
    count: fc.integer({ min: 1, max: 3 }),
    generation: uint32,
    incarnation: number48,
    content: fc.uint8Array({ minLength: 3 * 28, maxLength: 300 }),
  })
  .map(({ count, content, ...rest }) => ({
    kind: 'records',
    header: { ...rest, last: rest.first + count - 1, recordsBytes: content.length },
    content,
  }));

const copyFrame: fc.Arbitrary<Frame> = fc
  .record({
    volume: fc.nat(0xffff),
    offset: fc.integer({ min: 0, max: 2 ** 44 }),
    shows: number48,
    generation: fc.integer({ min: 0, max: 0xffff_ffff }),
    incarnation: number48,
    holeLength: fc.option(fc.integer({ min: 1, max: 2 ** 44 })),
    content: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  })
  .map(({ holeLength, content, ...rest }) => ({
    kind: 'copy',
    header: {
      ...rest,
      kind: holeLength === null ? copyKind.data : copyKind.hole,
      length: holeLength ?? content.length,
      contentBytes: holeLength === null ? content.length : 0,
    },
    content: holeLength === null ? content : new Uint8Array(0),
  }));

const stretchFrame: fc.Arbitrary<Frame> = fc
  .record({
    generation: uint32,
    system: number48,
    incarnation: number48,
    firstNumber: fc.integer({ min: 1, max: updateNumberMax }),
  })
  .map((stretch) => ({ kind: 'stretch', stretch }));

export const anyFrames = fc
  .array(fc.oneof(recordsFrame, copyFrame, stretchFrame), { maxLength: 12 })
  .map((frames): Frame[] => [...frames, { kind: 'end' }]);

export function encode(frames: readonly Frame[]): Buffer {
  let size = 0;
  for (const frame of frames) size += frame.kind === 'end' ? 64 : 64 + contentOf(frame).length;
  const bytes = Buffer.alloc(size, 0xee);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  frames.forEach((frame, index) => {
    if (frame.kind === 'records') {
      bytes.set(frame.content, at + recordsPrefixBytes);
      at = encodeRecordsPrefix(view, at, frame.header) + frame.content.length;
    } else if (frame.kind === 'copy') {
      bytes.set(frame.content, at + copyPrefixBytes);
      at = encodeCopyPrefix(bytes, view, at, frame.header) + frame.content.length;
    } else if (frame.kind === 'stretch') {
      at = encodeStretch(view, at, frame.stretch);
    } else {
      at = encodeEnd(view, at, index);
    }
  });
  return bytes.subarray(0, at);
}

function contentOf(frame: Frame): Uint8Array {
  return 'content' in frame ? frame.content : new Uint8Array(0);
}

/** Keeps what it is given. With `refusals` it has no room the first so many times that it is asked. */
export class Collector implements FrameReceiver {
  readonly frames: Frame[] = [];
  #place = new Uint8Array(0);
  refusals = 0;

  placeRecords(header: RecordsHeader): Uint8Array | undefined {
    return this.#give(header.recordsBytes);
  }
  records(header: RecordsHeader): void {
    this.frames.push({
      kind: 'records',
      header: { ...header },
      content: Uint8Array.from(this.#place.subarray(0, header.recordsBytes)),
    });
  }
  placeCopy(header: CopyHeader): Uint8Array | undefined {
    return this.#give(header.contentBytes);
  }
  copy(header: CopyHeader): void {
    const content = Uint8Array.from(this.#place.subarray(0, header.contentBytes));
    this.frames.push({ kind: 'copy', header: { ...header }, content });
  }
  stretch(stretch: Stretch): void {
    this.frames.push({ kind: 'stretch', stretch });
  }
  end(): void {
    this.frames.push({ kind: 'end' });
  }

  #give(bytes: number): Uint8Array | undefined {
    if (this.refusals > 0) {
      this.refusals -= 1;
      return undefined;
    }
    // More room than is asked for is nothing unusual, and it is a part of something larger.
    this.#place = new Uint8Array(bytes + 20).subarray(3);
    return this.#place;
  }
}
