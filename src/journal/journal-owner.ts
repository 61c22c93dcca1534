import type { Area } from './area.ts';
import type { RecordMoved } from './move-run.ts';
import type { LiveSegment } from './segment-chain.ts';

/** What the journal tells its group. */
export interface JournalOwner {
  durableAdvanced(): void;
  /** Appending that was refused may go on. */
  roomAppeared(): void;
  areaChanged(area: Area): void;
  /** A record moved from a failed area: same number, new place. */
  readonly recordMoved: RecordMoved;
  /** Nothing after `durable` will ever be durable, and nothing more can be appended. */
  journalFailed(failure: Error): void;
}

export type JournalState = 'open' | 'failed' | 'closed';

/** Where the payload of the record last stamped lies. */
export interface StampedPlace {
  segment: LiveSegment;
  payloadOffset: number;
}
