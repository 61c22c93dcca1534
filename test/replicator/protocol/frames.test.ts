import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JnbdError } from '../../../src/platform/errors.ts';
import { KiB } from '../../../src/platform/limits.ts';
import { FrameDecoder } from '../../../src/replicator/protocol/frame-decoder.ts';
import {
  copyKind,
  type FrameReceiver,
  frameHeaderBytes,
  recordsPrefixBytes,
  stretchFrameBytes,
} from '../../../src/replicator/protocol/frames.ts';
import {
  copyBytesMax,
  recordsBytesMax,
  type Stretch,
} from '../../../src/replicator/protocol/wire.ts';
import { anyFrames, Collector, encode, type Frame, uint32 } from './frame-collector.ts';

/** Feeds `bytes` cut at `cuts`; where the receiver has no room, the rest is given again. */
function decodeCut(bytes: Uint8Array, cuts: readonly number[], collector: Collector): FrameDecoder {
  const decoder = new FrameDecoder(collector);
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let start = 0;
  for (const end of [...ends, bytes.length]) {
    while (start < end || decoder.needsRoom) {
      const took = decoder.decode(bytes.subarray(start, end));
      start += took;
    }
  }
  return decoder;
}

describe('frames', () => {
  it('come back the same, however the bytes are cut and however often there is no room', () => {
    fc.assert(
      fc.property(
        anyFrames,
        fc.array(fc.nat(), { maxLength: 40 }),
        fc.nat(5),
        (frames, cuts, refusals) => {
          const collector = new Collector();
          collector.refusals = refusals;
          const decoder = decodeCut(encode(frames), cuts, collector);
          expect(collector.frames).toEqual(frames);
          expect(decoder.isWhole).toBe(true);
          expect(decoder.frames).toBe(frames.length - 1);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('come back the same when every byte arrives alone', () => {
    fc.assert(
      fc.property(anyFrames, (frames) => {
        const collector = new Collector();
        const decoder = new FrameDecoder(collector);
        for (const byte of encode(frames)) expect(decoder.decode(Uint8Array.of(byte))).toBe(1);
        expect(collector.frames).toEqual(frames);
      }),
      { numRuns: 50 },
    );
  });

  it('of a body that was cut off are those before the cut', () => {
    fc.assert(
      fc.property(anyFrames, fc.nat(), (frames, cut) => {
        const bytes = encode(frames);
        const length = cut % bytes.length;
        const collector = new Collector();
        const decoder = new FrameDecoder(collector);
        decoder.decode(bytes.subarray(0, length));
        expect(decoder.isWhole).toBe(false);
        expect(collector.frames).toEqual(frames.slice(0, collector.frames.length));
        const whole = encode(frames.slice(0, collector.frames.length)).length;
        expect(length).toBeGreaterThanOrEqual(whole);
        expect(decoder.isBetweenFrames).toBe(length === whole);
      }),
    );
  });

  it('of the largest size fit', () => {
    const records: Frame = {
      kind: 'records',
      header: {
        salt: 1,
        timeBaseMilliseconds: 2,
        first: 3,
        last: 3,
        generation: 1,
        incarnation: 5,
        recordsBytes: recordsBytesMax,
      },
      content: new Uint8Array(recordsBytesMax).fill(7),
    };
    const copy: Frame = {
      kind: 'copy',
      header: {
        volume: 1,
        kind: copyKind.data,
        offset: 0,
        length: copyBytesMax,
        shows: 9,
        generation: 3,
        incarnation: 77,
        contentBytes: copyBytesMax,
      },
      content: new Uint8Array(copyBytesMax).fill(8),
    };
    const collector = new Collector();
    decodeCut(encode([records, copy, { kind: 'end' }]), [64 * KiB, 128 * KiB], collector);
    // Compared as bytes: an array of so many is compared slowly.
    expect(collector.frames.map((frame) => frame.kind)).toEqual(['records', 'copy', 'end']);
    expect(encode(collector.frames).equals(encode([records, copy, { kind: 'end' }]))).toBe(true);
  });
});

/** What comes of bytes that nobody encoded: frames, or the one error. Anything else is thrown on. */
function decodeGarbage(
  bytes: Uint8Array,
  receiver: FrameReceiver = new Collector(),
): JnbdError | undefined {
  try {
    new FrameDecoder(receiver).decode(bytes);
    return undefined;
  } catch (error) {
    if (!(error instanceof JnbdError) || error.code !== 'protocol_violated') throw error;
    return error;
  }
}

describe('bytes that are no frames', () => {
  it('are refused, whatever they are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        decodeGarbage(bytes);
      }),
      { numRuns: 1000 },
    );
  });

  it('are refused where a good stream has some bytes changed', () => {
    fc.assert(
      fc.property(
        anyFrames,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (frames, changes) => {
          const bytes = encode(frames);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          decodeGarbage(bytes);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('never make a decoder ask for more room than a frame may take', () => {
    fc.assert(
      fc.property(
        fc.nat(255),
        uint32,
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (kind, length, fields) => {
          const bytes = Buffer.alloc(frameHeaderBytes + fields.length);
          bytes.write('jRF1', 'latin1');
          bytes[4] = kind;
          bytes.writeUInt32LE(length, 8);
          bytes.set(fields, frameHeaderBytes);
          const asked: number[] = [];
          decodeGarbage(bytes, {
            placeRecords: ({ recordsBytes }) => void asked.push(recordsBytes),
            records: () => undefined,
            placeCopy: ({ contentBytes }) => void asked.push(contentBytes),
            copy: () => undefined,
            stretch: () => undefined,
            end: () => undefined,
          });
          for (const size of asked) expect(size).toBeLessThanOrEqual(recordsBytesMax);
        },
      ),
    );
  });

  const copy: Frame = {
    kind: 'copy',
    header: {
      volume: 3,
      kind: 1,
      offset: 4096,
      length: 8,
      shows: 7,
      generation: 2,
      incarnation: 9,
      contentBytes: 8,
    },
    content: new Uint8Array(8).fill(5),
  };
  const hole: Frame = {
    kind: 'copy',
    header: {
      volume: 3,
      kind: 2,
      offset: 4096,
      length: 2 ** 40,
      shows: 7,
      generation: 2,
      incarnation: 9,
      contentBytes: 0,
    },
    content: new Uint8Array(0),
  };
  const records: Frame = {
    kind: 'records',
    header: {
      salt: 0,
      timeBaseMilliseconds: 0,
      first: 5,
      last: 5,
      generation: 1,
      incarnation: 2,
      recordsBytes: 28,
    },
    content: new Uint8Array(28),
  };

  it.each<[string, () => Uint8Array, RegExp]>([
    ['another magic', () => changed([records], 0, 0x58), /begins with/],
    ['an unknown kind', () => changed([records], 4, 9), /kind 9/],
    ['a flag', () => changed([records], 5, 1), /flags/],
    ['something in the reserved bytes', () => changed([records], 7, 1), /flags/],
    ['records longer than a slab', () => changed([records], 10, 0xff), /records frame of/],
    ['records without a record', () => changed([records], 8, 32), /records frame of 32/],
    ['numbers that fall', () => changed([records], 12 + 10, 6), /records 6 to 5/],
    ['number 0', () => changed([records], 12 + 10, 0), /records 0 to 5/],
    ['more numbers than fit', () => changed([records], 12 + 16, 9), /records 5 to 9/],
    ['contents with a flipped bit', () => changed([copy], 12 + 28 + 3, 4), /wrong checksum/],
    ['a copy for another volume', () => changed([copy], 12 + 6, 2), /wrong checksum/],
    ['a hole elsewhere', () => changed([hole], 12 + 9, 3), /wrong checksum/],
    ['a hole beyond every volume', () => changed([hole], 12 + 19, 0xff), /copy frame of 0/],
    [
      'contents of another length',
      () => changed([copy], 12 + 14, 9),
      /copy frame of 8 bytes for 9/,
    ],
    ['a third kind of copy', () => changed([copy], 12 + 4, 3), /copy frame of kind 3/],
    ['a count that is wrong', () => changed([records, copy, { kind: 'end' }], -4, 1), /counts 1/],
    [
      'a frame behind the end',
      () => Buffer.concat([encode([{ kind: 'end' }]), encode([copy])]),
      /behind/,
    ],
    [
      'a stretch of another size',
      () => changed([{ kind: 'stretch', stretch }], 8, 23),
      /stretch frame/,
    ],
    [
      'a stretch from number 0',
      () => changed([{ kind: 'stretch', stretch }], 12 + 16, 0),
      /begins at/,
    ],
    ['an end of another size', () => changed([{ kind: 'end' }], 8, 0), /end frame of 0/],
  ])('such as %s', (_, bytes, message) => {
    expect(decodeGarbage(bytes())?.message).toMatch(message);
  });

  const stretch: Stretch = { generation: 1, system: 2, incarnation: 3, firstNumber: 4 };

  it('end the decoder', () => {
    const decoder = new FrameDecoder(new Collector());
    expect(() => decoder.decode(Buffer.alloc(12))).toThrow(JnbdError);
    expect(() => decoder.decode(encode([copy]))).toThrow(/invariant/);
  });
});

/** The frames with one byte changed, counted from the end where `at` is negative. */
function changed(frames: readonly Frame[], at: number, value: number): Uint8Array {
  const bytes = encode(frames);
  bytes[at < 0 ? bytes.length + at : at] = value;
  return bytes;
}

describe('the layout', () => {
  it('is the one of PROTOCOL.md', () => {
    const bytes = encode([
      {
        kind: 'records',
        header: {
          salt: 0x0a0b0c0d,
          timeBaseMilliseconds: 0x010203040506,
          first: 0x111213141516,
          last: 0x111213141516,
          generation: 0x21222324,
          incarnation: 0x313233343536,
          recordsBytes: 28,
        },
        content: new Uint8Array(28).fill(0x99),
      },
      { kind: 'stretch', stretch: { generation: 1, system: 2, incarnation: 3, firstNumber: 4 } },
    ]);
    expect(bytes.toString('hex')).toBe(
      `6a524631${'01000000'}${'3c000000'}` +
        `0d0c0b0a${'060504030201'}${'161514131211'}${'161514131211'}24232221${'363534333231'}` +
        '99'.repeat(28) +
        `6a524631${'03000000'}${'16000000'}01000000${'020000000000'}${'030000000000'}${'040000000000'}`,
    );
    expect(bytes.length).toBe(recordsPrefixBytes + 28 + frameHeaderBytes + stretchFrameBytes);
  });
});
