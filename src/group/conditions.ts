/** What is not as it should be, told in status until it is over. Codes are stable. */
export type ConditionCode =
  | 'area_failed'
  | 'journal_in_emergency_area'
  | 'area_missing'
  | 'area_slow'
  | 'catalog_behind'
  | 'follower_behind'
  | 'journal_failed'
  | 'journal_damaged'
  | 'journal_full'
  | 'volume_space'
  | 'volume_failed'
  | 'volume_missing'
  | 'import_unfinished';

export type Severity = 'warning' | 'error';

export interface Condition {
  readonly code: ConditionCode;
  readonly severity: Severity;
  /** Names the thing, what is wrong with it, and since when what follows from it. */
  readonly message: string;
  /** What to type next. */
  readonly nextCommand: string;
}

/** At most one condition for each code and subject. */
export class Conditions {
  readonly #conditions = new Map<string, Condition>();
  readonly #changed: (condition: Condition, raised: boolean) => void;

  /** `changed` is called once at each raise and once at each clear. */
  constructor(changed: (condition: Condition, raised: boolean) => void) {
    this.#changed = changed;
  }

  raise(subject: string, condition: Condition): void {
    const key = `${condition.code} ${subject}`;
    const known = this.#conditions.has(key);
    this.#conditions.set(key, condition);
    if (!known) this.#changed(condition, true);
  }

  clear(subject: string, code: ConditionCode): void {
    const key = `${code} ${subject}`;
    const condition = this.#conditions.get(key);
    if (!condition) return;
    this.#conditions.delete(key);
    this.#changed(condition, false);
  }

  has(subject: string, code: ConditionCode): boolean {
    return this.#conditions.has(`${code} ${subject}`);
  }

  list(): Condition[] {
    return [...this.#conditions.values()];
  }
}
