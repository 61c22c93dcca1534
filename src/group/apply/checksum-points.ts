import type { PointSums, VolumeSum } from '../../journal/point-record.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { FollowState } from '../catalog/follow-file.ts';
import type { ApplyPoints } from './apply-requests.ts';
import { ChecksumUpkeep, type UpkeepGroup } from './checksum-upkeep.ts';
import {
  type AgreedPoint,
  ComparedPoints,
  type ComparingGroup,
  type ToldChecksums,
} from './compared-points.ts';
import { NumberedPoints, type NumberingGroup } from './numbered-points.ts';

/** What points of the checksums need of the group. */
export interface CheckedGroup extends UpkeepGroup, NumberingGroup, ComparingGroup {
  readonly catalog: Catalog;
  readonly follow: { readonly state: FollowState | undefined };
  readonly watchers: { add(watcher: ChecksumPoints): unknown };
}

/**
 * Points of a group's journal at which the checksums of its volumes are compared (SAFETY 31): numbered where it
 * is primary, and everywhere the end of a batch of apply, so that sums are those of exactly that update. What a
 * crash left in the volumes is of no one update until all that was found in the journal is applied: points up to
 * there are passed over.
 */
export class ChecksumPoints implements ApplyPoints {
  readonly #group: CheckedGroup;
  readonly #upkeep: ChecksumUpkeep;
  readonly #numbered: NumberedPoints;
  readonly #compared: ComparedPoints;
  /** Those at which a batch ends, and whether anything was numbered between it and the one before. */
  readonly #points = new Map<number, boolean>();
  /** Below it, volumes may hold what comes later. */
  #exactFrom: number;
  /** How many there were when that was looked at. */
  #volumes = 0;

  /** The journal is as it was found. */
  constructor(
    group: CheckedGroup,
    files: { readonly checksums: string },
    limits: { readonly checksumPointMilliseconds: number },
  ) {
    this.#group = group;
    this.#upkeep = new ChecksumUpkeep(group, files.checksums);
    const { checksumPointMilliseconds } = limits;
    this.#numbered = new NumberedPoints(
      group,
      this.#upkeep,
      checksumPointMilliseconds,
      (number, hasNews) => this.#points.set(number, hasNews),
    );
    this.#compared = new ComparedPoints(group);
    this.#exactFrom = group.watermarks.newest;
    group.watchers.add(this);
  }

  get isOn(): boolean {
    return this.#upkeep.isOn;
  }
  /** The sums of all volumes are known. */
  get isComplete(): boolean {
    return this.#upkeep.isComplete;
  }
  get agreed(): AgreedPoint | undefined {
    return this.#compared.report?.agreed;
  }
  /** Ids of volumes that are not what the source has. */
  get differing(): readonly number[] {
    return this.#compared.report?.differing ?? [];
  }
  /** For the source; undefined: nothing was compared yet. */
  get told(): ToldChecksums | undefined {
    return this.isOn ? this.#compared.report : 'off';
  }

  /** `isKept`: the checkpoint says that what is there was kept up to it. */
  start(isKept: boolean): void {
    this.#upkeep.start(isKept);
  }

  settingChanged(): void {
    if (!this.#upkeep.settingChanged()) return;
    this.#numbered.forget();
    if (!this.isOn) this.#compared.forgetDifferences();
  }

  /** Nothing is compared with a source any more, for that reason: "follows nobody any more". */
  forgetSource(reason: string): void {
    this.#compared.forgetSource(reason);
  }

  durableAdvanced(): void {
    // Applied is what counts.
  }

  appliedAdvanced(): void {
    this.#numbered.consider();
  }

  /** There may be more volumes, or fewer; or it is the end. */
  changed(): void {
    if (this.#group.state === 'closing') {
      this.#upkeep.close();
      this.#numbered.close();
      return;
    }
    const { size } = this.#group.volumes;
    if (size === this.#volumes) return;
    this.#volumes = size;
    this.#compared.volumesChanged();
    this.#upkeep.volumesChanged();
  }

  /** Contents up to that update come, or came, into the volumes past apply. */
  contentsShow(number: number): void {
    this.#exactFrom = Math.max(this.#exactFrom, number);
  }

  /** It was appended, and is in the index. Where no batch can end there, nothing is compared there. */
  received(number: number, told: PointSums): void {
    this.#numbered.received(number);
    if (!this.#upkeep.isKept) return;
    const { index, catalog } = this.#group;
    // What a cut holds back is to end at its markers: there have to be tables for them.
    const isRoom = catalog.holdsApply !== true || index.frozenCount === 0;
    if (isRoom && index.freeze()) this.#points.set(number, true);
    if (told.number > 0) this.#compared.told(told);
  }

  isPoint(number: number): boolean {
    return this.#points.has(number);
  }

  /** Everything up to that point is in the volumes, and nothing else; `sums` of those where they are known. */
  applied(number: number, sums: readonly VolumeSum[]): void {
    const hasNews = this.#points.get(number) ?? false;
    this.#points.delete(number);
    // Of one that could not be kept nobody told.
    const known = new Set(sums.map(({ volume }) => volume));
    const { isComplete, checked } = this.#upkeep;
    if (isComplete && !checked.every(({ catalog }) => known.has(catalog.id)))
      this.#upkeep.volumesChanged();
    if (!this.#isExact(number)) return;
    // Of one that is deleted apply may have left something out.
    const there = new Set([...this.#group.volumes.values()].map(({ catalog }) => catalog.id));
    const point = { number, sums: sums.filter(({ volume }) => there.has(volume)) };
    if (this.#group.role !== 'primary') this.#compared.own(point);
    else if (hasNews) this.#numbered.tell(point);
  }

  /** Contents that are copied are of a later time than what is applied. */
  #isExact(number: number): boolean {
    const { copies = [], resync, shows = 0 } = this.#group.follow.state ?? {};
    return number >= Math.max(this.#exactFrom, shows) && copies.length === 0 && !resync;
  }
}
