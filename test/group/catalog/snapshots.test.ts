import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CatalogVolume } from '../../../src/group/catalog/catalog.ts';
import {
  areaEntry,
  areasFreedBy,
  type CatalogSnapshot,
  chainOf,
  changeSnapshots,
  livingSnapshots,
} from '../../../src/group/catalog/snapshots.ts';
import { must } from '../../../src/platform/assert.ts';

const volume: CatalogVolume = {
  id: 1,
  name: 'v',
  sizeBytes: 4608,
  journalOnly: false,
  state: 'normal',
  maxHosts: 0,
};

function made(list: readonly CatalogSnapshot[], number: number): readonly CatalogSnapshot[] {
  const snapshot = { name: `s${number}`, atMilliseconds: number };
  const change = {
    change: 'snapshot_created',
    snapshot,
    areas: [areaEntry(number, volume)],
  } as const;
  return changeSnapshots(list, change, number);
}

function deleted(list: readonly CatalogSnapshot[], number: number, at: number) {
  const areas = areasFreedBy(list, number);
  return changeSnapshots(list, { change: 'snapshot_deleted', number, areas }, at);
}

describe('the snapshots of a group', () => {
  test('keep what an older one needs, and nothing else', () => {
    const list = made(made(made([], 10), 20), 30);
    expect(chainOf(list, 10, 1)).toEqual([10, 20, 30]);
    expect(chainOf(list, 20, 1)).toEqual([20, 30]);
    expect(chainOf(list, 20, 2)).toBeUndefined();
    const without = deleted(list, 20, 40);
    expect(chainOf(without, 10, 1)).toEqual([10, 20, 30]);
    expect(chainOf(without, 20, 1)).toBeUndefined();
    expect(areasFreedBy(without, 10)).toEqual([10, 20]);
    const last = deleted(without, 10, 50);
    expect(last.map(({ number }) => number)).toEqual([30]);
    expect(deleted(last, 30, 60)).toEqual([]);
  });

  test('have a chain for each that lives, and nothing when none does', () => {
    const step = fc.oneof(fc.constant('make'), fc.nat());
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let list: readonly CatalogSnapshot[] = [];
        let number = 100;
        const living = new Set<number>();
        for (const what of steps) {
          number += 1;
          if (typeof what === 'string') {
            list = made(list, number);
            living.add(number);
          } else if (living.size > 0) {
            const gone = must([...living][what % living.size], 'one is picked');
            list = deleted(list, gone, number);
            living.delete(gone);
          }
          expect(livingSnapshots(list).map((snapshot) => snapshot.number)).toEqual([...living]);
          const areas = list.flatMap((snapshot) => snapshot.areas.map(({ area }) => area));
          const oldest = Math.min(...living);
          // From the oldest that lives on all are links.
          expect(areas.every((area) => area >= oldest)).toBe(true);
          for (const each of living)
            expect(chainOf(list, each, 1)).toEqual(areas.filter((area) => area >= each));
        }
      }),
    );
  });
});
