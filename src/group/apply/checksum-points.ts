import type { Journal } from '../../journal/journal.ts';
import { encodePoint, type PointSums, type VolumeSum } from '../../journal/point-record.ts';
import { recordType } from '../../journal/record.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Watermarks } from '../../journal/watermarks.ts';
import { assert } from '../../platform/assert.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Conditions } from '../catalog/conditions.ts';
import type { FollowState } from '../catalog/follow-file.ts';
import type { ApplyDriver } from './apply-driver.ts';
import type { ApplyPoints } from './apply-requests.ts';
import { ChecksumComparison } from './checksum-comparison.ts';
import { admitsRecord, ownRecordBytes, stampOwnRecord } from './own-record.ts';
import { shownVolumes, type Volume, volumesToApply } from './volume.ts';

/** What points of the checksums need of the group. */
export interface CheckedGroup {
  readonly name: string;
  readonly role: string;
  readonly state: string;
  readonly failureText: string;
  readonly refusesWrites: boolean;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly chain: SegmentChain;
  readonly index: BlockIndex;
  readonly watermarks: Watermarks;
  readonly catalog: Catalog;
  readonly conditions: Conditions;
  readonly follow: { readonly state: FollowState | undefined };
  readonly hosts: { readonly isHeld: boolean };
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly driver: ApplyDriver;
  readonly watchers: { add(watcher: ChecksumPoints): unknown };
  appended(): void;
}

/** A point is numbered after so many updates at the latest, if the time for one has not come before. */
const pointUpdatesMax = 65_536;
const roomMilliseconds = 100;
/** Between two pieces of a volume that is read to build its checksums. */
const workMilliseconds = 50;
const retryMilliseconds = 60_000;

/** The last point at which all volumes that were compared were the same. */
export interface AgreedPoint {
  readonly number: number;
  readonly atMilliseconds: number;
}

/**
 * Points of a group's journal at which the checksums of its volumes are compared (SAFETY 31): numbered where it
 * is primary, each with what an earlier one had here, and everywhere the end of a batch of apply, so that sums are
 * those of exactly that update. What a crash left in the volumes is of no one update until all that was found in
 * the journal is applied: points up to there are passed over.
 */
export class ChecksumPoints implements ApplyPoints {
  readonly #group: CheckedGroup;
  readonly #directory: string;
  readonly #pointMilliseconds: number;
  readonly #comparison = new ChecksumComparison();
  /** Those at which a batch ends, and whether anything was numbered between it and the one before. */
  readonly #points = new Map<number, boolean>();
  /** Below it, volumes may hold what comes later. */
  #exactFrom: number;
  #lastPoint: number;
  /** What the next point tells. */
  #untold: PointSums | undefined;
  #agreed: AgreedPoint | undefined;
  #isKept = false;
  /** How many there were when that was looked at. */
  #volumes = 0;
  #isComplete = false;
  /** The setting could not be followed yet. */
  #isToBeKept = false;
  #isWorking = false;
  #timer: Timer | undefined;
  #workTimer: Timer | undefined;
  #isClosed = false;

  /** The journal is as it was found. */
  constructor(
    group: CheckedGroup,
    files: { readonly checksums: string },
    limits: { readonly checksumPointMilliseconds: number },
  ) {
    this.#group = group;
    this.#directory = files.checksums;
    this.#pointMilliseconds = limits.checksumPointMilliseconds;
    this.#exactFrom = group.watermarks.newest;
    this.#lastPoint = group.watermarks.newest;
    group.watchers.add(this);
  }

  get isOn(): boolean {
    const { checksums = true, journalOnly = false } = this.#group.catalog;
    return checksums && !journalOnly;
  }
  /** The sums of all volumes are known. */
  get isComplete(): boolean {
    return this.#isComplete;
  }
  get agreed(): AgreedPoint | undefined {
    return this.#agreed;
  }
  /** Ids of volumes that are not what the source has. */
  get differing(): readonly number[] {
    return [...this.#comparison.differences.keys()];
  }

  /** `isKept`: the checkpoint says that what is there was kept up to it. */
  start(isKept: boolean): void {
    this.#keep(isKept);
  }

  settingChanged(): void {
    if (this.isOn === this.#isKept) return;
    this.#keep(false);
    this.#untold = undefined;
    if (!this.isOn) this.#forget([...this.#comparison.differences.keys()]);
  }

  #keep(isKept: boolean): void {
    this.#isKept = this.isOn;
    this.#isComplete = false;
    const place = this.isOn ? { isKept } : undefined;
    this.#group.driver.requests.keepChecksums(this.#directory, place, (isComplete, failure) => {
      this.#isToBeKept = failure !== undefined;
      this.#worked(isComplete, failure);
    });
  }

  durableAdvanced(): void {
    // Applied is what counts.
  }

  /** There may be more volumes, or fewer; or it is the end. */
  changed(): void {
    if (this.#group.state === 'closing') this.#close();
    const { size } = this.#group.volumes;
    if (size === this.#volumes) return;
    this.#volumes = size;
    if (!this.#isKept || this.#isClosed) return;
    const there = new Set([...this.#group.volumes.values()].map(({ catalog }) => catalog.id));
    this.#forget(this.differing.filter((id) => !there.has(id)));
    this.#workAgain();
  }

  #workAgain(): void {
    this.#isComplete = false;
    this.#workTimer ??= this.#group.clock.after(workMilliseconds, this.#work);
  }

  get #checked(): Volume[] {
    return shownVolumes(this.#group.volumes).filter(({ file }) => file !== undefined);
  }

  readonly #work = (): void => {
    this.#workTimer = undefined;
    if (this.#isClosed || this.#isWorking || (!this.#isKept && !this.#isToBeKept)) return;
    if (this.#isToBeKept) {
      this.#keep(false);
      return;
    }
    this.#isWorking = true;
    const volumes = volumesToApply(this.#checked);
    this.#group.driver.requests.workOnChecksums(volumes, this.#worked);
  };

  readonly #worked = (isComplete: boolean, failure: string | undefined): void => {
    this.#isWorking = false;
    if (this.#isClosed) return;
    const { conditions, name, clock, driver } = this.#group;
    if (failure === undefined) {
      const text = `the checksums of group ${name} are kept again`;
      if (isComplete) conditions.clear(name, 'checksums_failed', text);
    } else {
      conditions.raise(name, {
        code: 'checksums_failed',
        severity: 'warning',
        message: `the checksums of group ${name} cannot be kept: ${failure}; it is tried again every ${retryMilliseconds / 1000} seconds, and meanwhile nothing shows whether both sides hold the same`,
        nextCommand: `df ${this.#directory}`,
      });
    }
    this.#isComplete = this.#isKept && isComplete && failure === undefined;
    if (!this.#isKept && !this.#isToBeKept) return;
    // What was built is not read again at the next start.
    if (this.#isComplete) driver.sync(() => undefined);
    else {
      const delay = failure === undefined ? workMilliseconds : retryMilliseconds;
      this.#workTimer ??= clock.after(delay, this.#work);
    }
  };

  /** Contents up to that update come, or came, into the volumes past apply. */
  contentsShow(number: number): void {
    this.#exactFrom = Math.max(this.#exactFrom, number);
  }

  // --- the primary numbers points

  /** Never on the way of a host's write. */
  appliedAdvanced(): void {
    if (!this.#hasNews() || this.#pointMilliseconds === Number.POSITIVE_INFINITY) return;
    const isFar = this.#group.watermarks.newest - this.#lastPoint >= pointUpdatesMax;
    if (isFar && this.#number()) return;
    this.#timer ??= this.#group.clock.after(this.#pointMilliseconds, this.#due);
  }

  readonly #due = (): void => {
    this.#timer = undefined;
    if (!this.#hasNews() || this.#number()) return;
    this.#timer = this.#group.clock.after(roomMilliseconds, this.#due);
  };

  /** Something was numbered since the last point, or is to be told. */
  #hasNews(): boolean {
    const { role, refusesWrites, watermarks } = this.#group;
    if (this.#isClosed || !this.#isKept) return false;
    if (role === 'primary' && !refusesWrites)
      return watermarks.newest > this.#lastPoint || this.#untold !== undefined;
    // What comes before the next host writes here is nothing to compare.
    this.#lastPoint = watermarks.newest;
    return false;
  }

  /** False: there is no room for it now, or no batch can end there. */
  #number(): boolean {
    const group = this.#group;
    const { journal, index, watermarks } = group;
    const payload = encodePoint(this.#untold);
    const isRoom = admitsRecord(group, ownRecordBytes(payload)) && index.canFreeze;
    if (!isRoom || group.hosts.isHeld) return false;
    const hasNews = watermarks.newest > this.#lastPoint;
    const number = stampOwnRecord(journal, index, recordType.point, payload);
    const isEnd = index.freeze();
    assert(isEnd, 'a batch ends with the point');
    this.#points.set(number, hasNews);
    this.#untold = undefined;
    this.#lastPoint = number;
    this.#timer?.cancel();
    this.#timer = undefined;
    journal.commitRun();
    group.appended();
    return true;
  }

  // --- a secondary receives them

  /** It was appended, and is in the index. Where no batch can end there, nothing is compared there. */
  received(number: number, told: PointSums): void {
    this.#lastPoint = number;
    if (!this.#isKept) return;
    const { index, catalog } = this.#group;
    // What a cut holds back is to end at its markers: there have to be tables for them.
    const isRoom = catalog.holdsApply !== true || index.frozenCount === 0;
    if (isRoom && index.freeze()) this.#points.set(number, true);
    if (told.number > 0) this.#compared(this.#comparison.told(told));
  }

  // --- both have sums there

  isPoint(number: number): boolean {
    return this.#points.has(number);
  }

  /** Everything up to that point is in the volumes, and nothing else; `sums` of those where they are known. */
  applied(number: number, sums: readonly VolumeSum[]): void {
    const hasNews = this.#points.get(number) ?? false;
    this.#points.delete(number);
    // Of one that could not be kept nobody told.
    const known = new Set(sums.map(({ volume }) => volume));
    if (this.#isComplete && !this.#checked.every(({ catalog }) => known.has(catalog.id)))
      this.#workAgain();
    if (!this.#isExact(number)) return;
    // Of one that is deleted apply may have left something out.
    const there = new Set([...this.#group.volumes.values()].map(({ catalog }) => catalog.id));
    const point = { number, sums: sums.filter(({ volume }) => there.has(volume)) };
    if (this.#group.role !== 'primary') this.#compared(this.#comparison.own(point));
    else if (hasNews) this.#untold = point;
  }

  /** Contents that are copied are of a later time than what is applied. */
  #isExact(number: number): boolean {
    const { copies = [], resync, shows = 0 } = this.#group.follow.state ?? {};
    return number >= Math.max(this.#exactFrom, shows) && copies.length === 0 && !resync;
  }

  #compared(found: ReturnType<ChecksumComparison['own']>): void {
    if (!found) return;
    const { conditions, name, clock } = this.#group;
    const { differences } = this.#comparison;
    if (differences.size === 0) {
      this.#agreed = { number: found.number, atMilliseconds: clock.wallMilliseconds() };
      this.#clear();
      return;
    }
    conditions.raise(name, {
      code: 'checksum_differs',
      severity: 'error',
      message: [...differences]
        .map(([id, { after, through }]) => {
          const since = after === 0 ? '' : `, and was so at ${after}`;
          return `volume ${this.#nameOf(id)} is not what its source had at update ${through}${since}`;
        })
        .join('; '),
      nextCommand: `jnbd verify ${name}`,
    });
  }

  #nameOf(id: number): string {
    const volume = [...this.#group.volumes.values()].find(({ catalog }) => catalog.id === id);
    return `${this.#group.name}/${volume?.catalog.name ?? id}`;
  }

  #forget(volumes: readonly number[]): void {
    if (volumes.length === 0) return;
    for (const id of volumes) this.#comparison.forget(id);
    if (this.differing.length === 0) this.#clear();
  }

  #clear(): void {
    const { conditions, name } = this.#group;
    const text = `the volumes of group ${name} are what its source has, as far as checksums show`;
    conditions.clear(name, 'checksum_differs', text);
  }

  #close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#workTimer?.cancel();
  }
}
