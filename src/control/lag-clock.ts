import type { Watermarks } from '../journal/watermarks.ts';
import type { Clock, Timer } from '../platform/clock.ts';

const sampleMilliseconds = 100;
const samplesMax = 1024;

interface NumberedGroup {
  readonly watermarks: Watermarks;
  readonly followers?: {
    list(): readonly { readonly received: number; readonly applied: number }[];
  };
}

/** The groups that are there at the time. */
export interface NumberedGroups {
  readonly groups: ReadonlyMap<string, NumberedGroup>;
}

/** When the update numbers of one group came into being. */
class NumberTimes {
  /** Rising: at `#times[i]` the newest update was `#numbers[i]`. */
  readonly #times: number[] = [];
  readonly #numbers: number[] = [];

  sample(now: number, newest: number, applied: number): void {
    const last = this.#numbers.length - 1;
    if (last >= 1 && this.#numbers[last] === newest && this.#numbers[last - 1] === newest) {
      this.#times[last] = now;
    } else {
      this.#numbers.push(newest);
      this.#times.push(now);
    }
    while (this.#numbers.length > 1 && (this.#numbers[1] ?? 0) <= applied) this.#forget(0);
    // Far behind: every second sample will do.
    if (this.#numbers.length > samplesMax) {
      for (let at = this.#numbers.length - 2; at > 0; at -= 2) this.#forget(at);
    }
  }

  /** The last time at which the update after `number` was not there yet. */
  before(number: number): number | undefined {
    const next = this.#numbers.findIndex((each) => each > number);
    return this.#times[next === -1 ? this.#times.length - 1 : Math.max(0, next - 1)];
  }

  #forget(at: number): void {
    this.#numbers.splice(at, 1);
    this.#times.splice(at, 1);
  }
}

/** How old the oldest update is that is not durable, or not applied, to a tenth of a second. */
export class LagClock {
  readonly #clock: Clock;
  readonly #system: NumberedGroups;
  readonly #groups = new Map<NumberedGroup, NumberTimes>();
  #timer: Timer | undefined;

  constructor(clock: Clock, system: NumberedGroups) {
    this.#clock = clock;
    this.#system = system;
    this.#sample();
  }

  /** Seconds; 0 when `reached` is the newest update. */
  ageSeconds(group: NumberedGroup, reached: number): number {
    if (reached >= group.watermarks.newest) return 0;
    const now = this.#clock.monotonicMilliseconds();
    return Math.max(0, now - (this.#groups.get(group)?.before(reached) ?? now)) / 1000;
  }

  /** Since when something should have been heard; 0 while it need not be. `due` is monotonic. */
  lateSeconds(due: number | undefined): number {
    if (due === undefined) return 0;
    return Math.max(0, this.#clock.monotonicMilliseconds() - due) / 1000;
  }

  close(): void {
    this.#timer?.cancel();
  }

  #sample(): void {
    const now = this.#clock.monotonicMilliseconds();
    const present = new Set(this.#system.groups.values());
    for (const group of this.#groups.keys()) if (!present.has(group)) this.#groups.delete(group);
    for (const group of present) {
      const times = this.#groups.get(group) ?? new NumberTimes();
      this.#groups.set(group, times);
      const followed = group.followers?.list().map(({ applied }) => applied) ?? [];
      const { newest, applied } = group.watermarks;
      times.sample(now, newest, Math.min(applied, ...followed));
    }
    this.#timer = this.#clock.after(sampleMilliseconds, () => this.#sample());
  }
}
