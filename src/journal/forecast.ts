const windowMilliseconds = 60_000;

/** When a journal that fills as it did in the last minute will be full. */
export class Forecast {
  readonly #times: number[] = [];
  readonly #used: number[] = [];

  sample(monotonicMilliseconds: number, usedBytes: number): void {
    this.#times.push(monotonicMilliseconds);
    this.#used.push(usedBytes);
    while ((this.#times[0] ?? 0) < monotonicMilliseconds - windowMilliseconds) {
      this.#times.shift();
      this.#used.shift();
    }
  }

  /** Minutes; null while it does not fill. */
  minutesToFull(capacityBytes: number): number | null {
    const last = this.#used.length - 1;
    if (last < 1) return null;
    const minutes = ((this.#times[last] ?? 0) - (this.#times[0] ?? 0)) / 60_000;
    const growth = (this.#used[last] ?? 0) - (this.#used[0] ?? 0);
    if (growth <= 0 || minutes <= 0) return null;
    return Math.max(0, capacityBytes - (this.#used[last] ?? 0)) / (growth / minutes);
  }
}
