import type { OwnLoad } from '../../platform/own-load.ts';

/** What the preferred source says of itself, or that it says nothing. */
export type LoadSample = OwnLoad | 'unreachable';

/** Between looks at the preferred source. */
export const reliefMilliseconds = 5000;

/** Away as soon as it is busy for a quarter of a minute, back when it was calm for a whole one. */
const busySamples = 3;
const calmSamples = 12;
const busy: OwnLoad = { processorShare: 0.9, eventLoopDelayMilliseconds: 50 };
const calm: OwnLoad = { processorShare: 0.6, eventLoopDelayMilliseconds: 20 };

export interface ReliefState {
  /** Another source than the preferred one is read from. */
  readonly isAway: boolean;
  /** Samples in a row that speak for a change. */
  readonly streak: number;
}

/**
 * Which source to read from (K23), one sample after the other. Between busy and calm nothing changes, and
 * going back takes longer than leaving, so that a load that swings moves nobody to and fro.
 */
export function considerRelief(
  { isAway, streak }: ReliefState,
  sample: LoadSample,
): { readonly state: ReliefState; readonly wish: 'stay' | 'leave' | 'return' } {
  const speaksForChange = isAway ? isCalm(sample) : isBusy(sample);
  const next = speaksForChange ? streak + 1 : 0;
  if (next < (isAway ? calmSamples : busySamples)) {
    return { state: { isAway, streak: next }, wish: 'stay' };
  }
  return { state: { isAway, streak: 0 }, wish: isAway ? 'return' : 'leave' };
}

function isBusy(sample: LoadSample): boolean {
  if (sample === 'unreachable') return true;
  const { processorShare, eventLoopDelayMilliseconds } = sample;
  return (
    processorShare >= busy.processorShare ||
    eventLoopDelayMilliseconds >= busy.eventLoopDelayMilliseconds
  );
}

function isCalm(sample: LoadSample): boolean {
  if (sample === 'unreachable') return false;
  const { processorShare, eventLoopDelayMilliseconds } = sample;
  return (
    processorShare <= calm.processorShare &&
    eventLoopDelayMilliseconds <= calm.eventLoopDelayMilliseconds
  );
}
