import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ChecksumComparison } from '../../../src/group/apply/checksum-comparison.ts';
import type { PointSums, VolumeSum } from '../../../src/journal/point-record.ts';

const sum = (volume: number, low: number): VolumeSum => ({ volume, low, high: 7 });
const point = (number: number, ...sums: VolumeSum[]): PointSums => ({ number, sums });

test('it does not matter which side comes first', () => {
  for (const first of ['own', 'told'] as const) {
    const comparison = new ChecksumComparison();
    const second = first === 'own' ? 'told' : 'own';
    expect(comparison[first](point(5, sum(1, 1), sum(2, 2)))).toBeUndefined();
    const found = comparison[second](point(5, sum(1, 1), sum(2, 3)));
    expect(found).toBe(5);
    expect([...comparison.differences]).toEqual([[2, { after: 0, through: 5 }]]);
  }
});

test('nothing is compared but sums of the same update, of volumes that both know', () => {
  const number = fc.integer({ min: 1, max: 6 });
  const side = fc.record({ number, volumes: fc.subarray([1, 2, 3]), isOwn: fc.boolean() });
  fc.assert(
    fc.property(fc.array(side, { maxLength: 30 }), (told) => {
      const comparison = new ChecksumComparison();
      const waiting = { own: new Map<number, number[]>(), told: new Map<number, number[]>() };
      for (const { number, volumes, isOwn } of told) {
        // What a volume holds at a number is one thing.
        const sums = volumes.map((volume) => sum(volume, number * 10 + volume));
        const [side, other] = isOwn ? (['own', 'told'] as const) : (['told', 'own'] as const);
        const known = waiting[other].get(number);
        if (known) waiting[other].delete(number);
        else waiting[side].set(number, volumes);
        const isCommon = known?.some((volume) => volumes.includes(volume)) === true;
        const found = comparison[side](point(number, ...sums));
        expect(found).toBe(isCommon ? number : undefined);
      }
      expect(comparison.differences.size).toBe(0);
    }),
  );
});

test('a difference says between which points it came about, and ends where they agree again', () => {
  const comparison = new ChecksumComparison();
  const at = (number: number, mine: number, theirs: number): void => {
    comparison.own(point(number, sum(1, mine)));
    comparison.told(point(number, sum(1, theirs)));
  };
  at(10, 1, 1);
  at(20, 2, 3);
  at(30, 4, 5);
  expect(comparison.differences.get(1)).toEqual({ after: 10, through: 20 });
  // Of a point that says nothing of it nothing is learned.
  comparison.own(point(40, sum(2, 1)));
  comparison.told(point(40, sum(2, 1)));
  expect(comparison.differences.size).toBe(1);
  at(50, 6, 6);
  expect(comparison.differences.size).toBe(0);
});
