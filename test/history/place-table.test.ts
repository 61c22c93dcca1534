import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PlaceTable } from '../../src/history/place-table.ts';

const block = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 0, max: 2 ** 33 - 1 }),
  // Those that differ in the highest bit alone.
  fc.integer({ min: 2 ** 32, max: 2 ** 32 + 40 }),
  fc.constantFrom(2 ** 32 - 1, 2 ** 33 - 1),
);

test('finds the last place that a block was given', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(block, fc.integer({ min: -1, max: 2 ** 31 - 3 })), { maxLength: 400 }),
      fc.array(block, { maxLength: 50 }),
      (entries, asked) => {
        const table = new PlaceTable();
        const half = Math.floor(entries.length / 2);
        table.add(Float64Array.from(entries.slice(0, half).flat()));
        table.add(Float64Array.from(entries.slice(half).flat()));
        const known = new Map(entries);
        for (const each of [...asked, ...known.keys()])
          expect(table.find(each)).toBe(known.get(each));
      },
    ),
    { numRuns: 200 },
  );
});
