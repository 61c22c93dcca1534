import type { PreparedSnapshot } from '../../group/volumes/prepared-snapshot.ts';
import type { MarkerId, MarkerRecord } from '../../journal/cut-record.ts';

export type { MarkerId } from '../../journal/cut-record.ts';

/** A marker as it stands in the journal of one member. */
export interface Marker extends MarkerRecord {
  /** Its update number in that journal. */
  readonly number: bigint;
}

export interface ReceivedMarker extends Marker {
  /** Its commit stands in this journal too. */
  readonly isCommitted: boolean;
}

/** One group of this system in a cut: as primary it takes part in rounds, as secondary it applies up to a marker. */
export interface CutMember {
  /**
   * Numbers and appends the marker, and holds replies to what is numbered behind it for `limitMilliseconds` at
   * most. Resolves with its number, durable or not. Rejects with JnbdError: cut_epoch_stale, state_refuses,
   * journal_full, journal_failed, shutting_down. `snapshot` is numbered right behind the marker; where the round is
   * given up before this member said that it held, or the controller says so, it is deleted again.
   */
  mark(
    marker: Omit<Marker, 'number'>,
    limitMilliseconds: number,
    snapshot?: PreparedSnapshot,
  ): Promise<bigint>;
  /**
   * Whether replies were held without a break since the marker: releases them at once, and resolves once the
   * marker is durable. False also where it will not be.
   */
  told(id: MarkerId): Promise<boolean>;
  /** Ends the round, if it is this one: nothing is held for it any more. */
  release(id: MarkerId): void;
  /**
   * Resolves once the commit is durable in the journal. Rejects with JnbdError: cut_round_lost where this member
   * did not say that it held, and otherwise as `mark` does.
   */
  commit(id: MarkerId): Promise<void>;
  /** For how long replies were held since the group was opened, all rounds together. */
  heldMilliseconds(): number;
  /**
   * Markers of this cut that are durable in this group's journal, oldest first. Of a primary the newest one that
   * is committed and those behind it; of another those alone that it could be promoted at, as far as its
   * volumes are concerned.
   */
  markers(cutId: string): readonly ReceivedMarker[];
  /**
   * Nothing behind this update number is applied, until the cut says otherwise; undefined lifts that. At once, and
   * until the group is closed.
   */
  holdApplyAt(number: bigint | undefined, cutId: string): void;
}
