import { expect, test } from 'vitest';
import { judgeNumbers, type NumbersVerdict } from '../../src/journal/inspect-numbers.ts';
import { walkSegment } from '../../src/journal/inspect-walk.ts';
import { SegmentReader } from '../../src/journal/segment-reader.ts';
import { newDisk } from '../simulation/fresh-disk.ts';
import { HandmadeJournal } from './handmade-journal.ts';

/**
 * A checkpoint in segment 3 said 10 was released when it was written; by now 35 is. Segments 1 and 2
 * are free, and 2 was used again.
 */
function judge(expected: { neededAfter: number; checkpointSequence: number }): NumbersVerdict {
  const disk = newDisk(1).attach();
  const journal = new HandmadeJournal(disk);
  const first = journal.segment(1, { firstNumber: 1 });
  first.writes(1, 20);
  first.roll(2);
  const third = journal.segment(3, { durable: 30 });
  third.writes(31, 40);
  third.mark(40);
  journal.segment(4, { slot: 2, durable: 40 });
  const reader = new SegmentReader(disk);
  const walks = journal.segments.map((segment) => walkSegment(reader, segment, () => undefined));
  return judgeNumbers(walks, { isWhole: true, released: 10, durable: 40, ...expected });
}

test('a segment before the checkpoint may be gone though the one that led to it is there', () => {
  const verdict = judge({ neededAfter: 35, checkpointSequence: 3 });
  expect(verdict.problems).toEqual([]);
  expect(verdict.ranges).toEqual([
    { from: 1, through: 20 },
    { from: 31, through: 40 },
  ]);
});

test('unless somebody holds its numbers', () => {
  const { problems } = judge({ neededAfter: 10, checkpointSequence: 3 });
  expect(problems).toMatchObject([
    { severity: 'damage', code: 'numbers_missing', from: 21, through: 30 },
  ]);
});

test('and not where recovery begins in it, or before', () => {
  const { problems } = judge({ neededAfter: 15, checkpointSequence: 1 });
  expect(problems[0]).toMatchObject({ severity: 'damage', code: 'segment_missing', from: 21 });
});
