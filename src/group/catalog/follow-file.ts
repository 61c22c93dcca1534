import type { Disk } from '../../platform/disk.ts';
import type { CatalogVolume } from './catalog.ts';
import type { Lineage, Position } from './lineage.ts';
import { closedGroup } from './closed-group.ts';
import { readSealedJson, writeSealedJson } from './sealed-json.ts';
import type { CatalogSnapshot } from './snapshots.ts';

/** How far the copy of one volume has come: everything below `address` is on this system's disk. */
export interface CopyProgress {
  readonly volume: number;
  readonly address: number;
}

/** What is done with answers that the own journal has no room for (K16). */
export type WhenFull = 'keep' | 'drop';

/** A group as it was when all its volumes were of one instant. */
export interface ConsistentState {
  /** What its volumes held: every update up to this number. */
  readonly number: number;
  /** When that update was made, in Unix time of its primary; null: nobody knows. */
  readonly atMilliseconds: number | null;
  readonly lineage: Lineage;
  readonly catalogNumber: number;
  readonly nextVolumeId: number;
  readonly volumes: readonly CatalogVolume[];
  readonly snapshots?: readonly CatalogSnapshot[] | undefined;
}

/**
 * A resync under way: regions of volumes are replaced by what the source has there, and until all of them
 * are the volumes are of no one instant. What they held before is preserved.
 */
export interface ResyncState {
  /** Null: they were of no one instant before either. */
  readonly consistentAt: ConsistentState | null;
  /** The journal began anew behind this number. */
  readonly through: number;
}

/**
 * Whom a group follows, and how: one file, replaced whole. What the copies have come to is written only
 * after the volumes are synced; what is not written is copied again.
 */
export interface FollowState {
  readonly formatVersion: 1;
  /** Where the source listens for followers. */
  readonly url: string;
  /** The source that the user named first; `url` is another one while that is busy. */
  readonly preferred?: string;
  /** What else may be read from, the best one first. */
  readonly relief?: readonly string[];
  /** The group's name there. */
  readonly sourceGroup: string;
  readonly sourceSystemId: number;
  readonly sourceName: string;
  readonly isSuspended: boolean;
  /** As `--pace` and `--batch-size` take them. */
  readonly pace: string;
  readonly batchSize: string;
  /** Connections used in parallel. */
  readonly links: number;
  /** What is done with answers that the journal has no room for; where it does not say, `keep`. */
  readonly whenFull?: WhenFull;
  /** Whether replies to the source's hosts are to wait for this system; where it does not say, nobody said. */
  readonly synchronous?: boolean;
  /** Volumes whose contents are not complete. */
  readonly copies: readonly CopyProgress[];
  /** Nothing in the volumes was written by a record above this number, unless this system applied it. */
  readonly shows: number;
  /**
   * What contents show that is not received yet, in the histories that they were of, of each stretch the highest: what
   * is received has to be the same there. Where it does not say, nothing.
   */
  readonly shown?: readonly Position[] | undefined;
  /**
   * A handoff up to this number was given before there was this copy of the group: whoever was to take over
   * then has done so, or it was taken back.
   */
  readonly handoffsAfter?: number | undefined;
  /** Up to which generation: a later one that goes on from before that number gives its own. Where it does not say, all. */
  readonly handoffsThroughGeneration?: number | undefined;
  /** The source lost what is here behind this number, and this system is about to go back behind it. */
  readonly lostBehind?: number | undefined;
  /** While contents of regions are brought from the source; which is in a file of its own. */
  readonly resync?: ResyncState | undefined;
}

/** Whom the group follows, and how, whatever has come from there. */
export type FollowedSource = Omit<
  FollowState,
  'formatVersion' | 'copies' | 'shows' | 'shown' | 'resync'
>;

export function withoutContents(state: FollowState): FollowedSource {
  const {
    formatVersion: _version,
    copies: _copies,
    shows: _shows,
    shown: _shown,
    resync: _resync,
    ...source
  } = state;
  return source;
}

/** One group's. */
export class FollowFile {
  readonly #disk: Disk;
  readonly #path: string;
  #state: FollowState | undefined;
  #isClosed = false;
  /** Whom the source gets its records from, itself first, as it said last; not on disk. */
  sourcePath: readonly number[] = [];

  /** Throws JnbdError: catalog_damaged, format_newer. */
  constructor(disk: Disk, path: string) {
    this.#disk = disk;
    this.#path = path;
    this.#state = readSealedJson<FollowState>(disk, path);
  }

  /** Undefined: the group follows nobody. */
  get state(): FollowState | undefined {
    return this.#state;
  }

  /** Durable when it returns. Throws group_state, system errors; what was written before then still holds. */
  write(state: FollowState): void {
    if (this.#isClosed) throw closedGroup(this.#path);
    writeSealedJson(this.#disk, this.#path, state);
    this.#state = state;
  }

  remove(): void {
    if (this.#isClosed) throw closedGroup(this.#path);
    if (this.#state) this.#disk.removeFileSync(this.#path);
    this.sourcePath = [];
    this.#state = undefined;
  }

  /** The file is another opening's. */
  close(): void {
    this.#isClosed = true;
  }
}
