import type { NumberRange, Problem } from './inspect-report.ts';
import type { SegmentWalk } from './inspect-walk.ts';
import { updatesText, updatesWereText } from './update-text.ts';

/** What is known from beside the segments that were walked. */
export interface Expectations {
  /** The checkpoint can be read: it is known what was released. */
  readonly isWhole: boolean;
  /** Records up to this number are not needed by anybody. */
  readonly released: number;
  /** Records after this one are needed to recover, or by who holds the journal. */
  readonly neededAfter: number;
  /** The highest number that checkpoint, head and headers say was durable. */
  readonly durable: number;
  /** The segment that the checkpoint is in; 0: none must be there. */
  readonly checkpointSequence: number;
}

export interface NumbersVerdict {
  readonly durable: number;
  /** In the order of the walks: the numbers in each that count. */
  readonly counted: readonly (NumberRange | null)[];
  readonly ranges: readonly NumberRange[];
  readonly problems: readonly Problem[];
}

/**
 * Which numbers count, which are missing, and which of that is damage: a number is damaged when
 * something says that it was durable, nobody released it, and it does not stand whole where a reader
 * would look. What stands behind a torn tail, or was written again in a later segment, does not count.
 */
export function judgeNumbers(
  walks: readonly SegmentWalk[],
  expected: Expectations,
): NumbersVerdict {
  let { durable } = expected;
  for (const { marked } of walks) durable = Math.max(durable, marked);
  const problems: Problem[] = [];
  const counted = walks.map((walk, at) =>
    countPieces(walk, voidFrom(walks, at), durable, problems),
  );
  const ranges = union(counted.flat());
  betweenSegments(walks, counted, problems);
  const lead = leadsNowhere(walks, ranges, expected);
  if (lead) problems.push(lead);
  for (const missing of missingIn(ranges, neededFrom(ranges, expected), durable)) {
    if (isReported(problems, missing)) continue;
    problems.push(describe(missing, walks, counted));
  }
  return {
    durable,
    counted: counted.map((pieces) => {
      const [first] = pieces;
      const last = pieces.at(-1);
      return first && last ? { from: first.from, through: last.through } : null;
    }),
    ranges,
    problems,
  };
}

/** From this number on a later segment has what counts. */
function voidFrom(walks: readonly SegmentWalk[], at: number): number {
  let lowest = Number.POSITIVE_INFINITY;
  for (const { segment } of walks.slice(at + 1)) {
    if (segment.header.firstNumber > 0) lowest = Math.min(lowest, segment.header.firstNumber);
  }
  return lowest;
}

function countPieces(
  walk: SegmentWalk,
  end: number,
  durable: number,
  problems: Problem[],
): NumberRange[] {
  const counted: NumberRange[] = [];
  let last = 0;
  for (const piece of walk.pieces) {
    if (piece.from >= end) break;
    const { path } = walk.segment;
    if (last > 0 && piece.from !== last + 1) {
      // Behind a torn tail nothing counts.
      if (last + 1 > durable || piece.from <= last) break;
      const gap = walk.gaps.find(({ after }) => after === last);
      problems.push(recordDamage(path, gap?.offset ?? piece.offset, last + 1, piece.from - 1));
    }
    counted.push({ from: piece.from, through: Math.min(piece.through, end - 1) });
    last = piece.through;
  }
  // A mark behind something that is no record, and no number between them.
  const gap = walk.gaps.find(({ after, marked }) => after === last && marked > last);
  if (gap && last > 0 && last + 1 < end)
    problems.push(recordDamage(walk.segment.path, gap.offset, last + 1, gap.marked));
  return counted;
}

function recordDamage(path: string, offset: number, from: number, through: number): Problem {
  return {
    severity: 'damage',
    code: 'record_damaged',
    message: `${updatesText(from, through)} of ${path} cannot be read: no valid record at offset ${offset}`,
    path,
    offset,
    from,
    through,
  };
}

/** A segment that was rolled to goes on where the one before ended, needed or not. */
function betweenSegments(
  walks: readonly SegmentWalk[],
  counted: readonly (readonly NumberRange[])[],
  problems: Problem[],
): void {
  for (let at = 1; at < walks.length; at += 1) {
    const header = walks[at]?.segment.header;
    const before = walks[at - 1];
    const last = counted[at - 1]?.at(-1)?.through;
    const first = counted[at]?.[0]?.from;
    if (!header || !before || last === undefined || first === undefined) continue;
    const isNext =
      header.firstNumber === 0 && header.sequence === before.segment.header.sequence + 1;
    if (!isNext || first <= last + 1) continue;
    problems.push(describe({ from: last + 1, through: first - 1 }, walks, counted));
  }
}

function union(ranges: readonly NumberRange[]): NumberRange[] {
  const joined: { from: number; through: number }[] = [];
  for (const { from, through } of [...ranges].sort((a, b) => a.from - b.from)) {
    const before = joined.at(-1);
    if (before && from <= before.through + 1) before.through = Math.max(before.through, through);
    else joined.push({ from, through });
  }
  return joined;
}

/** Before what recovery needs, segments may have been used again already, but no part of one. */
function neededFrom(ranges: readonly NumberRange[], expected: Expectations): number {
  if (expected.isWhole) return expected.neededAfter + 1;
  return Math.max(expected.neededAfter + 1, ranges[0]?.from ?? Number.POSITIVE_INFINITY);
}

function missingIn(ranges: readonly NumberRange[], from: number, through: number): NumberRange[] {
  const missing: NumberRange[] = [];
  let next = from;
  for (const range of ranges) {
    if (range.from > next) missing.push({ from: next, through: Math.min(range.from - 1, through) });
    next = Math.max(next, range.through + 1);
  }
  missing.push({ from: next, through });
  return missing.filter((range) => range.from <= range.through);
}

function isReported(problems: readonly Problem[], { from, through }: NumberRange): boolean {
  return problems.some(
    (problem) =>
      problem.from !== undefined &&
      problem.code !== 'segment_missing' &&
      (problem.from ?? 0) <= from &&
      (problem.through ?? 0) >= through,
  );
}

/** Where the numbers should be: behind the one before them. */
function describe(
  { from, through }: NumberRange,
  walks: readonly SegmentWalk[],
  counted: readonly (readonly NumberRange[])[],
): Problem {
  let at = walks.findLastIndex((_, i) =>
    (counted[i] ?? []).some((one) => one.through === from - 1),
  );
  if (at < 0) at = walks.findIndex(({ segment }) => segment.header.firstNumber === from);
  const walk = walks[at];
  const base = { severity: 'damage', from, through } as const;
  if (!walk || walk.endsWith === 'roll') {
    return {
      ...base,
      code: 'numbers_missing',
      message: `${updatesWereText(from, through)} durable and are in no segment that can be read`,
    };
  }
  const { path } = walk.segment;
  const cause = walk.readFailure === undefined ? '' : ` (${walk.readFailure})`;
  return {
    ...base,
    code: 'numbers_missing',
    message: `${updatesWereText(from, through)} durable and cannot be read: no valid record at offset ${walk.end} of ${path}${cause}`,
    path,
    offset: walk.end,
  };
}

/**
 * A segment that a roll leads to, or that the checkpoint is in, and that is not there: its header was
 * durable before anything referred to it. Not needed where a later one begins again at its numbers,
 * and before the checkpoint only for its numbers, which are missed on their own: a segment is used
 * again while the one that led to it, released with it, still stands.
 */
function leadsNowhere(
  walks: readonly SegmentWalk[],
  ranges: readonly NumberRange[],
  { checkpointSequence, neededAfter }: Expectations,
): Problem | undefined {
  const there = new Set(walks.map(({ segment }) => segment.header.sequence));
  const beginsAgain = (after: number, from: number): boolean =>
    walks.some(
      ({ segment: { header } }) =>
        header.sequence > after && header.firstNumber > 0 && header.firstNumber <= from,
    );
  if (
    checkpointSequence > 0 &&
    !there.has(checkpointSequence) &&
    !beginsAgain(checkpointSequence, neededAfter + 1)
  ) {
    return {
      severity: 'damage',
      code: 'segment_missing',
      message: `segment ${checkpointSequence}, where the checkpoint is, is not there`,
    };
  }
  for (const { segment, rolledTo, pieces } of walks) {
    if (rolledTo === 0 || there.has(rolledTo) || rolledTo < checkpointSequence) continue;
    const last = pieces.at(-1)?.through ?? ranges.at(-1)?.through ?? 0;
    if (beginsAgain(segment.header.sequence, last + 1)) continue;
    return {
      severity: 'damage',
      code: 'segment_missing',
      message: `segment ${rolledTo}, where ${segment.path} leads, is not there`,
      path: segment.path,
      from: last + 1,
    };
  }
  return undefined;
}
