import { assert } from '../platform/assert.ts';

/**
 * Who still needs which part of a journal: named holds, each the highest update number that its
 * owner can do without. What no hold needs may be released (invariant 5).
 */
export class Retention {
  readonly #holds = new Map<string, number>();

  /** `released`: the owner needs every record after this number. */
  set(owner: string, released: number): void {
    const before = this.#holds.get(owner);
    assert(
      before === undefined || released >= before,
      `hold ${owner} went back from ${before} to ${released}`,
    );
    this.#holds.set(owner, released);
  }

  drop(owner: string): void {
    this.#holds.delete(owner);
  }

  get(owner: string): number | undefined {
    return this.#holds.get(owner);
  }

  /** Whether anybody but apply needs the journal. */
  get isHeld(): boolean {
    return this.#holds.size > 0;
  }

  /** The highest number that nobody, or nobody but `except`, needs any more, at most `limit`. */
  releasable(limit: number, ...except: readonly string[]): number {
    let lowest = limit;
    for (const [owner, released] of this.#holds) {
      if (!except.includes(owner)) lowest = Math.min(lowest, released);
    }
    return lowest;
  }

  list(): { owner: string; released: number }[] {
    return [...this.#holds].map(([owner, released]) => ({ owner, released }));
  }
}
