import { expect, test } from 'vitest';
import { type Base, baseFor, connected, expired } from '../../src/history/bases.ts';

const hour = 3_600_000;

function base(number: number, before: number, hours = 0, bytes = 0): Base & { bytes: number } {
  return { number, from: number, atMilliseconds: hours * hour, before, bytes };
}

test('what hangs together is what leads to the newest one', () => {
  const numbers = (found: readonly Base[]): number[] =>
    connected(found).map(({ number }) => number);
  expect(numbers([])).toEqual([]);
  expect(numbers([base(30, 20), base(10, 0), base(20, 10)])).toEqual([10, 20, 30]);
  expect(numbers([base(10, 0), base(30, 20)])).toEqual([30]);
  expect(numbers([base(10, 0), base(20, 15), base(30, 20)])).toEqual([20, 30]);
  // The first ones were dropped.
  expect(numbers([base(20, 10), base(30, 20)])).toEqual([20, 30]);
});

test('an update is shown by the newest base that can be used there', () => {
  const late = { ...base(20, 10), from: 25 };
  const bases = [base(10, 0), late, base(30, 20)];
  const found = (number: number): number | undefined => baseFor(bases, number)?.number;
  expect([9, 10, 24, 25, 29, 30, 99].map(found)).toEqual([undefined, 10, 10, 20, 20, 30, 30]);
});

test('a window of time keeps the base that covers its beginning', () => {
  const bases = [base(1, 0, 0), base(2, 1, 1), base(3, 2, 2), base(4, 3, 3)];
  const count = (hours: number, now: number): number =>
    expired(bases, { kind: 'time', milliseconds: hours * hour }, now * hour);
  expect(count(24, 4)).toBe(0);
  expect(count(2, 4)).toBe(2);
  expect(count(2, 3.5)).toBe(1);
  expect(count(1, 100)).toBe(3);
});

test('a window of size keeps what finds room, and always the newest base', () => {
  const bases = [base(1, 0, 0, 40), base(2, 1, 0, 30), base(3, 2, 0, 20)];
  const count = (bytes: number): number => expired(bases, { kind: 'size', bytes }, 0);
  expect([90, 89, 50, 49, 1].map(count)).toEqual([0, 1, 1, 2, 2]);
});
