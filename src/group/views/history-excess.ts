import { expired, readFrom } from '../../history/bases.ts';
import type { HistoryGroup, KeptBase } from './history-group.ts';
import { historyOwner } from './history-group.ts';
import { historySegmentsMax, segmentsSince } from './journal-share.ts';

/** How many of the oldest bases are to go, and whether the setting would have kept some of them. */
export function excess(
  group: HistoryGroup,
  bases: readonly KeptBase[],
  isAsked: boolean,
): { readonly count: number; readonly isForJournal: boolean } {
  const { history } = group.catalog;
  if (history === undefined) return { count: isAsked ? 0 : bases.length, isForJournal: false };
  const wanted = expired(bases, history, group.clock.wallMilliseconds());
  if (!isLowestHold(group)) return { count: wanted, isForJournal: false };
  const { chain, watermarks } = group;
  const segmentsMax = historySegmentsMax(chain);
  let count = wanted;
  for (; count + 1 < bases.length; count += 1) {
    const base = bases[count];
    if (base && segmentsSince(chain, readFrom(base), watermarks.newest) <= segmentsMax) break;
  }
  return { count, isForJournal: count > wanted };
}

/** Otherwise others keep as much of the journal, and letting go would make no room. */
function isLowestHold({ retention, watermarks }: HistoryGroup): boolean {
  const held = retention.get(historyOwner) ?? 0;
  return held <= retention.releasable(watermarks.applied, historyOwner);
}
