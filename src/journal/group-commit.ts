import { assert } from '../platform/assert.ts';
import type { Clock, Timer } from '../platform/clock.ts';
import { inlineSyncMillisecondsMax, MiB } from '../platform/limits.ts';
import type { Area } from './area.ts';
import { AreaFailure } from './area.ts';
import type { HeadFile } from './head.ts';
import type { RetainedRuns } from './retained-runs.ts';
import type { LiveSegment, SegmentChain } from './segment-chain.ts';
import type { Watermarks } from './watermarks.ts';

const inlineSyncBytesMax = 1 * MiB;
const stallMilliseconds = 100;
/** What waking a thread of the pool, and this one again, takes beside the sync. */
const poolMilliseconds = 0.06;

export interface GroupCommitOwner {
  /** `durable` moved. */
  advanced(): void;
  /** A sync failed: what it was to cover is not durable, and that area's page cache can lie. */
  failed(failure: AreaFailure): void;
  /** The head could not be written: nothing that was appended since can be called durable. */
  headFailed(error: unknown): void;
}

/**
 * Makes what was appended durable, many records at a time: one sync answers everyone who asked before
 * it began, and who asks later starts the next one. Without anybody asking, one starts an interval
 * after the first unsynced record, and earlier when much is unsynced.
 */
export class GroupCommit {
  readonly #clock: Clock;
  readonly #chain: SegmentChain;
  readonly #retained: RetainedRuns;
  readonly #watermarks: Watermarks;
  readonly #head: HeadFile;
  readonly #owner: GroupCommitOwner;
  readonly #earlyBytes: number;
  #intervalMilliseconds: number;
  /** Counts the syncs that were given up: their ends are not listened to. */
  #epoch = 0;
  #syncing = false;
  /** Those whose sync has not ended. */
  #pending: LiveSegment[] = [];
  #again = false;
  #began = 0;
  #timer: Timer | undefined;
  #stopped = false;
  /** A moving average, of syncs of little data. */
  #recentMilliseconds = 0;

  constructor(
    deps: {
      clock: Clock;
      chain: SegmentChain;
      retained: RetainedRuns;
      watermarks: Watermarks;
      head: HeadFile;
      owner: GroupCommitOwner;
    },
    options: { earlyBytes: number; intervalMilliseconds: number },
  ) {
    this.#clock = deps.clock;
    this.#chain = deps.chain;
    this.#retained = deps.retained;
    this.#watermarks = deps.watermarks;
    this.#head = deps.head;
    this.#owner = deps.owner;
    this.#earlyBytes = options.earlyBytes;
    this.#intervalMilliseconds = options.intervalMilliseconds;
  }

  /** From the next sync on. */
  setInterval(milliseconds: number): void {
    this.#intervalMilliseconds = milliseconds;
  }

  get running(): boolean {
    return this.#syncing;
  }

  /** Something was appended. */
  appended(): void {
    if (this.#syncing || this.#stopped) return;
    if (this.#retained.bytes > this.#earlyBytes) this.start();
    else this.#timer ??= this.#clock.after(this.#intervalMilliseconds, this.#timerRan);
  }

  /** Somebody waits for everything appended so far. Syncs within the call when that is quickest. */
  request(): void {
    if (
      !this.#syncing &&
      !this.#stopped &&
      this.#recentMilliseconds < inlineSyncMillisecondsMax &&
      this.#retained.bytes <= inlineSyncBytesMax &&
      this.#onlyCurrentIsDirty()
    ) {
      this.#syncInline();
    } else {
      this.start();
    }
  }

  start(): void {
    if (this.#stopped) return;
    if (this.#syncing) {
      this.#again = true;
      return;
    }
    const target = this.#appended;
    const segments: LiveSegment[] = [];
    for (const segment of this.#chain.live()) if (segment.dirty) segments.push(segment);
    if (segments.length === 0) {
      assert(target === this.#watermarks.durable, 'what is clean is durable');
      return;
    }
    this.#syncing = true;
    this.#pending = segments;
    this.#again = false;
    this.#began = this.#clock.monotonicMilliseconds();
    const isSmall = this.#retained.bytes <= inlineSyncBytesMax;
    const epoch = this.#epoch;
    let waiting = segments.length;
    let failure: AreaFailure | undefined;
    for (const segment of segments) {
      // Cleared before the sync begins: what is written from now on needs the next one.
      segment.dirty = false;
      segment.file.dataSync((error) => {
        if (epoch !== this.#epoch) return;
        if (error) failure ??= new AreaFailure(segment.area, error);
        segments.splice(segments.indexOf(segment), 1);
        waiting -= 1;
        if (waiting > 0) return;
        this.#syncing = false;
        if (failure) {
          this.#owner.failed(failure);
          return;
        }
        if (isSmall) this.#noteTime(poolMilliseconds);
        this.#finish(target);
      });
    }
  }

  /** Unsynced records were moved elsewhere: a sync under way says nothing about them. */
  abandon(): void {
    this.#epoch += 1;
    this.#syncing = false;
    for (const segment of this.#chain.live()) segment.dirty = false;
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** An area whose sync has been running longer than this. */
  slowArea(milliseconds: number): Area | undefined {
    const isLate =
      this.#syncing && this.#clock.monotonicMilliseconds() - this.#began >= milliseconds;
    return isLate ? this.#pending[0]?.area : undefined;
  }

  readonly #timerRan = (): void => {
    this.#timer = undefined;
    if (this.#watermarks.durable < this.#watermarks.newest) this.start();
  };

  /** Whoever asks whether a record is admitted may do so in the middle of a run: that is not covered. */
  get #appended(): number {
    return Math.max(this.#watermarks.durable, this.#retained.lastNumber);
  }

  #onlyCurrentIsDirty(): boolean {
    const { current } = this.#chain;
    for (const segment of this.#chain.live()) {
      if (segment.dirty && segment !== current) return false;
    }
    return true;
  }

  #syncInline(): void {
    const segment = this.#chain.current;
    this.#began = this.#clock.monotonicMilliseconds();
    try {
      segment.file.dataSyncSync();
    } catch (error) {
      this.#owner.failed(new AreaFailure(segment.area, error));
      return;
    }
    segment.dirty = false;
    this.#noteTime(0);
    this.#advance(this.#appended);
  }

  /**
   * A single sync that met a checkpoint's says little: it counts as twice the bound, not more. One that
   * stood still for long may be the first of many, and within the call it holds up all groups.
   */
  #noteTime(besideMilliseconds: number): void {
    const passed = this.#clock.monotonicMilliseconds() - this.#began;
    const taken = Math.max(0, passed - besideMilliseconds);
    const times = taken < stallMilliseconds ? 2 : 20;
    const milliseconds = Math.min(taken, times * inlineSyncMillisecondsMax);
    this.#recentMilliseconds += (milliseconds - this.#recentMilliseconds) / 4;
  }

  #finish(target: number): void {
    const again = this.#again;
    this.#advance(target);
    if (this.#watermarks.durable === this.#watermarks.newest) return;
    if (again) this.start();
    else this.appended();
  }

  #advance(target: number): void {
    if (target === this.#watermarks.durable || !this.#noteHead(target)) return;
    this.#watermarks.setDurable(target);
    this.#retained.releaseThrough(target);
    this.#owner.advanced();
  }

  /**
   * Nothing leads to a segment in which an incarnation or a takeover began: the head says that it must
   * be there, before anything in it is called durable.
   */
  #noteHead(durable: number): boolean {
    const header = this.#chain.unnoted;
    if (!header) return true;
    const { groupId, sequence, firstNumber, incarnation } = header;
    try {
      this.#head.writeSync({ groupId, sequence, firstNumber, incarnation, durable });
      this.#chain.noted();
      return true;
    } catch (error) {
      this.#owner.headFailed(error);
      return false;
    }
  }
}
