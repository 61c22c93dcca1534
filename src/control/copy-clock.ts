import type { Clock, Timer } from '../platform/clock.ts';

const sampleMilliseconds = 1000;
/** What was measured counts half after so many samples. */
const halfLifeSamples = 5;

/** What a group still has to get of the contents of its volumes. */
export interface ContentsStatus {
  readonly missingBytes: number;
  readonly bytesPerSecond: number;
  /** Null: nothing came of late. */
  readonly secondsLeft: number | null;
}

interface Course {
  readonly missingBytes: number;
  readonly bytesPerSecond: number;
}

/** Measures how fast each group that is copied gets its contents. */
export class CopyClock<Group> {
  readonly #clock: Clock;
  readonly #system: { readonly groups: ReadonlyMap<string, Group> };
  readonly #missingBytes: (group: Group) => number;
  readonly #courses = new Map<Group, Course>();
  #timer: Timer | undefined;

  /** `missingBytes`: what a group still has to get. */
  constructor(
    clock: Clock,
    system: { readonly groups: ReadonlyMap<string, Group> },
    missingBytes: (group: Group) => number,
  ) {
    this.#clock = clock;
    this.#system = system;
    this.#missingBytes = missingBytes;
    this.#sample();
  }

  /** Null: nothing is missing. */
  contents(group: Group): ContentsStatus | null {
    const missingBytes = this.#missingBytes(group);
    if (missingBytes === 0) return null;
    const bytesPerSecond = Math.round(this.#courses.get(group)?.bytesPerSecond ?? 0);
    const secondsLeft = bytesPerSecond > 0 ? missingBytes / bytesPerSecond : null;
    return { missingBytes, bytesPerSecond, secondsLeft };
  }

  close(): void {
    this.#timer?.cancel();
  }

  #sample(): void {
    const present = new Set(this.#system.groups.values());
    for (const group of this.#courses.keys()) {
      if (!present.has(group)) this.#courses.delete(group);
    }
    for (const group of present) this.#note(group, this.#missingBytes(group));
    this.#timer = this.#clock.after(sampleMilliseconds, () => this.#sample());
  }

  #note(group: Group, missingBytes: number): void {
    if (missingBytes === 0) {
      this.#courses.delete(group);
      return;
    }
    const before = this.#courses.get(group);
    // A volume that grows has more to get, which takes back nothing that came.
    const came = before ? Math.max(0, before.missingBytes - missingBytes) : 0;
    const rate = (came * 1000) / sampleMilliseconds;
    const kept = before && before.bytesPerSecond > 0 ? 0.5 ** (1 / halfLifeSamples) : 0;
    const bytesPerSecond = (before?.bytesPerSecond ?? 0) * kept + rate * (1 - kept);
    this.#courses.set(group, { missingBytes, bytesPerSecond });
  }
}
