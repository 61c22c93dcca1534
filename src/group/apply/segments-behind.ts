import type { LiveSegment, SegmentChain } from '../../journal/segment-chain.ts';
import type { ScannedSegment } from '../../volume/region-scan.ts';
import type { RegionAnswer, RegionWork } from '../../volume/region-work.ts';
import type { ApplyDriver } from './apply-driver.ts';

/** What is scanned at once: while the worker reads segments it applies nothing. */
export const scannedSegmentsMax = 8;

export interface ChosenSegment {
  readonly live: LiveSegment;
  readonly scanned: ScannedSegment;
  /** The highest number that counts in it. */
  readonly lastNumber: number;
}

/** In their order, those that hold any of the updates from + 1 to `through`. */
export function segmentsBehind(
  chain: SegmentChain,
  from: number,
  through: number,
): readonly ChosenSegment[] {
  const chosen: ChosenSegment[] = [];
  let endsBefore = Infinity;
  for (const live of [...chain.live()].reverse()) {
    const { area, beginsAt, file, header } = live;
    const lastNumber = Math.min(live.lastNumber, endsBefore - 1);
    if (lastNumber > from && beginsAt <= through && beginsAt < endsBefore) {
      const direct = area.state === 'failed';
      const scanned = { path: file.path, salt: header.salt, endsBefore, direct };
      chosen.unshift({ live, scanned, lastNumber });
    }
    endsBefore = Math.min(endsBefore, beginsAt);
  }
  return chosen;
}

/** Segments that are read are not used again (SAFETY 5). */
export async function whilePinned(
  segments: readonly ChosenSegment[],
  read: (scanned: readonly ScannedSegment[]) => Promise<void>,
): Promise<void> {
  for (const { live } of segments) live.pins += 1;
  try {
    await read(segments.map(({ scanned }) => scanned));
  } finally {
    for (const { live } of segments) live.pins -= 1;
  }
}

/** As `whilePinned`, in the worker. */
export function findPinned(
  driver: ApplyDriver,
  segments: readonly ChosenSegment[],
  work: RegionWork,
  done: (answer: RegionAnswer | undefined) => void,
): void {
  for (const { live } of segments) live.pins += 1;
  driver.requests.findRegions(work, (answer) => {
    for (const { live } of segments) live.pins -= 1;
    done(answer);
  });
}
