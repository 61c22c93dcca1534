import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc32 } from '../../src/platform/checksum.ts';
import {
  checksumHolds,
  decodeHeader,
  emptyRecordHeader,
  hasPayload,
  isNumbered,
  type RecordType,
  recordHeaderBytes,
  recordType,
  restampRecord,
  stampRecord,
  wideRecordHeaderBytes,
} from '../../src/journal/record.ts';

interface Fields {
  readonly type: RecordType;
  readonly headerBytes: 28 | 32;
  readonly volume: number;
  readonly timeMilliseconds: number;
  readonly number: number;
  readonly offset: number;
  readonly salt: number;
  /** Of the payload, or what a record without one says. */
  readonly length: number;
}

const two48 = 2 ** 48;
const around = (...values: number[]): fc.Arbitrary<number> =>
  fc.constantFrom(...values.flatMap((value) => [value - 1, value, value + 1]));
/** 48 bits, the boundaries of their parts more often than chance would have it. */
const bits48 = fc.oneof(
  fc.constantFrom(0, 1, two48 - 1),
  around(2 ** 16, 2 ** 31, 2 ** 32, 2 ** 47),
  fc.integer({ min: 0, max: two48 - 1 }),
);
const bits32 = fc.oneof(
  fc.constantFrom(0, 2 ** 32 - 1),
  around(2 ** 16, 2 ** 31),
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
);
const bits16 = fc.integer({ min: 0, max: 65535 });
const types = Object.values(recordType);
const withPayload = types.filter((type) => hasPayload(type));
const withoutPayload = types.filter((type) => !hasPayload(type));

const rest = {
  volume: bits16,
  timeMilliseconds: bits32,
  number: bits48,
  offset: bits48,
  salt: bits32,
};
const fields: fc.Arbitrary<Fields> = fc.oneof(
  fc.record({
    ...rest,
    type: fc.constantFrom(...withPayload),
    headerBytes: fc.constantFrom(28 as const, 32 as const),
    length: fc.integer({ min: 0, max: 300 }),
  }),
  fc.record({
    ...rest,
    type: fc.constantFrom(...withoutPayload),
    headerBytes: fc.constant(28 as const),
    length: bits32,
  }),
  fc.record({
    ...rest,
    type: fc.constantFrom(...withoutPayload),
    headerBytes: fc.constant(32 as const),
    length: fc.oneof(bits48, around(2 ** 32)),
  }),
);

const before = 5;

/** The record at `before` of a buffer that is as long as it needs. */
function stamped(record: Fields): { bytes: Buffer; view: DataView } {
  const payloadBytes = hasPayload(record.type) ? record.length : 0;
  const bytes = Buffer.alloc(before + record.headerBytes + payloadBytes, 0xa5);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < payloadBytes; at += 1) {
    bytes[before + record.headerBytes + at] = (at * 31 + record.volume) & 0xff;
  }
  const { type, headerBytes, volume, timeMilliseconds, length, number, offset, salt } = record;
  stampRecord(
    bytes,
    view,
    before,
    headerBytes,
    type,
    volume,
    timeMilliseconds,
    length,
    number,
    offset,
    salt,
  );
  return { bytes, view };
}

/** Whether a reader would take what stands there for a record of a segment with that salt. */
function proves(bytes: Buffer, view: DataView, salt: number): boolean {
  const header = emptyRecordHeader();
  if (decodeHeader(view, before, bytes.length, header) !== 'header') return false;
  if (before + header.headerBytes + header.payloadBytes > bytes.length) return false;
  return checksumHolds(bytes, view, before, header, salt);
}

test('what is stamped is decoded, and proves', () => {
  fc.assert(
    fc.property(fields, (record) => {
      const { bytes, view } = stamped(record);
      const header = emptyRecordHeader();
      expect(decodeHeader(view, before, bytes.length, header)).toBe('header');
      const { type, headerBytes, volume, timeMilliseconds, length, number, offset } = record;
      const payloadBytes = hasPayload(type) ? length : 0;
      expect(header).toEqual({
        type,
        headerBytes,
        volume,
        timeMilliseconds,
        length,
        number,
        offset,
        payloadBytes,
      });
      expect(checksumHolds(bytes, view, before, header, record.salt)).toBe(true);
      expect(bytes.subarray(0, before)).toEqual(Buffer.alloc(before, 0xa5));
    }),
    { numRuns: 2000 },
  );
});

test('the bytes are those of FORMAT.md', () => {
  const record = {
    type: recordType.write,
    headerBytes: 28,
    volume: 0x1234,
    timeMilliseconds: 0x89abcdef,
    length: 3,
    number: 0x665544332211,
    offset: 0xffeeddccbbaa,
    salt: 0x01020304,
  } as const;
  const { bytes } = stamped(record);
  const hex = bytes.subarray(before).toString('hex');
  const checksum = crc32(bytes.subarray(before + 4)) ^ record.salt;
  const checksumHex = Buffer.from(Uint32Array.of(checksum).buffer).toString('hex');
  expect(hex).toBe(
    `${checksumHex}01003412efcdab8903000000112233445566aabbccddeeff${bytes.subarray(-3).toString('hex')}`,
  );
  const wide = stamped({ ...record, type: recordType.hole, headerBytes: 32, length: 0x0102030405 });
  expect(wide.bytes.subarray(before + 4).toString('hex')).toBe(
    '03013412efcdab8905040302112233445566aabbccddeeff01000000',
  );
});

test('every flip of a single bit is noticed', () => {
  fc.assert(
    fc.property(fields, (record) => {
      const { bytes, view } = stamped(record);
      for (let bit = before * 8; bit < bytes.length * 8; bit += 1) {
        const mask = 1 << (bit & 7);
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ mask;
        expect(proves(bytes, view, record.salt), `bit ${bit - before * 8}`).toBe(false);
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ mask;
      }
      expect(proves(bytes, view, record.salt)).toBe(true);
    }),
    { numRuns: 150 },
  );
});

test('a record of an earlier use of the segment never proves', () => {
  fc.assert(
    fc.property(fields, bits32, (record, otherSalt) => {
      fc.pre(otherSalt !== record.salt);
      const { bytes, view } = stamped(record);
      expect(proves(bytes, view, otherSalt)).toBe(false);
    }),
    { numRuns: 2000 },
  );
});

test('moved to another segment it is as if it had been stamped there', () => {
  fc.assert(
    fc.property(fields, bits32, fc.integer({ min: -1000, max: 1000 }), (record, salt, shift) => {
      const timeMilliseconds = record.timeMilliseconds - shift;
      fc.pre(timeMilliseconds >= 0 && timeMilliseconds < 2 ** 32);
      const { bytes, view } = stamped(record);
      const header = emptyRecordHeader();
      decodeHeader(view, before, bytes.length, header);
      const from = { salt: record.salt, timeBaseMilliseconds: 5000 };
      const to = { salt, timeBaseMilliseconds: 5000 + shift };
      restampRecord(bytes, view, before, header, from, to);
      expect(bytes.equals(stamped({ ...record, salt, timeMilliseconds }).bytes)).toBe(true);
    }),
  );
});

test('zeroes, and bytes that are cut off, are no record', () => {
  const header = emptyRecordHeader();
  const zeroes = new DataView(new ArrayBuffer(64));
  expect(decodeHeader(zeroes, 0, 64, header)).toBe('invalid');
  fc.assert(
    fc.property(fields, (record) => {
      const { view } = stamped(record);
      for (let end = before; end < before + record.headerBytes; end += 1) {
        expect(decodeHeader(view, before, end, header)).toBe('short');
      }
    }),
    { numRuns: 100 },
  );
});

test('types and flags that are not known are no record', () => {
  const { bytes, view } = stamped({
    type: recordType.mark,
    headerBytes: 28,
    volume: 0,
    timeMilliseconds: 0,
    number: 1,
    offset: 0,
    salt: 0,
    length: 0,
  });
  const header = emptyRecordHeader();
  for (let type = 0; type < 256; type += 1) {
    bytes[before + 4] = type;
    const isKnown = types.includes(type as RecordType);
    expect(decodeHeader(view, before, bytes.length, header)).toBe(isKnown ? 'header' : 'invalid');
  }
  bytes[before + 4] = recordType.mark;
  for (let flags = 2; flags < 256; flags += 1) {
    bytes[before + 5] = flags;
    expect(decodeHeader(view, before, bytes.length, header)).toBe('invalid');
  }
});

describe('which types have numbers', () => {
  test.each(types)('type %i', (type) => {
    expect(isNumbered(type)).toBe(type < 0x80);
  });
  test('none between', () => {
    expect([0, 8, 127, 0x83, 255].filter((type) => isNumbered(type))).toEqual([]);
  });
  test('header sizes are those of NBD requests', () => {
    expect([recordHeaderBytes, wideRecordHeaderBytes]).toEqual([28, 32]);
  });
});
