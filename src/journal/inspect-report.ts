import type { Checkpoint } from './checkpoint.ts';
import type { JournalHead } from './head.ts';
import type { AreaIdentity } from './area.ts';
import type { recordType } from './record.ts';

/**
 * What offline reading finds; the JSON of `jnbd journal inspect|check`. Offsets and sizes are bytes,
 * times Unix milliseconds, `through` the last number of a range.
 */
export interface JournalReport {
  readonly formatVersion: 1;
  readonly directory: string;
  /** A daemon has the data directory: what it writes meanwhile may look unfinished. Null: not known. */
  readonly heldByDaemon: boolean | null;
  readonly damaged: boolean;
  readonly groups: readonly GroupReport[];
  /** Of the data directory itself. */
  readonly problems: readonly Problem[];
}

export type ProblemCode =
  | 'area_foreign'
  | 'area_missing'
  | 'catalog_damaged'
  | 'catalog_missing'
  | 'checkpoint_damaged'
  | 'format_newer'
  | 'group_unfinished'
  | 'head_damaged'
  | 'header_damaged'
  | 'numbers_missing'
  | 'read_failed'
  | 'record_damaged'
  | 'segment_missing'
  | 'segment_short'
  /** It may be damage, and what is there cannot tell. */
  | 'undecided'
  | 'volume_missing'
  | 'volume_short';

/**
 * `damage`: stored bytes are not what was written, or what must be there is not. `warning`: something
 * that a start mends, or that only looks so.
 */
export interface Problem {
  readonly severity: 'damage' | 'warning';
  readonly code: ProblemCode;
  readonly message: string;
  readonly path?: string;
  readonly offset?: number;
  /** Update numbers. */
  readonly from?: number;
  readonly through?: number;
}

export interface NumberRange {
  readonly from: number;
  readonly through: number;
}

export interface GroupReport {
  readonly name: string | null;
  readonly groupId: string | null;
  /** Null: a journal directory was named, whose group's directory is not known. */
  readonly directory: string | null;
  readonly catalog: CatalogReport | null;
  readonly checkpoint: SlotsReport<Checkpoint> | null;
  readonly head: SlotsReport<JournalHead> | null;
  readonly areas: readonly AreaReport[];
  /** In the order of their sequence; those never used, or unreadable, last. */
  readonly segments: readonly SegmentReport[];
  readonly volumes: readonly VolumeReport[];
  readonly watermarks: {
    readonly released: number;
    readonly applied: number;
    /** The highest number of which anything says that it was durable. */
    readonly durable: number;
    /** The highest number of the valid prefix. */
    readonly newest: number;
  };
  /** Numbers that are there, whole, where a reader would look for them. */
  readonly ranges: readonly NumberRange[];
  /** What a start would make of it; null where that needs files that cannot be read. */
  readonly recovery: RecoveryReport | null;
  readonly problems: readonly Problem[];
}

export interface RecoveryReport {
  readonly lastNumber: number;
  readonly damage: {
    readonly from: number;
    readonly through: number;
    readonly text: string;
  } | null;
}

export interface CatalogReport {
  readonly path: string;
  readonly number: number;
  readonly areaLayout: string;
  readonly journalCapacityBytes: number;
}

export interface SlotsReport<T> {
  readonly path: string;
  readonly slots: readonly { readonly state: string; readonly counter: number | null }[];
  /** The one that counts. */
  readonly value: T | null;
}

export interface AreaReport {
  readonly path: string;
  readonly state: 'ok' | 'missing' | 'foreign' | 'unreadable';
  readonly identity: AreaIdentity | null;
  readonly slots: number;
  readonly segmentsByState: Readonly<Record<string, number>>;
}

export interface VolumeReport {
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: number;
  readonly journalOnly: boolean;
  readonly path: string | null;
  readonly state: 'ok' | 'missing' | 'short' | 'journal-only';
  readonly allocatedBytes: number;
}

/**
 * `live`: holds records that are needed, or the checkpoint. `free`: all it holds was released. `void`:
 * every record in it stands in a later segment, or never counted. `unused`: prepared, nothing in it.
 * `blank`: never used.
 */
export type SegmentState = 'live' | 'free' | 'void' | 'unused' | 'blank' | 'unreadable';

export interface SegmentReport {
  readonly path: string;
  readonly state: SegmentState;
  readonly header: SegmentHeaderReport | null;
  /** Of the records in it that count; null where none does, or where it was not read (`free`). */
  readonly numbers: NumberRange | null;
  readonly records: number;
  /** Of its records, first and last. */
  readonly times: { readonly first: number; readonly last: number } | null;
  /** Where its valid records end. */
  readonly usedBytes: number;
  /** What stands there: the roll to the next one, nothing of this use, or a record that does not prove. */
  readonly end: 'roll' | 'unwritten' | 'torn' | 'full' | 'not_read';
}

export interface SegmentHeaderReport {
  readonly sequence: number;
  readonly incarnation: number;
  readonly generation: number;
  readonly generationSystem: number;
  readonly firstNumber: number;
  readonly durable: number;
  readonly timeBaseMilliseconds: number;
}

/** One record, as `--records` shows it. */
export interface RecordReport {
  readonly path: string;
  readonly offset: number;
  readonly type: keyof typeof recordType;
  readonly number: number | null;
  readonly volume: number;
  readonly volumeOffset: number;
  readonly length: number;
  readonly timeMilliseconds: number;
  /** It stands at a number that counts elsewhere, or nowhere. */
  readonly isVoid: boolean;
}
