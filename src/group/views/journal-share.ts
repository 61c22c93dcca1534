import type { SegmentChain } from '../../journal/segment-chain.ts';
import { segmentBytes } from '../../platform/limits.ts';

/** What is read before a view is there: so much of the journal, and what one table of apply has more. */
const segmentsPerBaseMax = 8;
/** Of the journal's capacity; the rest is for what is not applied, and for other holds. */
const shareMax = 0.75;
const segmentsLeft = 4;

/** A base begins behind so many segments of the journal. */
export function segmentsPerBase(chain: SegmentChain): number {
  const segments = chain.capacityBytes / segmentBytes;
  return Math.max(1, Math.min(segmentsPerBaseMax, Math.floor(segments / 16)));
}

/** More than this is not kept for history alone: a journal that is always nearly full slows hosts. */
export function historySegmentsMax(chain: SegmentChain): number {
  const segments = chain.capacityBytes / segmentBytes;
  return Math.max(1, Math.floor(segments * shareMax) - segmentsLeft);
}

/** In how many segments updates behind `from`, up to `through`, stand. */
export function segmentsSince(chain: SegmentChain, from: number, through: number): number {
  let count = 0;
  for (const { lastNumber, beginsAt } of chain.live())
    if (lastNumber > from && beginsAt <= through) count += 1;
  return count;
}
