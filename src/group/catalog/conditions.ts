/** What is not as it should be, told in status until it is over. Codes are stable. */
export type ConditionCode =
  | 'area_failed'
  | 'journal_in_emergency_area'
  | 'area_missing'
  | 'area_slow'
  | 'catalog_behind'
  | 'follower_behind'
  | 'follower_differs'
  | 'followers_not_grown'
  | 'journal_failed'
  | 'identity_broken'
  | 'damage_found'
  | 'checksum_differs'
  | 'checksums_failed'
  | 'journal_damaged'
  | 'journal_full'
  | 'journal_unreadable'
  | 'volume_space'
  | 'volume_failed'
  | 'volume_missing'
  | 'import_unfinished'
  | 'history_failed'
  | 'history_short'
  | 'follow_interrupted'
  | 'follow_refused'
  | 'resync_waits'
  | 'diverged'
  | 'primary_unconfirmed'
  | 'handoff_unconfirmed'
  | 'handoff_taken_back'
  | 'sync_lost'
  | 'sync_stalled'
  | 'sync_follower_lost'
  | 'two_primaries'
  | 'cut_without_marker'
  | 'cut_targets_wait'
  | 'cut_holds_apply'
  | 'cut_promotion_unfinished'
  | 'cut_member_moved'
  | 'clone_unusable'
  | 'view_unusable'
  | 'snapshot_missed'
  | 'rollback_stopped';

export type Severity = 'warning' | 'error';

export interface Condition {
  readonly code: ConditionCode;
  readonly severity: Severity;
  /** Names the thing, what is wrong with it, and since when what follows from it. */
  readonly message: string;
  /** What to type next. */
  readonly nextCommand: string;
}

/**
 * At each raise: the condition's code and message, with its next command. At each clear: the code with
 * `_cleared` behind it, and what is so instead now, with nothing to type.
 */
export type ConditionChanged = (
  code: ConditionCode | `${ConditionCode}_cleared`,
  message: string,
  fields: { readonly nextCommand?: string },
) => void;

/** At most one condition for each code and subject. */
export class Conditions {
  readonly #conditions = new Map<string, Condition>();
  readonly #changed: ConditionChanged;

  /** `changed` is called once at each raise and once at each clear. */
  constructor(changed: ConditionChanged) {
    this.#changed = changed;
  }

  raise(subject: string, condition: Condition): void {
    const key = `${condition.code} ${subject}`;
    const known = this.#conditions.has(key);
    this.#conditions.set(key, condition);
    const { code, message, nextCommand } = condition;
    if (!known) this.#changed(code, message, { nextCommand });
  }

  /** `message` says what is so now; nothing is told where the condition is not there. */
  clear(subject: string, code: ConditionCode, message: string): void {
    if (this.#conditions.delete(`${code} ${subject}`))
      this.#changed(`${code}_cleared`, message, {});
  }

  has(subject: string, code: ConditionCode): boolean {
    return this.#conditions.has(`${code} ${subject}`);
  }

  list(): Condition[] {
    return [...this.#conditions.values()];
  }
}
