/**
 * The history of a group is a list of bases, oldest first. Each keeps what the volumes held when it began, of what
 * was overwritten until the next one did; what they hold at any update behind that is told by the journal.
 */
export interface Base {
  /** All updates up to it were in the volumes when it began, and none behind it. */
  readonly number: number;
  /**
   * Where it is not `number` itself: updates from here up to it may have been lost with the power, and were applied
   * again while blocks were saved in this base already.
   */
  readonly redoneFrom?: number;
  /** From here on it can be used: the volumes below are those of this number. */
  readonly from: number;
  readonly atMilliseconds: number;
  /** The number of the base before it; 0: it was the first. */
  readonly before: number;
}

/** How long the window is to be, by time, or by what its bases take. */
export type HistoryLimit =
  | { readonly kind: 'time'; readonly milliseconds: number }
  | { readonly kind: 'size'; readonly bytes: number };

/** Of what was found on disk, what hangs together up to the newest one. */
export function connected<T extends Base>(found: readonly T[]): readonly T[] {
  const sorted = [...found].sort((a, b) => a.number - b.number);
  let first = sorted.length;
  while (first > 0) {
    const next = sorted[first];
    if (next && next.before !== sorted[first - 1]?.number) break;
    first -= 1;
  }
  return sorted.slice(first);
}

/**
 * Behind which update records are read over a base. What was saved of a block is what it held at `number`, but for
 * bytes that an update between the two wrote; those have all their bytes in the journal.
 */
export function readFrom({ number, redoneFrom = number }: Base): number {
  return redoneFrom;
}

/** The newest one that update `number` can be shown by. */
export function baseFor<T extends Base>(bases: readonly T[], number: number): T | undefined {
  return bases.findLast(({ from }) => from <= number);
}

/** How many of the oldest ones are not needed for such a window. The newest one always is. */
export function expired(
  bases: readonly (Base & { readonly bytes: number })[],
  limit: HistoryLimit,
  nowMilliseconds: number,
): number {
  let count = 0;
  if (limit.kind === 'time') {
    const oldest = nowMilliseconds - limit.milliseconds;
    while ((bases[count + 1]?.atMilliseconds ?? Number.POSITIVE_INFINITY) <= oldest) count += 1;
    return count;
  }
  let bytes = bases.reduce((sum, base) => sum + base.bytes, 0);
  while (bytes > limit.bytes && count + 1 < bases.length) {
    bytes -= bases[count]?.bytes ?? 0;
    count += 1;
  }
  return count;
}
