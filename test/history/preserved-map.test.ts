import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PreservedMap } from '../../src/history/preserved-map.ts';
import { blockBytes } from '../../src/platform/limits.ts';
import { blocksPerMapPage } from '../../src/volume/area-layout.ts';

/** Two pages and a part of a third. */
const blocks = 2 * blocksPerMapPage + 1000;
/** Most bits stand where pages, bytes and the map end. */
const block = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: blocksPerMapPage - 20, max: blocksPerMapPage + 20 }),
  fc.integer({ min: 2 * blocksPerMapPage - 20, max: 2 * blocksPerMapPage + 20 }),
  fc.integer({ min: blocks - 20, max: blocks }),
  fc.integer({ min: 0, max: blocks }),
);
const range = fc.oneof(
  fc.tuple(block, fc.integer({ min: 0, max: 20 })).map(([from, count]) => [from, from + count]),
  fc.tuple(block, block).map((ends) => ends.toSorted((a, b) => a - b)),
);

test('finds the first block that is there, or is not, of any range', () => {
  fc.assert(
    fc.property(
      fc.array(range, { maxLength: 12 }),
      fc.array(range, { minLength: 1, maxLength: 30 }),
      (sets, asked) => {
        const map = new PreservedMap(blocks * blockBytes);
        const model = new Uint8Array(blocks);
        for (const [from = 0, to = 0] of sets) {
          map.set(from, to);
          model.fill(1, from, to);
        }
        for (const [from = 0, end = 0] of asked) {
          const to = Math.min(end, blocks);
          for (const isThere of [true, false]) {
            const found = model.subarray(0, to).indexOf(isThere ? 1 : 0, from);
            expect(map.next(isThere, from, to)).toBe(found < 0 ? to : found);
          }
          expect(map.has(from)).toBe(model[from] === 1);
        }
      },
    ),
    { numRuns: 300 },
  );
});
