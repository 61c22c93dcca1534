import type { ProfileName } from '../profiles.ts';

/** The safety rules whose mistakes are planted. */
export const ruleTitles = {
  1: 'prefix',
  2: 'stale records',
  3: 'damage is not a torn tail',
  4: 'failed sync',
  5: 'pins',
  6: 'order of releasing',
  7: 'journal-only groups',
  8: 'thin space',
  9: 'extents, not blocks',
  10: 'batches',
  11: 'copies',
  12: 'resync',
  13: 'bitmaps',
  14: 'full',
  15: 'floors',
  16: 'handoff',
  17: 'a new generation',
  18: 'who is known after a promotion',
  19: 'branches',
  20: 'admission',
  21: 'never across a fork',
  22: 'ahead of the sync of the source',
  23: 'losing a synchronous follower',
  24: 'held writes are not shown',
  25: 'rounds',
  26: 'markers are taken once',
  27: 'target lists',
  28: 'what a write replaces is preserved',
  29: 'areas of snapshots',
  30: 'what apply overwrites is kept',
  31: 'running checksums',
  32: 'proof of identity',
} as const;

export type RuleNumber = keyof typeof ruleTitles;

/** A mistake that the simulation has to find: it breaks one rule in a copy of the sources. */
export interface PlantedMistake {
  readonly name: string;
  /** The safety rule that it breaks, or the invariant. */
  readonly rule: RuleNumber | 'invariant 1' | 'invariant 3' | 'invariant 5';
  /** The only one that can find it; otherwise one after the other, by seed. */
  readonly profile?: ProfileName;
  /** So many are looked at, where no count is asked for: what it takes comes together rarely. */
  readonly seeds?: number;
  /** What the daemon does with it. */
  readonly does: string;
  readonly edits: readonly {
    /** Relative to `src`. */
    readonly file: string;
    /** Stands there once, or it is an error: no mistake goes unplanted unnoticed. */
    readonly find: string;
    readonly replace: string;
  }[];
}

export function ruleText({ rule }: PlantedMistake): string {
  return typeof rule === 'number' ? `rule ${rule}, ${ruleTitles[rule]}` : rule;
}
