/** Which marker of a cut: an epoch is one controller's, and sequences rise within it (SAFETY 26). */
export interface MarkerId {
  /** 32 hexadecimal digits. */
  readonly cutId: string;
  readonly epoch: bigint;
  readonly sequence: bigint;
}

/** A marker as it stands in the journal of one member. */
export interface Marker extends MarkerId {
  /** Unix milliseconds, by the clock of the controller. */
  readonly wallTimeMilliseconds: number;
  /** Empty where it has none. */
  readonly name: string;
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
   * most. Resolves with its number once it is durable. Rejects with JnbdError: cut_epoch_stale, cut_round_lost,
   * state_refuses, journal_full.
   */
  mark(marker: Omit<Marker, 'number'>, limitMilliseconds: number): Promise<bigint>;
  /** Whether replies were held without a break since the marker; releases them. */
  told(id: MarkerId): boolean;
  /** Ends the round, if it is this one: nothing is held for it any more. */
  release(id: MarkerId): void;
  /** Resolves once the commit is durable in the journal. Rejects as `mark` does. */
  commit(id: MarkerId): Promise<void>;
  /** For how long replies were held since the start, all rounds together. */
  heldMilliseconds(): number;
  /** Markers of this cut that are durable in this group's journal, oldest first. */
  markers(cutId: string): readonly ReceivedMarker[];
  /** Nothing behind this update number is applied; undefined lifts that. At once, and until the group is closed. */
  holdApplyAt(number: bigint | undefined): void;
}
