import type { Damage } from './own-damages.ts';

/** A verification as a user wants it. */
export interface VerifyWish {
  readonly group: string;
  /** Each living snapshot, too. */
  readonly withSnapshots: boolean;
  /** Whose contents are right where systems differ; undefined: nothing is changed. */
  readonly repairFrom: string | undefined;
  /** For how long to wait until everybody has what is compared. */
  readonly timeoutMilliseconds: number;
  readonly signal: AbortSignal;
  readonly progress: (bytes: number, totalBytes: number) => void;
}

/** `skipped`: it keeps nothing that could be compared. */
export type SystemResult = 'same' | 'different' | 'failed' | 'skipped';

export interface Difference {
  /** Null: in the volumes themselves. */
  readonly snapshot: string | null;
  readonly volume: string;
  readonly offset: number;
  readonly length: number;
}

export interface VerifiedSystem {
  readonly name: string;
  readonly result: SystemResult;
  /** Why it failed, or was skipped. */
  readonly reason: string;
  readonly differingBytes: number;
  /** The first of them, where there are very many. */
  readonly differences: readonly Difference[];
}

export interface SystemDamage extends Damage {
  readonly system: string;
}

export interface Repair {
  readonly from: string;
  readonly bytes: number;
  /** Overwritten since, or damaged otherwise than a repair can reach. */
  readonly leftBytes: number;
}

export interface Verification {
  readonly group: string;
  /** The update as of which volumes were compared; null: with nobody. */
  readonly number: number | null;
  readonly comparedBytes: number;
  readonly systems: readonly VerifiedSystem[];
  readonly damages: readonly SystemDamage[];
  readonly repair: Repair | null;
}
