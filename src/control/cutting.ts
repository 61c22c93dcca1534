import type { CutStatus, LocalCutStatus } from './schema-cut-status.ts';

/** A cut as a user wants it. */
export interface CutWish {
  readonly name: string;
  readonly members: readonly PlaceWish[];
  readonly targets: readonly { readonly name: string; readonly places: readonly PlaceWish[] }[];
  readonly intervalMilliseconds: number | null;
  readonly roundLimitMilliseconds: number;
}

export interface PlaceWish {
  readonly url: string;
  readonly group: string;
}

interface Marker {
  readonly epoch: bigint;
  readonly sequence: bigint;
  readonly name: string;
  /** Unix time. */
  readonly wallTimeMilliseconds: number;
}

/** Consistent cuts over several systems, as verbs and status need them; the replicator does it. */
export interface Cutting {
  /** As this system knows them, without asking anybody. */
  list(): LocalCutStatus[];
  names(): readonly string[];
  /** Asks all systems of the cut. */
  report(name: string): Promise<CutStatus>;
  /** False: it is so already. */
  create(wish: CutWish): Promise<boolean>;
  /** With a snapshot of that name behind it on all members. Rejects with cut_aborted. */
  mark(name: string, markerName: string, snapshot?: string): Promise<Marker>;
  promote(
    name: string,
    wish: {
      readonly list: string;
      readonly marker: string | undefined;
      readonly isDryRun: boolean;
    },
  ): Promise<{
    readonly result: 'done' | 'already_done' | 'would_be_done';
    readonly marker: Marker;
    readonly places: readonly {
      readonly place: {
        readonly systemName: string;
        readonly url: string;
        readonly group: string;
      };
      readonly number: number;
      readonly updatesBehind: number;
      readonly obstacle: string;
    }[];
  }>;
  /** Systems that could not be told; undefined: there is no such cut. */
  delete(name: string): Promise<readonly string[] | undefined>;
}
