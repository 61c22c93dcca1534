import type { Journal } from '../../journal/journal.ts';
import { encodePoint, type PointSums } from '../../journal/point-record.ts';
import { recordType } from '../../journal/record.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Watermarks } from '../../journal/watermarks.ts';
import { assert } from '../../platform/assert.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import { admitsRecord, ownRecordBytes, stampOwnRecord } from './own-record.ts';

/** What numbering points needs of the group. */
export interface NumberingGroup {
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
  readonly hosts: { readonly isHeld: boolean };
  appended(): void;
}

/** A point is numbered after so many updates at the latest, if the time for one has not come before. */
const pointUpdatesMax = 65_536;
const roomMilliseconds = 100;

/** Points that a primary numbers, each with what an earlier one had here. Never on the way of a host's write. */
export class NumberedPoints {
  readonly #group: NumberingGroup;
  readonly #upkeep: { readonly isKept: boolean };
  readonly #pointMilliseconds: number;
  readonly #numbered: (number: number, hasNews: boolean) => void;
  #lastPoint: number;
  /** What the next point tells. */
  #untold: PointSums | undefined;
  #timer: Timer | undefined;

  /** `numbered`: before it is durable; a batch ends there. `hasNews`: something stands between it and the last one. */
  constructor(
    group: NumberingGroup,
    upkeep: { readonly isKept: boolean },
    pointMilliseconds: number,
    numbered: (number: number, hasNews: boolean) => void,
  ) {
    this.#group = group;
    this.#upkeep = upkeep;
    this.#pointMilliseconds = pointMilliseconds;
    this.#numbered = numbered;
    this.#lastPoint = group.watermarks.newest;
  }

  consider(): void {
    if (!this.#hasNews() || this.#pointMilliseconds === Number.POSITIVE_INFINITY) return;
    const isFar = this.#group.watermarks.newest - this.#lastPoint >= pointUpdatesMax;
    if (isFar && this.#number()) return;
    this.#timer ??= this.#group.clock.after(this.#pointMilliseconds, this.#due);
  }

  /** The next point tells it. */
  tell(point: PointSums): void {
    this.#untold = point;
  }

  forget(): void {
    this.#untold = undefined;
  }

  /** Another system numbered one. */
  received(number: number): void {
    this.#lastPoint = number;
  }

  close(): void {
    this.#timer?.cancel();
  }

  readonly #due = (): void => {
    this.#timer = undefined;
    if (!this.#hasNews() || this.#number()) return;
    this.#timer = this.#group.clock.after(roomMilliseconds, this.#due);
  };

  /** Something was numbered since the last point, or is to be told. */
  #hasNews(): boolean {
    const { role, refusesWrites, watermarks } = this.#group;
    if (!this.#upkeep.isKept) return false;
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
    this.#numbered(number, hasNews);
    this.#untold = undefined;
    this.#lastPoint = number;
    this.#timer?.cancel();
    this.#timer = undefined;
    journal.commitRun();
    group.appended();
    return true;
  }
}
