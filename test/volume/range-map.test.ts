import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type NodeKind, nodeKind } from '../../src/volume/node-kind.ts';
import { RangeMap } from '../../src/volume/range-map.ts';

const blocks = 60;
const volumes = 3;
const sets = fc.array(
  fc.record({
    volume: fc.integer({ min: 0, max: volumes - 1 }),
    start: fc.integer({ min: 0, max: blocks - 1 }),
    length: fc.integer({ min: 1, max: blocks }),
    kind: fc.constantFrom<NodeKind>(nodeKind.zero, nodeKind.hole),
  }),
  { maxLength: 60 },
);

test('a block is in the range that was set last, and ranges stay disjoint and sorted', () => {
  fc.assert(
    fc.property(sets, (asked) => {
      const map = new RangeMap();
      const model = new Map<string, { kind: NodeKind; place: number }>();
      asked.forEach(({ volume, start, length, kind }, place) => {
        const end = Math.min(blocks, start + length);
        const countBefore = map.count;
        map.set(volume, start, end, kind, place);
        expect(map.count).toBeLessThanOrEqual(countBefore + 2);
        for (let block = start; block < end; block += 1) {
          model.set(`${volume}/${block}`, { kind, place });
        }
      });
      for (let volume = 0; volume < volumes; volume += 1) {
        for (let block = 0; block < blocks; block += 1) {
          const index = map.find(volume, block);
          const found = { kind: map.kindAt(index), place: map.placeAt(index) };
          const expected = model.get(`${volume}/${block}`);
          expect(index < 0 ? undefined : found).toEqual(expected);
        }
      }
      const listed = map.list();
      expect(listed.length).toBe(map.count);
      listed.forEach((range, at) => {
        expect(range.start).toBeLessThan(range.end);
        const next = listed[at + 1];
        if (!next) return;
        const isBefore =
          range.volume < next.volume || (range.volume === next.volume && range.end <= next.start);
        expect(isBefore).toBe(true);
      });
      const zeroBlocks = (volume: number): number =>
        [...model].filter(
          ([key, { kind }]) => kind === nodeKind.zero && key.startsWith(`${volume}/`),
        ).length;
      expect(map.zeroBlocks).toBe(zeroBlocks(0) + zeroBlocks(1) + zeroBlocks(2));
      map.forget(1);
      expect(map.zeroBlocks).toBe(zeroBlocks(0) + zeroBlocks(2));
      expect(map.list()).toEqual(listed.filter(({ volume }) => volume !== 1));
      map.clear();
      expect(map.count).toBe(0);
      expect(map.find(0, 0)).toBe(-1);
    }),
    { numRuns: 500 },
  );
});
