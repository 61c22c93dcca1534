import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  differingUnits,
  hashPieceBytes,
  hashPieces,
  hashUnitBytes,
  UnitHashes,
  unitHashBytes,
} from '../../src/volume/unit-hashes.ts';

const sectorBytes = 512;
const unitSectors = hashUnitBytes / sectorBytes;

/** A file in memory of which only the sectors in `data` were written. */
function sparse(sizeBytes: number, data: ReadonlySet<number>) {
  return {
    nextDataSync(position: number): number {
      for (let at = Math.floor(position / sectorBytes); at * sectorBytes < sizeBytes; at += 1) {
        if (data.has(at)) return Math.max(position, at * sectorBytes);
      }
      return sizeBytes;
    },
  };
}

function contentsOf(sizeBytes: number, data: ReadonlySet<number>): Buffer {
  const contents = Buffer.alloc(sizeBytes);
  for (const at of data) contents.fill(1 + (at % 255), at * sectorBytes, (at + 1) * sectorBytes);
  return contents;
}

function plainHashes(contents: Buffer): Buffer {
  const hashes: Buffer[] = [];
  for (let at = 0; at < contents.length; at += hashUnitBytes) {
    const unit = contents.subarray(at, at + hashUnitBytes);
    hashes.push(createHash('sha256').update(unit).digest().subarray(0, unitHashBytes));
  }
  return Buffer.concat(hashes);
}

const file = fc.integer({ min: 1, max: 12 * unitSectors }).chain((sectors) =>
  fc.record({
    sectors: fc.constant(sectors),
    data: fc
      .array(fc.integer({ min: 0, max: sectors - 1 }), { maxLength: 12 })
      .map((all) => new Set(all)),
  }),
);

describe('hashes of units', () => {
  test('are those of the contents, whatever of them is a hole, from any unit on', () => {
    fc.assert(
      fc.property(file, fc.nat(11), ({ sectors, data }, unit) => {
        const sizeBytes = sectors * sectorBytes;
        const offset = Math.min(unit, Math.floor((sectors - 1) / unitSectors)) * hashUnitBytes;
        const contents = contentsOf(sizeBytes, data);
        const hashes = new UnitHashes(sizeBytes - offset);
        let next = offset;
        for (const piece of hashPieces(sparse(sizeBytes, data), offset, sizeBytes)) {
          expect(piece.offset).toBe(next);
          expect(piece.length).toBeGreaterThan(0);
          next += piece.length;
          const bytes = contents.subarray(piece.offset, next);
          const isAllowed = piece.isHole
            ? bytes.every((byte) => byte === 0)
            : piece.length <= hashPieceBytes;
          expect(isAllowed).toBe(true);
          if (piece.isHole) hashes.addZeroes(piece.length);
          else hashes.add(bytes);
        }
        expect(next).toBe(sizeBytes);
        expect(hashes.bytes.equals(plainHashes(contents.subarray(offset)))).toBe(true);
      }),
    );
  });

  test('of a file that is shorter than its volume are of zeroes behind its end', () => {
    const pieces = [...hashPieces({ nextDataSync: () => 100 }, hashUnitBytes, 3 * hashUnitBytes)];
    expect(pieces).toEqual([{ offset: hashUnitBytes, length: 2 * hashUnitBytes, isHole: true }]);
  });

  test('tell which units differ', () => {
    fc.assert(
      fc.property(file, file, (a, b) => {
        const sizeBytes = a.sectors * sectorBytes;
        const here = contentsOf(sizeBytes, a.data);
        const inside = [...b.data].filter((at) => at < a.sectors);
        const there = contentsOf(sizeBytes, new Set(inside));
        const found = [
          ...differingUnits(plainHashes(here), plainHashes(there), hashUnitBytes, sizeBytes),
        ];
        const expected = [];
        for (let at = 0; at < sizeBytes; at += hashUnitBytes) {
          const end = Math.min(sizeBytes, at + hashUnitBytes);
          if (here.subarray(at, end).equals(there.subarray(at, end))) continue;
          expected.push({ offset: hashUnitBytes + at, length: end - at });
        }
        expect(found).toEqual(expected);
      }),
    );
  });
});
