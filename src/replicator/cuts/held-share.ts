const windowMilliseconds = 10_000;

/** How much of the time hosts were held, over the last ten seconds. */
export class HeldShare {
  #samples: { readonly at: number; readonly held: number }[] = [];

  /** `held`: milliseconds altogether, until `at` (monotonic). It begins anew with its group. */
  add(at: number, held: number): void {
    const last = this.#samples.at(-1);
    if (last && held < last.held) this.#samples = [];
    this.#samples.push({ at, held });
    while ((this.#samples[1]?.at ?? at) <= at - windowMilliseconds) this.#samples.shift();
  }

  get millisecondsPerSecond(): number {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (!first || !last || last.at <= first.at) return 0;
    return ((last.held - first.held) * 1000) / (last.at - first.at);
  }
}
