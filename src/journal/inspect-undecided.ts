import type { NumberRange, Problem } from './inspect-report.ts';
import type { SegmentWalk } from './inspect-walk.ts';

const why =
  'without the checkpoint and the head, in the directory of its group, that cannot be told';
const rangesShownMax = 8;

/**
 * What looks damaged where nothing says what was released. It is damaged where the segments that are
 * there prove it; the rest is a warning. Number n was durable when something in segment s said so, and
 * stood in a segment up to s: with every sequence there from the segment of n - 1 to s, nothing that
 * is elsewhere, or was used again, can have had it.
 */
export function leaveUndecided(
  problems: readonly Problem[],
  walks: readonly SegmentWalk[],
): Problem[] {
  const left: Problem[] = [];
  const missing: NumberRange[] = [];
  for (const problem of problems) {
    const { code, from = 0, through = from, message } = problem;
    if (isProved(problem, walks)) left.push(problem);
    else if (code === 'numbers_missing') missing.push({ from, through });
    else if (code === 'record_damaged') {
      const text = `${message}; whether it was needed, or was written again in a segment that is not here: ${why}`;
      left.push({ ...problem, ...undecided(text) });
    }
  }
  const first = missing[0];
  if (first) {
    const text = `updates ${rangesText(missing)} are in no segment here; whether they were released and their segments used again, are in another journal directory, or are lost: ${why}`;
    left.push({ ...undecided(text), from: first.from, through: missing.at(-1)?.through ?? 0 });
  }
  for (const problem of problems) {
    const { code, from = 0, message, path } = problem;
    const isTold = missing.some((range) => range.from <= from && from <= range.through);
    if (code !== 'segment_missing' || isTold) continue;
    const text = `${message}; whether it was released and used again, is in another journal directory, or is lost: ${why}`;
    left.push({ ...undecided(text), from, ...(path === undefined ? {} : { path }) });
  }
  return left;
}

function undecided(message: string) {
  return { severity: 'warning', code: 'undecided', message } as const;
}

function isProved({ code, path, from = 0 }: Problem, walks: readonly SegmentWalk[]): boolean {
  if (code === 'segment_missing') return false;
  let at = walks.findIndex(({ segment }) => segment.path === path);
  if (at < 0) at = walks.findLastIndex(({ pieces }) => has(pieces, from - 1));
  if (at < 0) return false;
  let expected = walks[at]?.segment.header.sequence;
  for (const { segment, marked } of walks.slice(at)) {
    if (segment.header.sequence !== expected) return false;
    if (Math.max(segment.header.durable, marked) >= from) return true;
    expected += 1;
  }
  return false;
}

function has(pieces: SegmentWalk['pieces'], number: number): boolean {
  return pieces.some(({ from, through }) => from <= number && number <= through);
}

function rangesText(ranges: readonly NumberRange[]): string {
  const shown = ranges.slice(0, rangesShownMax).map(({ from, through }) => `${from}-${through}`);
  const more = ranges.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more ranges` : shown.join(', ');
}
