import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  compareMarkers,
  type CutRecord,
  decodeCutRecord,
  encodeCutRecord,
  type MarkerId,
} from '../../src/journal/cut-record.ts';
import { recordType } from '../../src/journal/record.ts';

const cutId = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => Buffer.from(bytes).toString('hex'));
const bits64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const name = fc
  .string({ unit: 'grapheme', maxLength: 300 })
  .filter((text) => Buffer.byteLength(text) <= 255);
const id = { cutId, epoch: bits64, sequence: bits64 };
const record: fc.Arbitrary<CutRecord> = fc.oneof(
  fc.record({
    kind: fc.constant('marker' as const),
    ...id,
    wallTimeMilliseconds: fc.maxSafeNat(),
    name,
  }),
  fc.record({ kind: fc.constant('commit' as const), ...id }),
);

describe('what stands in a marker and in a commit', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(record, (written) => {
        const bytes = encodeCutRecord(written);
        expect(decodeCutRecord(recordType[written.kind], bytes)).toEqual(written);
      }),
    );
  });

  test('is never misread: other bytes are another record, or none', () => {
    const payload = fc.uint8Array({ maxLength: 320 });
    const type = fc.constantFrom(recordType.marker, recordType.commit);
    fc.assert(
      fc.property(payload, type, (bytes, kind) => {
        const read = decodeCutRecord(kind, bytes);
        const again = read ? encodeCutRecord(read) : bytes;
        expect([...again]).toEqual([...bytes]);
      }),
    );
  });

  test('is in no other type of record', () => {
    const bytes = encodeCutRecord({
      kind: 'commit',
      cutId: 'ab'.repeat(16),
      epoch: 1n,
      sequence: 2n,
    });
    for (const type of Object.values(recordType)) {
      expect(decodeCutRecord(type, bytes) !== undefined).toBe(type === recordType.commit);
    }
  });

  // Frozen: journals have them.
  test('has these bytes', () => {
    const written: CutRecord = {
      kind: 'marker',
      cutId: '000102030405060708090a0b0c0d0e0f',
      epoch: 0x1122334455667788n,
      sequence: 3n,
      wallTimeMilliseconds: 1_763_000_000_000,
      name: 'évening',
    };
    const ids = '000102030405060708090a0b0c0d0e0f8877665544332211' + '0300000000000000';
    const time = '001efd7a9a010000';
    const text = Buffer.from('évening').toString('hex');
    expect(Buffer.from(encodeCutRecord(written)).toString('hex')).toBe(`${ids}${time}${text}`);
    const { cutId: cut, epoch, sequence } = written;
    const commit = encodeCutRecord({ kind: 'commit', cutId: cut, epoch, sequence });
    expect(Buffer.from(commit).toString('hex')).toBe(ids);
    expect([recordType.marker, recordType.commit]).toEqual([5, 6]);
  });

  test('is refused where it cannot be one', () => {
    const good = { kind: 'marker', epoch: 0n, sequence: 0n, wallTimeMilliseconds: 0 } as const;
    expect(() => encodeCutRecord({ ...good, cutId: 'AB'.repeat(16), name: '' })).toThrow(
      RangeError,
    );
    const long = { ...good, cutId: 'ab'.repeat(16), name: 'é'.repeat(128) };
    expect(() => encodeCutRecord(long)).toThrow(RangeError);
    const broken = Buffer.concat([
      encodeCutRecord({ ...long, name: '' }),
      Buffer.from([0xc3, 0x28]),
    ]);
    expect(decodeCutRecord(recordType.marker, broken)).toBeUndefined();
  });
});

test('markers are in the order of their epochs, and within one of their sequences', () => {
  const small = fc.bigInt({ min: 0n, max: 3n });
  const marker = fc.record({ cutId: fc.constant('00'), epoch: small, sequence: small });
  const rank = ({ epoch, sequence }: MarkerId): bigint => epoch * 4n + sequence;
  fc.assert(
    fc.property(marker, marker, (a, b) => {
      expect(compareMarkers(a, b) > 0).toBe(rank(a) > rank(b));
      expect(compareMarkers(a, b) === 0).toBe(rank(a) === rank(b));
    }),
  );
});
