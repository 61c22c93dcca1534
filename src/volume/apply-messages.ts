import type { Checkpoint } from '../journal/checkpoint.ts';
import type { VolumeSum } from '../journal/point-record.ts';
import type { BlockRange } from './range-map.ts';
import type { Preserving } from './preserved-blocks.ts';
import type { PreservedVolume } from './preserved-files.ts';
import type { Region } from './region-set.ts';
import type { RecordListing, RecordListingAnswer } from './record-list.ts';
import type { RegionAnswer, RegionWork } from './region-work.ts';

/** A volume as apply writes it. */
export interface ApplyVolume {
  readonly id: number;
  readonly path: string;
  /** Of an area: where its map begins follows from it. */
  readonly areaDataBytes?: number | undefined;
}

export interface ApplySegment {
  readonly sequence: number;
  readonly path: string;
  /** Read past the page cache and prove checksums: the segment's area has failed. */
  readonly direct: boolean;
  /** Highest update number in it at the time. */
  readonly lastNumber: number;
  /** Nothing of it is in a later table. */
  readonly isWhole: boolean;
}

export type ToApply =
  /** `preserving`: what is overwritten is saved before. */
  | {
      readonly kind: 'open';
      readonly checkpointPath: string;
      readonly preserving: Preserving | undefined;
      /** The newest base of the history, where there is one: it goes on being filled. */
      readonly base?: Preserving | undefined;
    }
  | {
      readonly kind: 'apply';
      /** A frozen BlockTable: not touched by the sender until the answer. */
      readonly memory: SharedArrayBuffer;
      readonly count: number;
      readonly ranges: readonly BlockRange[];
      readonly baseSequence: number;
      readonly segments: readonly ApplySegment[];
      /** What nobody reads soon who follows the journal, once it is applied. */
      readonly unreadThrough: number;
      readonly volumes: readonly ApplyVolume[];
      /** It ends with a point of the checksums: the answer has the sums. */
      readonly isPoint: boolean;
    }
  /** Syncs what was applied so far, then writes this checkpoint. Applying goes on meanwhile. */
  | { readonly kind: 'checkpoint'; readonly checkpoint: Checkpoint }
  /**
   * Contents that came from another system as they are, or a hole where there are none: written behind
   * what was posted before, ahead of what is posted behind it.
   */
  | {
      readonly kind: 'copy';
      readonly volume: ApplyVolume;
      readonly offset: number;
      readonly length: number;
      readonly contents: Uint8Array | undefined;
    }
  /** Syncs what was written so far, as a checkpoint does. */
  | { readonly kind: 'sync' }
  /** What these regions hold is saved now, durably, so that overwriting them need not wait for it. */
  | {
      readonly kind: 'preserve';
      readonly regions: readonly Region[];
      readonly volumes: readonly ApplyVolume[];
    }
  /** Hashes of what stands in a volume's file: units of `unit-hashes.ts`, from the beginning of one on. */
  | {
      readonly kind: 'hash';
      readonly volume: ApplyVolume;
      readonly offset: number;
      readonly length: number;
    }
  /** What was saved is not needed any more. */
  | { readonly kind: 'drop_preserved' }
  /**
   * A base of the history begins, at all that was applied. `contents` are what stands in its file. From then on what
   * apply overwrites is saved there.
   */
  | { readonly kind: 'begin_base'; readonly base: Preserving; readonly contents: Uint8Array }
  /** Volumes that were made, or have grown, since the newest base began. */
  | { readonly kind: 'cover_volumes'; readonly volumes: readonly PreservedVolume[] }
  /** Bases of the history, oldest first, that nobody needs any more; of the newest one nothing is saved any more. */
  | { readonly kind: 'drop_bases'; readonly directories: readonly string[] }
  /** Checksums are kept from now on, or not any more; `isKept`: those that are there can be believed. */
  | {
      readonly kind: 'keep_checksums';
      readonly directory: string;
      readonly place: { readonly isKept: boolean } | undefined;
    }
  /** Goes on with the checksums that are not complete; these are all volumes that have any. */
  | { readonly kind: 'work_on_checksums'; readonly volumes: readonly ApplyVolume[] }
  | RecordListing
  | RegionWork
  /** Nothing of this volume will be applied any more: its file is closed. */
  | { readonly kind: 'forget'; readonly volume: number };

/**
 * `sync`: the volume's page cache can no longer be believed; only a restart helps (SAFETY 4).
 * `checkpoint`: the volumes are synced; the same may be asked for again. `history`: what was to be overwritten
 * could not be saved, and was not overwritten. `checksums`: one could not be written, nor removed.
 */
export type ApplyFailurePart =
  | 'segment'
  | 'volume'
  | 'sync'
  | 'checkpoint'
  | 'history'
  | 'checksums';

/** Answers come in the order of what they answer; a failed `sync` is told as `failed`. */
export type FromApply =
  /** `sums`: of a point. */
  | { readonly kind: 'applied'; readonly sums: readonly VolumeSum[] | undefined }
  /** `failure`: some could not be kept, and were given up; they are built anew when they are worked on again. */
  | {
      readonly kind: 'checksums_worked';
      readonly isComplete: boolean;
      readonly failure: string | undefined;
    }
  /** `failure`: the volume's file could not be written. */
  | { readonly kind: 'copied'; readonly failure: string | undefined }
  | { readonly kind: 'synced' }
  /** `failure`: as a system error has it; it may be tried again. */
  | {
      readonly kind: 'preserved';
      readonly failure: { readonly code: string; readonly message: string } | undefined;
    }
  | { readonly kind: 'base_begun'; readonly failure: string | undefined }
  | { readonly kind: 'bases_dropped'; readonly failure: string | undefined }
  | RecordListingAnswer
  | RegionAnswer
  | { readonly kind: 'hashed'; readonly hashes: Uint8Array | { readonly failure: string } }
  | { readonly kind: 'checkpointed'; readonly applied: number }
  | {
      readonly kind: 'failed';
      readonly part: ApplyFailurePart;
      /** The volume whose file failed, where it is one. */
      readonly volume: number | undefined;
      /** System error code, `EIO` where there is none. */
      readonly code: string;
      readonly message: string;
    };
