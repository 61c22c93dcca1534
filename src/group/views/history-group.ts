import type { Retention } from '../../journal/retention.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Watermarks } from '../../journal/watermarks.ts';
import type { Clock } from '../../platform/clock.ts';
import type { ApplyDriver } from '../apply/apply-driver.ts';
import type { Volume } from '../apply/volume.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Conditions } from '../catalog/conditions.ts';
import type { FollowState } from '../catalog/follow-file.ts';
import type { BaseBits } from './base-bits.ts';
import type { StoredBase } from './stored-bases.ts';

/** In the retention: what the window of the past needs. */
export const historyOwner = 'history';

export interface HistoryGroup {
  readonly name: string;
  readonly state: string;
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly watermarks: Watermarks;
  readonly chain: SegmentChain;
  readonly retention: Retention;
  readonly conditions: Conditions;
  readonly driver: ApplyDriver;
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly deleted: { applying(): Iterable<Volume> };
  readonly follow: { readonly state: FollowState | undefined };
  release(): void;
  changed(): void;
}

/** A base that is kept, and what it takes on disk. */
export interface KeptBase extends StoredBase {
  readonly directory: string;
  bytes: number;
}

/** Who looks at the past, and needs bases whatever the setting is. */
export interface HistoryUsers {
  /** Somebody does, or is about to. */
  readonly isNeeded: boolean;
  /** Somebody is about to, and has no base yet. */
  readonly isWaiting: boolean;
  /** The number of the oldest base that they need. */
  readonly oldestBase: number;
  baseBegan(open: BaseBits): void;
  /** None of their views needs them. */
  basesDropped(directories: readonly string[]): void;
  /** Those that need the oldest base end. False: nobody does. */
  endOldest(reason: string): boolean;
  endAll(reason: string): void;
}

/** Contents come past the journal, or came from further on than what is applied. */
export function isIncomplete({ follow, watermarks }: HistoryGroup): boolean {
  const { resync, copies = [], shows = 0 } = follow.state ?? {};
  return resync !== undefined || copies.length > 0 || watermarks.applied < shows;
}

/** Whose blocks are saved: areas of snapshots are written once. */
export function* coveredVolumes({
  volumes,
  deleted,
}: HistoryGroup): Generator<{ readonly id: number; readonly sizeBytes: number }> {
  for (const { catalog } of [...volumes.values(), ...deleted.applying()])
    if (!catalog.journalOnly && catalog.preserves === undefined) yield catalog;
}
