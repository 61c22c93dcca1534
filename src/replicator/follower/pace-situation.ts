import type { SegmentChain } from '../../journal/segment-chain.ts';
import { MiB } from '../../platform/limits.ts';
import type { OwnLoad } from '../../platform/own-load.ts';
import type { LinkMeter } from './link-meter.ts';
import type { PaceSituation } from './pace.ts';
import type { JournalAnswer } from '../protocol/wire.ts';

const receiveBytesMax = 16 * MiB;
const roundTripMilliseconds = 1;

/** What a follower knows of itself and of its source, as the pace looks at it. */
export function paceSituation({
  now,
  position,
  toldApplied,
  meter,
  chain,
  load,
  source,
}: {
  /** Monotonic milliseconds. */
  readonly now: number;
  /** The last number that was asked for. */
  readonly position: number;
  readonly toldApplied: number;
  readonly meter: LinkMeter;
  readonly chain: SegmentChain;
  readonly load: OwnLoad;
  /** What it told last. */
  readonly source: JournalAnswer | undefined;
}): PaceSituation {
  const { bytesPerMillisecond, inFlightBytes } = meter;
  return {
    nowMilliseconds: now,
    position,
    toldApplied,
    link: { bytesPerMillisecond, roundTripMilliseconds, inFlightBytes },
    ownJournal: { usedBytes: chain.usedBytes, capacityBytes: chain.capacityBytes },
    receiveBytesMax,
    ownLoad: load,
    source: source && {
      fill: { usedBytes: source.usedBytes, capacityBytes: source.capacityBytes },
      released: source.watermarks.released,
      durable: source.watermarks.durable,
    },
  };
}
