/** A reader of the group beside its hosts: what it is told of has happened. */
export interface GroupWatcher {
  /** Before anything that this made durable is applied. */
  durableAdvanced(durable: number): void;
  appliedAdvanced(applied: number): void;
  /** Records stand in the journal, and are not durable yet; only while replies to hosts wait for somebody. */
  appended?(): void;
  /** Released records, state or followers are not as they were. */
  changed?(): void;
}
