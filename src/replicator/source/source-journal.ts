import { positionOf, type Position, stretchOf } from '../../group/catalog/lineage.ts';
import { assert } from '../../platform/assert.ts';
import type { Clock } from '../../platform/clock.ts';
import { aheadUpdatesMax, segmentBytes, segmentHeaderBytes } from '../../platform/limits.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { SourceFiles } from './source-files.ts';
import type {
  AppendedRecords,
  GroupPicture,
  HeardSerial,
  JournalProgress,
} from './source-messages.ts';
import { SourceSegment } from './source-segment.ts';
import type { Member, Stretch, SynchronousTold, WireWatermarks } from '../protocol/wire.ts';

/** In the memory that the group shares: what is durable, and the number that the newest stretch begins with. */
export const durableCell = 0;
export const stretchCell = 1;
export const sharedCells = 2;

/** Where a number stands, and how far that holds. */
export interface NumberPlace {
  readonly segment: SourceSegment;
  /** The next number that stands in another segment, or would. */
  readonly before: number;
}

/**
 * What the source worker knows of one group, from messages alone. It may lag behind the truth, never
 * run ahead of it: a number that it takes for durable is, and stands where it thinks.
 */
export class SourceJournal {
  readonly files: SourceFiles;
  readonly #clock: Clock;
  readonly #durable: BigInt64Array;
  /** In order of sequence. */
  #segments: SourceSegment[] = [];
  #picture: GroupPicture;
  #watermarks: WireWatermarks = { released: 0, applied: 0, durable: 0, newest: 0 };
  #servable = 0;
  #ahead = 0;
  #usedBytes = 0;
  #capacityBytes = 0;
  #members: readonly Member[] = [];
  #heard: readonly HeardSerial[] = [];
  #heardMilliseconds: number;
  #revision = 0;
  /** Since when there has been something that is not durable; undefined: there is nothing. */
  #undurableSince: number | undefined;

  constructor(clock: Clock, files: SourceFiles, picture: GroupPicture, durable: SharedArrayBuffer) {
    this.#clock = clock;
    this.files = files;
    this.#picture = picture;
    this.#durable = new BigInt64Array(durable);
    this.#heardMilliseconds = clock.monotonicMilliseconds();
  }

  get picture(): GroupPicture {
    return this.#picture;
  }

  set picture(picture: GroupPicture) {
    const paths = new Set(picture.volumes.map(({ path }) => path));
    for (const { path } of this.#picture.volumes) if (!paths.has(path)) this.files.forget(path);
    this.#picture = picture;
  }

  get watermarks(): WireWatermarks {
    return this.#watermarks;
  }

  /** The highest number that anybody may be given. */
  get servable(): number {
    return this.#servable;
  }

  /** The highest number that a follower may be given that replies wait for: the rest of the way is not durable yet. */
  get sendable(): number {
    return Math.max(this.#servable, Math.min(this.#ahead, this.#servable + aheadUpdatesMax));
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get capacityBytes(): number {
    return this.#capacityBytes;
  }

  get members(): readonly Member[] {
    return this.#members;
  }

  /** What the head of an answer tells a follower that replies may wait for. */
  synchronousFor(systemId: number): SynchronousTold | undefined {
    const follower = this.#picture.followers.find((known) => known.systemId === systemId);
    const timeoutMilliseconds = follower?.timeoutMilliseconds ?? 0;
    if (timeoutMilliseconds === 0) return undefined;
    const heard = this.#heard.find((told) => told.systemId === systemId)?.serial ?? 0;
    return { heard, timeoutMilliseconds };
  }

  /** How often it was heard of. */
  get revision(): number {
    return this.#revision;
  }

  /** How old what is known of the journal is. */
  get ageMilliseconds(): number {
    return this.#clock.monotonicMilliseconds() - this.#heardMilliseconds;
  }

  /** What is durable this instant: no volume shows anything above it. */
  get durableNow(): number {
    return Number(Atomics.load(this.#durable, durableCell));
  }

  /** The same, and of which stretch it is. Rejects with group_state where the group is gone meanwhile. */
  async shownNow(): Promise<Position> {
    const number = this.durableNow;
    for (;;) {
      const begins = Number(Atomics.load(this.#durable, stretchCell));
      if ((this.#picture.lineage.at(-1)?.firstNumber ?? 0) >= begins)
        return this.positionOf(number);
      const { name, state } = this.#picture;
      if (state === 'closed') throw new JnbdError('group_state', `group ${name} was closed`);
      // The stretch is on its way to this thread.
      await new Promise<void>((resolve) => this.#clock.after(1, resolve));
    }
  }

  advance(progress: JournalProgress): void {
    const { watermarks, servable } = progress;
    assert(servable >= this.#servable, `servable went back from ${this.#servable} to ${servable}`);
    const removed = new Set(progress.removed);
    for (const segment of this.#segments) {
      if (removed.has(segment.place.sequence)) segment.isGone = true;
    }
    this.#segments = this.#segments.filter(({ isGone }) => !isGone);
    for (const place of progress.added) {
      this.#segments.push(new SourceSegment(this.files, place));
    }
    const { tail } = progress;
    for (const segment of this.#segments.slice(-progress.added.length - 1)) {
      const isTail = segment.place.sequence === tail.sequence;
      segment.endOffset = isTail ? tail.offset : segmentBytes;
    }
    const hasUndurable = watermarks.newest > watermarks.durable;
    const now = this.#clock.monotonicMilliseconds();
    this.#undurableSince = hasUndurable ? (this.#undurableSince ?? now) : undefined;
    this.#watermarks = watermarks;
    this.#servable = servable;
    this.#ahead = progress.ahead;
    this.#usedBytes = progress.usedBytes;
    this.#capacityBytes = progress.capacityBytes;
    this.#members = progress.members;
    this.#heard = progress.heard;
    this.#heardMilliseconds = now;
    this.#revision += 1;
  }

  /** Records stand behind the others, in the last segment. */
  appended({ ahead, servable, newest, sequence, offset }: AppendedRecords): void {
    const last = this.#segments.at(-1);
    if (last?.place.sequence !== sequence) return;
    last.endOffset = Math.max(last.endOffset, offset);
    this.#ahead = ahead;
    this.#servable = Math.max(this.#servable, servable);
    const durable = Math.max(this.#watermarks.durable, servable);
    this.#watermarks = { ...this.#watermarks, durable, newest };
    this.#undurableSince ??= this.#clock.monotonicMilliseconds();
    this.#revision += 1;
  }

  /** Undefined: it is not in any segment that is there. */
  placeOf(number: number): NumberPlace | undefined {
    let before = Number.POSITIVE_INFINITY;
    for (let i = this.#segments.length - 1; i >= 0; i -= 1) {
      const segment = this.#segments[i];
      if (!segment) break;
      const { beginsAt } = segment.place;
      if (beginsAt <= number) return { segment, before };
      before = Math.min(before, beginsAt);
    }
    return undefined;
  }

  positionOf(number: number): Position {
    return positionOf(this.#picture.lineage, number);
  }

  /** The stretch that a number belongs to, and the first number of the next one. */
  stretchOf(number: number): { readonly stretch: Stretch | undefined; readonly before: number } {
    const { lineage } = this.#picture;
    const next = lineage.find(({ firstNumber }) => firstNumber > number);
    return {
      stretch: stretchOf(lineage, number),
      before: next?.firstNumber ?? Number.POSITIVE_INFINITY,
    };
  }

  /** What stands behind the record `number` in the journal, durable or not; it ends at `offset`. */
  bytesBehind(number: number, offset: number): number {
    if (number >= this.#watermarks.newest) return 0;
    const place = this.placeOf(number + 1);
    if (!place) return 0;
    let bytes = Math.max(0, place.segment.endOffset - offset);
    let before = Number.POSITIVE_INFINITY;
    for (let i = this.#segments.length - 1; this.#segments[i] !== place.segment; i -= 1) {
      const segment = this.#segments[i];
      if (!segment) break;
      // What a later segment begins again does not count where it stood before.
      if (segment.place.beginsAt >= before) continue;
      before = segment.place.beginsAt;
      bytes += segment.endOffset - segmentHeaderBytes;
    }
    return bytes;
  }

  /** Age of what is not durable yet, as far as it was heard of. */
  get undurableMilliseconds(): number {
    const since = this.#undurableSince;
    return since === undefined ? 0 : this.#clock.monotonicMilliseconds() - since;
  }

  /** Nothing of it is served any more. */
  close(): void {
    this.#picture = { ...this.#picture, state: 'closed', isReadable: false, volumes: [] };
    this.files.close();
  }
}
