import { areSameSums, type PointSums } from '../../journal/point-record.ts';

/** So many points are remembered that one side alone has told of: hours of a follower that is behind. */
const pointsMax = 4096;

/** What was found at one point, of the volumes that both sides know there. */
export interface ComparedPoint {
  readonly number: number;
  readonly same: readonly number[];
  readonly different: readonly number[];
}

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

  /** What is here exactly behind that update. */
  own(point: PointSums): ComparedPoint | undefined {
    return this.#meet(point, this.#own, this.#told);
  }

  /** What the source had exactly behind that update. */
  told(point: PointSums): ComparedPoint | undefined {
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
  ): ComparedPoint | undefined {
    const other = others.get(point.number);
    if (!other) {
      mine.set(point.number, point);
      const [oldest] = mine.keys();
      if (mine.size > pointsMax && oldest !== undefined) mine.delete(oldest);
      return undefined;
    }
    others.delete(point.number);
    const { number } = point;
    const same: number[] = [];
    const different: number[] = [];
    for (const sum of point.sums) {
      const there = other.sums.find(({ volume }) => volume === sum.volume);
      if (there) (areSameSums(sum, there) ? same : different).push(sum.volume);
    }
    for (const volume of same) {
      this.#agreed.set(volume, number);
      this.#differences.delete(volume);
    }
    for (const volume of different) {
      const after = this.#agreed.get(volume) ?? 0;
      const known = this.#differences.get(volume);
      if (!known) this.#differences.set(volume, { after, through: number });
    }
    return same.length + different.length === 0 ? undefined : { number, same, different };
  }
}
