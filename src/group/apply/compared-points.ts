import type { PointSums } from '../../journal/point-record.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Conditions } from '../catalog/conditions.ts';
import { ChecksumComparison } from './checksum-comparison.ts';
import type { Volume } from './volume.ts';

/** What comparing needs of the group. */
export interface ComparingGroup {
  readonly name: string;
  readonly clock: Clock;
  readonly conditions: Conditions;
  readonly volumes: ReadonlyMap<string, Volume>;
}

/** The last point at which all volumes that were compared were the same. */
export interface AgreedPoint {
  readonly number: number;
  readonly atMilliseconds: number;
}

/** What a system found where its checksums were compared, as it tells its source. */
export interface ChecksumReport {
  /** The newest point at which something was compared. */
  readonly compared: number;
  /** Undefined: none since the group was opened. */
  readonly agreed: AgreedPoint | undefined;
  /** Ids of volumes that are not what the source has. */
  readonly differing: readonly number[];
}

/** `off`: it keeps none. */
export type ToldChecksums = ChecksumReport | 'off';

/** What a secondary has at points, held against what the primary said that it had there. */
export class ComparedPoints {
  readonly #group: ComparingGroup;
  #comparison = new ChecksumComparison();
  #report: ChecksumReport | undefined;

  constructor(group: ComparingGroup) {
    this.#group = group;
  }

  /** Another object for whatever is found; undefined: nothing was compared yet. */
  get report(): ChecksumReport | undefined {
    return this.#report;
  }

  told(point: PointSums): void {
    this.#found(this.#comparison.told(point));
  }

  own(point: PointSums): void {
    this.#found(this.#comparison.own(point));
  }

  /** Of volumes that are gone nothing is said any more. */
  volumesChanged(): void {
    const there = new Set([...this.#group.volumes.values()].map(({ catalog }) => catalog.id));
    this.#forget(this.#differing.filter((id) => !there.has(id)));
  }

  forgetDifferences(): void {
    this.#forget(this.#differing);
  }

  /** What the former source had says nothing any more, for that reason: "follows nobody any more". */
  forgetSource(reason: string): void {
    const { conditions, name } = this.#group;
    const before = this.#texts('was not').join('; ');
    conditions.clear(name, 'checksum_differs', `group ${name} ${reason}: ${before}`);
    this.#comparison = new ChecksumComparison();
    this.#report = undefined;
  }

  #found(number: number | undefined): void {
    if (number === undefined) return;
    const { conditions, name, clock } = this.#group;
    const compared = Math.max(number, this.#report?.compared ?? 0);
    const differing = this.#differing;
    const isSame = differing.length === 0;
    const agreed = isSame
      ? { number, atMilliseconds: Math.floor(clock.wallMilliseconds()) }
      : this.#report?.agreed;
    this.#report = { compared, agreed, differing };
    if (isSame) {
      this.#clear();
      return;
    }
    conditions.raise(name, {
      code: 'checksum_differs',
      severity: 'error',
      message: this.#texts('is not').join('; '),
      nextCommand: `jnbd verify ${name}`,
    });
  }

  #texts(is: string): string[] {
    return [...this.#comparison.differences].map(([id, { after, through }]) => {
      const since = after === 0 ? '' : `, and was so at ${after}`;
      return `volume ${this.#nameOf(id)} ${is} what its source had at update ${through}${since}`;
    });
  }

  get #differing(): readonly number[] {
    return [...this.#comparison.differences.keys()];
  }

  #nameOf(id: number): string {
    const volume = [...this.#group.volumes.values()].find(({ catalog }) => catalog.id === id);
    return `${this.#group.name}/${volume?.catalog.name ?? id}`;
  }

  #forget(volumes: readonly number[]): void {
    if (volumes.length === 0) return;
    for (const id of volumes) this.#comparison.forget(id);
    const differing = this.#differing;
    if (this.#report) this.#report = { ...this.#report, differing };
    if (differing.length === 0) this.#clear();
  }

  #clear(): void {
    const { conditions, name } = this.#group;
    const text = `the volumes of group ${name} are what its source has, as far as checksums show`;
    conditions.clear(name, 'checksum_differs', text);
  }
}
