/** Why a host, or who gave a command, may be told of an error at the moment. */
export type Excuse = 'disk' | 'space' | 'stopping' | 'stall' | 'start' | 'volume';

/** The errors of NBD that need one. */
export type ExcusedError = 'EIO' | 'ENOSPC' | 'ESHUTDOWN';

/** What may go wrong for now, because a campaign brought about why. */
export class Excuses {
  readonly #standing = new Set<Excuse>();
  readonly #now = new Set<Excuse>();
  /**
   * Groups whose journal has to be found damaged, by the first number that cannot be read; `maybe`
   * where it depends.
   */
  readonly damage = new Map<string, number | 'maybe'>();

  has(excuse: Excuse): boolean {
    return this.#now.has(excuse) || this.#standing.has(excuse);
  }

  add(excuse: Excuse): void {
    this.#now.add(excuse);
  }

  delete(excuse: Excuse): void {
    this.#now.delete(excuse);
  }

  /** To the end. */
  addStanding(...excuses: Excuse[]): void {
    for (const excuse of excuses) this.#standing.add(excuse);
  }

  /** What went wrong so far was mended. */
  healed(): void {
    this.#now.clear();
  }

  mayFail(error: ExcusedError): boolean {
    if (error === 'ENOSPC') return this.has('space');
    if (error === 'ESHUTDOWN') return this.has('stopping');
    return this.has('disk') || this.has('stall') || this.damage.size > 0;
  }
}
