import type { SimulatedClock } from '../simulated-clock.ts';
import type { SimulatedRandom } from '../simulated-random.ts';
import type { CutNode } from './cut-system.ts';

const patienceMilliseconds = 150;

/** How messages about a cut travel between systems. */
export interface CutWeather {
  readonly lost: number;
  readonly twice: number;
  /** Slower than a round may take. */
  readonly late: number;
}

/** What a controller asks of the systems: each question may be lost, late, or arrive twice; so may its answer. */
export class CutMessages {
  readonly #clock: SimulatedClock;
  readonly #random: SimulatedRandom;
  weather: CutWeather = { lost: 0, twice: 0, late: 0 };
  /** Those to whom, and from whom, nothing comes through. */
  readonly cutOff = new Set<CutNode>();

  constructor(clock: SimulatedClock, random: SimulatedRandom) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Rejects where no answer came in time, or `ask` says no. */
  ask<T>(node: CutNode, ask: () => T | Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#clock.after(patienceMilliseconds, () => reject(new Error(`${node.name} is silent`)));
      const arrive = (): void => {
        if (!node.isUp || this.cutOff.has(node)) return;
        const { daemon } = node.system;
        Promise.resolve()
          .then(ask)
          .then(
            (answer) => {
              if (!daemon.isDead) this.#travel(() => resolve(answer));
            },
            (error: unknown) => {
              if (!daemon.isDead) this.#travel(() => reject(error as Error));
            },
          );
      };
      this.#travel(arrive);
      if (this.#random.int(1000) < this.weather.twice) this.#travel(arrive);
    });
  }

  #travel(arrive: () => void): void {
    const { lost, late } = this.weather;
    if (this.#random.int(1000) < lost) return;
    const isLate = this.#random.int(1000) < late;
    this.#clock.after(0.05 + this.#random.fraction() * (isLate ? 90 : 3), arrive);
  }
}
