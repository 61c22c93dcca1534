import { areSameSums, type PointSums } from '../../journal/point-record.ts';

/** So many points are remembered that one side alone has told of: hours of a follower that is behind. */
const pointsMax = 4096;

/** What a volume had at the last point that agreed, and at the first one that did not. */
export interface ChecksumDifference {
  /** 0: none agreed before that is known of. */
  readonly after: number;
  readonly through: number;
}

/**
 * Holds what this system has at points against what its source says of them, whichever comes first. Nothing is
 * compared but sums of exactly the same update (SAFETY 31). Pure.
 */
export class ChecksumComparison {
  readonly #own = new Map<number, PointSums>();
  readonly #told = new Map<number, PointSums>();
  /** By volume. */
  readonly #agreed = new Map<number, number>();
  readonly #differences = new Map<number, ChecksumDifference>();

  get differences(): ReadonlyMap<number, ChecksumDifference> {
    return this.#differences;
  }

  /** What is here exactly behind that update; its number where something was compared. */
  own(point: PointSums): number | undefined {
    return this.#meet(point, this.#own, this.#told);
  }

  /** What the source had exactly behind that update; its number where something was compared. */
  told(point: PointSums): number | undefined {
    return this.#meet(point, this.#told, this.#own);
  }

  forget(volume: number): void {
    this.#agreed.delete(volume);
    this.#differences.delete(volume);
  }

  /** Undefined: the other side did not tell yet, or they know no volume in common. */
  #meet(
    point: PointSums,
    mine: Map<number, PointSums>,
    others: Map<number, PointSums>,
  ): number | undefined {
    const { number } = point;
    const other = others.get(number);
    if (!other) {
      mine.set(number, point);
      const [oldest] = mine.keys();
      if (mine.size > pointsMax && oldest !== undefined) mine.delete(oldest);
      return undefined;
    }
    others.delete(number);
    let isCompared = false;
    for (const sum of point.sums) {
      const { volume } = sum;
      const there = other.sums.find((known) => known.volume === volume);
      if (!there) continue;
      isCompared = true;
      if (areSameSums(sum, there)) {
        this.#agreed.set(volume, number);
        this.#differences.delete(volume);
      } else if (!this.#differences.has(volume)) {
        this.#differences.set(volume, { after: this.#agreed.get(volume) ?? 0, through: number });
      }
    }
    return isCompared ? number : undefined;
  }
}
