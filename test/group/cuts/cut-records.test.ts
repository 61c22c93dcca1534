import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CutRecords, type KnownMarker } from '../../../src/group/cuts/cut-records.ts';
import type { CutRecord } from '../../../src/journal/cut-record.ts';

const cuts = ['aa'.repeat(16), 'bb'.repeat(16)];
const time = { wallTimeMilliseconds: 5, name: '' };

function marker(cutId: string, sequence: number): CutRecord {
  return { kind: 'marker', cutId, epoch: 1n, sequence: BigInt(sequence), ...time };
}

function commit(cutId: string, sequence: number): CutRecord {
  return { kind: 'commit', cutId, epoch: 1n, sequence: BigInt(sequence) };
}

const step = fc.record({
  kind: fc.constantFrom('marker', 'commit', 'write', 'release', 'restart'),
  cut: fc.constantFrom(...cuts),
  by: fc.integer({ min: 1, max: 4 }),
});

describe('the markers of a journal', () => {
  test('are known until they are released, and the newest of each cut over a restart', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        let records = new CutRecords();
        const journal: { number: number; record: CutRecord }[] = [];
        let number = 0;
        let released = 0;
        let sequence = 0;
        for (const { kind, cut, by } of steps) {
          if (kind === 'write') number += by;
          if (kind === 'marker' || kind === 'commit') {
            if (kind === 'marker') sequence += 1;
            const record =
              kind === 'marker'
                ? marker(cut, sequence)
                : commit(cut, Math.max(1, sequence - by + 1));
            number += 1;
            journal.push({ number, record });
            records.add(number, record, released);
          }
          if (kind === 'release') released = Math.min(number, released + by);
          if (kind === 'restart') {
            // A checkpoint says `released`: recovery finds what is behind it.
            records = new CutRecords(records.through(released, number));
            for (const found of journal) {
              if (found.number > released) records.add(found.number, found.record, released);
            }
          }
          for (const cutId of cuts) expectAll(records, journal, cutId, released, number);
        }
      }),
    );
  });

  test('are committed once the commit is durable', () => {
    const [cutId = ''] = cuts;
    const records = new CutRecords();
    records.add(1, marker(cutId, 1), 0);
    records.add(2, commit(cutId, 1), 0);
    expect(records.list(cutId, 0)).toEqual([]);
    expect(records.list(cutId, 1)).toMatchObject([{ number: 1, committedAt: 2 }]);
    expect(records.through(1, 1)).toMatchObject([{ number: 1, isCommitted: false }]);
    expect(records.through(1, 2)).toMatchObject([{ number: 1, isCommitted: true }]);
  });
});

function expectAll(
  records: CutRecords,
  journal: readonly { number: number; record: CutRecord }[],
  cutId: string,
  released: number,
  newest: number,
): void {
  const all = journal.filter(({ record }) => record.kind === 'marker' && record.cutId === cutId);
  const last = all.findLastIndex(({ number }) => number <= released);
  const expected = all.slice(Math.max(0, last)).map(({ number }) => number);
  const listed = records.list(cutId, newest);
  // What was released may be forgotten later.
  expect(numbersOf(listed).slice(-expected.length || listed.length)).toEqual(expected);
  expect(records.newest(cutId)?.number).toBe(expected.at(-1));
  for (const { number, sequence, committedAt } of listed) {
    const found = journal.find(
      ({ record, number: at }) =>
        record.kind === 'commit' &&
        record.cutId === cutId &&
        record.sequence === sequence &&
        at > number,
    );
    // Where the commit stood is forgotten with the marker's place.
    const at = number > released ? committedAt : committedAt && found?.number;
    expect(at).toBe(found?.number);
  }
}

function numbersOf(markers: readonly KnownMarker[]): number[] {
  return markers.map(({ number }) => number);
}
