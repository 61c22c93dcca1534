import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JnbdError } from '../../../src/platform/errors.ts';
import { updateNumberMax } from '../../../src/platform/limits.ts';
import { FrameDecoder } from '../../../src/replicator/protocol/frame-decoder.ts';
import { frameHeaderBytes } from '../../../src/replicator/protocol/frames.ts';
import {
  acknowledgementFrameBytes,
  checksumsFrameBytesMax,
  encodeAcknowledgement,
  encodeChecksumsText,
  encodeMembersText,
  encodeWatermarks,
  membersFrameBytesMax,
  signalKind,
  type SignalReceiver,
  type StreamAcknowledgement,
  type StreamMembersText,
  type StreamWatermarks,
  watermarksFrameBytes,
} from '../../../src/replicator/protocol/stream-frames.ts';
import { anyFrames, Collector, encode, type Frame, uint32 } from './frame-collector.ts';

type Signal =
  | { kind: 'watermarks'; told: StreamWatermarks }
  | { kind: 'members'; told: StreamMembersText }
  | { kind: 'acknowledgement'; told: StreamAcknowledgement }
  | { kind: 'checksums'; told: string };

const number48 = fc.integer({ min: 0, max: updateNumberMax });
const rising = (count: number) =>
  fc
    .array(number48, { minLength: count, maxLength: count })
    .map((numbers) => numbers.sort((a, b) => a - b));

const watermarks: fc.Arbitrary<Signal> = fc
  .record({
    numbers: rising(4),
    usedBytes: number48,
    capacityBytes: number48,
    timeMilliseconds: number48,
    unsentBytes: number48,
    oldestUnsentMilliseconds: number48,
    heard: number48,
    timeoutMilliseconds: uint32,
  })
  .map(({ numbers, ...rest }) => {
    const [released = 0, applied = 0, durable = 0, newest = 0] = numbers;
    return { kind: 'watermarks', told: { ...rest, released, applied, durable, newest } };
  });

const text = fc
  .array(fc.integer({ min: 0x20, max: 0x7e }), { maxLength: 200 })
  .map((codes) => String.fromCharCode(...codes));
const members: fc.Arbitrary<Signal> = fc
  .record({ members: text, path: text })
  .map((told) => ({ kind: 'members', told }));

const acknowledgement: fc.Arbitrary<Signal> = fc
  .record({ serial: number48, numbers: rising(2) })
  .map(({ serial, numbers: [applied = 0, received = 0] }) => ({
    kind: 'acknowledgement',
    told: { serial, received, applied },
  }));

const checksums: fc.Arbitrary<Signal> = text
  .filter((told) => told.length > 0)
  .map((told) => ({ kind: 'checksums', told }));

function encodeSignal(signal: Signal): Buffer {
  if (signal.kind === 'members') return encodeMembersText(signal.told);
  if (signal.kind === 'checksums') return encodeChecksumsText(signal.told);
  const bytes = Buffer.alloc(frameHeaderBytes + watermarksFrameBytes, 0xee);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const end =
    signal.kind === 'watermarks'
      ? encodeWatermarks(view, 0, signal.told)
      : encodeAcknowledgement(view, 0, signal.told);
  return bytes.subarray(0, end);
}

function signalsTo(found: unknown[]): Required<SignalReceiver> {
  return {
    watermarks: (told) => void found.push({ kind: 'watermarks', told }),
    members: (told) => void found.push({ kind: 'members', told }),
    acknowledgement: (told) => void found.push({ kind: 'acknowledgement', told }),
    checksums: (told) => void found.push({ kind: 'checksums', told }),
  };
}

function decodeCut(decoder: FrameDecoder, bytes: Uint8Array, cuts: readonly number[]): void {
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let start = 0;
  for (const end of [...ends, bytes.length]) {
    while (start < end || decoder.needsRoom) start += decoder.decode(bytes.subarray(start, end));
  }
}

function violation(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (error instanceof JnbdError && error.code === 'protocol_violated') return error.message;
    throw error;
  }
  return '';
}

describe('frames of a stream', () => {
  it('come back the same between records and stretches, however the bytes are cut', () => {
    const records = anyFrames.map((frames) =>
      frames.filter(({ kind }) => kind === 'records' || kind === 'stretch'),
    );
    const source = fc.oneof(watermarks, members);
    fc.assert(
      fc.property(
        records,
        fc.array(source, { maxLength: 12 }),
        fc.array(fc.nat(), { maxLength: 40 }),
        fc.nat(4),
        (frames, signals, cuts, refusals) => {
          const found: unknown[] = [];
          const collector = new Collector();
          collector.refusals = refusals;
          const { watermarks: marks, members: others } = signalsTo(found);
          const decoder = new FrameDecoder(collector, { watermarks: marks, members: others });
          const parts: Buffer[] = [];
          const longest = Math.max(frames.length, signals.length);
          for (let at = 0; at < longest; at += 1) {
            const [frame, signal] = [frames[at], signals[at]];
            if (frame) parts.push(encodeOne(frame));
            if (signal) parts.push(encodeSignal(signal));
          }
          decodeCut(decoder, Buffer.concat(parts), cuts);
          expect(collector.frames).toEqual(frames);
          expect(found).toEqual(signals);
          expect(decoder.isBetweenFrames).toBe(true);
          expect(decoder.frames).toBe(frames.length + signals.length);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('to the source are acknowledgements, members and checksums, however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(acknowledgement, members, checksums), { maxLength: 20 }),
        fc.array(fc.nat(), { maxLength: 40 }),
        (signals, cuts) => {
          const found: unknown[] = [];
          const { watermarks: _, ...toSource } = signalsTo(found);
          const decoder = new FrameDecoder(undefined, toSource);
          decodeCut(decoder, Buffer.concat(signals.map(encodeSignal)), cuts);
          expect(found).toEqual(signals);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('are refused where they do not belong', () => {
    const all = signalsTo([]);
    const { watermarks: _, ...toSource } = all;
    const toFollower = { watermarks: all.watermarks, members: all.members };
    fc.assert(
      fc.property(
        watermarks,
        acknowledgement,
        checksums,
        anyFrames,
        (marks, told, sums, frames) => {
          const refuses = (decoder: FrameDecoder, bytes: Uint8Array): void => {
            expect(violation(() => decoder.decode(bytes))).toContain('a frame of kind');
          };
          for (const signal of [marks, told, sums]) {
            refuses(new FrameDecoder(new Collector()), encodeSignal(signal));
          }
          refuses(new FrameDecoder(new Collector(), toFollower), encodeSignal(told));
          refuses(new FrameDecoder(new Collector(), toFollower), encodeSignal(sums));
          refuses(new FrameDecoder(undefined, toSource), encodeSignal(marks));
          refuses(new FrameDecoder(undefined, toSource), encode(frames));
          const copy = frames.find(({ kind }) => kind === 'copy');
          if (copy) refuses(new FrameDecoder(new Collector(), toFollower), encodeOne(copy));
        },
      ),
    );
  });

  it('are refused with another length, with numbers that do not rise, and with texts that are too long', () => {
    const all = signalsTo([]);
    const wrong = (kind: number, length: number, fill = 0): string => {
      const bytes = Buffer.alloc(frameHeaderBytes + Math.min(length, membersFrameBytesMax), fill);
      bytes.write('jRF1', 0, 'latin1');
      bytes.writeUInt32LE(kind, 4);
      bytes.writeUInt32LE(length, 8);
      return violation(() => new FrameDecoder(new Collector(), all).decode(bytes));
    };
    expect(wrong(signalKind.watermarks, watermarksFrameBytes - 1)).toContain('63 bytes');
    expect(wrong(signalKind.acknowledgement, acknowledgementFrameBytes + 1)).toContain('19 bytes');
    expect(wrong(signalKind.checksums, 0)).toContain('0 bytes');
    expect(wrong(signalKind.checksums, checksumsFrameBytesMax + 1)).toContain('513 bytes');
    expect(wrong(signalKind.members, 3)).toContain('3 bytes');
    expect(wrong(signalKind.members, 0xffff_ffff)).toContain('4294967295 bytes');
    expect(wrong(signalKind.members, 100, 1)).toContain('another length');
    expect(wrong(signalKind.members, 4)).toBe('');
    const falling = Buffer.alloc(frameHeaderBytes + watermarksFrameBytes);
    falling.write('jRF1', 0, 'latin1');
    falling.writeUInt32LE(signalKind.watermarks, 4);
    falling.writeUInt32LE(watermarksFrameBytes, 8);
    falling.writeUInt32LE(9, frameHeaderBytes);
    expect(violation(() => new FrameDecoder(new Collector(), all).decode(falling))).toContain(
      'do not rise',
    );
    const ahead = encodeSignal({
      kind: 'acknowledgement',
      told: { serial: 1, received: 2, applied: 3 },
    });
    expect(violation(() => new FrameDecoder(undefined, all).decode(ahead))).toContain(
      'the follower sent more applied than received',
    );
  });
});

function encodeOne(frame: Frame): Buffer {
  return encode([frame]);
}
