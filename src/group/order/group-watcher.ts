/** A reader of the group beside its hosts: what it is told of has happened. */
export interface GroupWatcher {
  /** Before anything that this made durable is applied. */
  durableAdvanced(durable: number): void;
  appliedAdvanced(applied: number): void;
  /** Released records, state or followers are not as they were. */
  changed?(): void;
}
