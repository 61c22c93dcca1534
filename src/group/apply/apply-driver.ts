import type { Retention } from '../../journal/retention.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Watermarks } from '../../journal/watermarks.ts';
import { assert, must } from '../../platform/assert.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { GiB, segmentBytes } from '../../platform/limits.ts';
import type { WorkerPort } from '../../platform/worker-port.ts';
import type { Preserving } from '../../volume/preserved-blocks.ts';
import type { ApplyVolume, FromApply, ToApply } from '../../volume/apply-messages.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import type { BlockTable } from '../../volume/block-table.ts';
import { type ApplyPoints, ApplyRequests } from './apply-requests.ts';
import { segmentsOf } from './table-segments.ts';

/**
 * A batch starts when this many blocks changed, or this long after the first one did: the larger it
 * is, the more rewritten blocks are written once and the more neighbours are written together.
 */
const batchNodesMin = 2 ** 16;
const batchMillisecondsMax = 200;
const retryMilliseconds = 1000;
const releaseAgainMilliseconds = 100;
/**
 * A checkpoint starts when this much of the journal was applied since the last one (what a recovery
 * reads again in a few seconds), or after this long. More often would mean writing blocks to the
 * device that are about to be rewritten, in competition with the journal's own syncs. Of a small journal
 * it is a quarter: hosts go on in the rest while the volumes are synced.
 */
const checkpointBytesMax = 2 * GiB;
const checkpointMillisecondsMax = 15_000;

export interface ApplyOwner {
  volumes(): ApplyVolume[];
  /** `applied` moved: tables are free again. */
  appliedAdvanced(): void;
  /**
   * What is durable, may be shown to hosts (SAFETY 24), and is for volumes that are there: apply passes over
   * records of one that is not.
   */
  mayApplyThrough(): number;
  /** A cut lets nothing behind this be applied; infinite where none does. */
  heldBehind(): number;
  /** A base of the history begins before the next table is applied, which `consider` is called behind. */
  baseComesFirst(): boolean;
  /** Up to there nobody who follows the journal needs it, once it is applied. */
  unreadThrough(): number;
  /** Whether recovery could begin behind what is applied. */
  mayCheckpoint(): boolean;
  /** `released` may have moved: segments may be free again. */
  released(): void;
  applyFailed(failure: FromApply & { kind: 'failed' }): void;
  /** The first success after failures: of a table, or of a checkpoint. */
  applyRecovered(part: 'table' | 'checkpoint'): void;
}

/** `idle`: nothing to do yet. `applying`: the worker has a table. `waiting`: it failed; tried again later. */
export type ApplyState = 'idle' | 'applying' | 'waiting' | 'closed';

export const applyTransitions: Record<ApplyState, readonly ApplyState[]> = {
  idle: ['applying', 'closed'],
  applying: ['idle', 'waiting', 'closed'],
  waiting: ['applying', 'closed'],
  closed: [],
};

/**
 * Decides when what is in the index goes to the volumes, and moves `applied` when it did; when the
 * volumes are synced, and moves `released` when they were. A table goes to the worker only when its
 * last record is durable (invariant 1, SAFETY 10).
 *
 * Syncing is apart from applying, because it costs most: a volume is read as soon as it is written,
 * while its records stay in the journal until a checkpoint says that they are not needed.
 */
export class ApplyDriver {
  readonly #clock: Clock;
  readonly #port: WorkerPort<ToApply, FromApply>;
  readonly #index: BlockIndex;
  readonly #chain: SegmentChain;
  readonly #watermarks: Watermarks;
  readonly #retention: Retention;
  readonly #groupId: string;
  readonly #points: ApplyPoints;
  readonly #owner: ApplyOwner;
  #state: ApplyState = 'idle';
  #timer: Timer | undefined;
  #due = false;
  #isHeld = false;
  #failing = false;
  /** What the last durable checkpoint says, and what the one under way will say. */
  #checkpointed: number;
  #checkpointing = false;
  /** A volume's sync failed: there will be no checkpoint until a restart. */
  #syncFailure: string | undefined;
  readonly requests: ApplyRequests;
  readonly #syncs: ((failure: string | undefined) => void)[] = [];
  #checkpointTimer: Timer | undefined;
  #releaseTimer: Timer | undefined;
  #checkpointDue = false;
  /** The last one could not be written; the timer runs until it is tried again. */
  #checkpointFailing = false;
  #checkpointSequence: number;
  /** Where the durable one is. */
  #keptSequence: number;
  /** Where the journal goes on behind what is applied. */
  #appliedSequence = 0;
  #appliedOffset = 0;

  constructor(deps: {
    clock: Clock;
    port: WorkerPort<ToApply, FromApply>;
    index: BlockIndex;
    chain: SegmentChain;
    watermarks: Watermarks;
    retention: Retention;
    groupId: string;
    checkpointPath: string;
    checkpointSequence: number;
    preserving: Preserving | undefined;
    base: Preserving | undefined;
    points: ApplyPoints;
    owner: ApplyOwner;
  }) {
    this.#clock = deps.clock;
    this.#port = deps.port;
    this.#index = deps.index;
    this.#chain = deps.chain;
    this.#watermarks = deps.watermarks;
    this.#retention = deps.retention;
    this.#groupId = deps.groupId;
    this.#points = deps.points;
    this.#owner = deps.owner;
    this.#checkpointed = this.#watermarks.applied;
    this.#checkpointSequence = deps.checkpointSequence;
    this.#keptSequence = deps.checkpointSequence;
    this.#port.receive((message) => this.#received(message));
    this.requests = new ApplyRequests(deps.port);
    const { checkpointPath, preserving, base } = deps;
    this.#port.post({ kind: 'open', checkpointPath, preserving, base });
  }

  get state(): ApplyState {
    return this.#state;
  }

  /** Whether a checkpoint is still to come that covers more than the last one. */
  get hasMoreToCheckpoint(): boolean {
    const through = Math.min(this.#watermarks.durable, this.#owner.heldBehind());
    return this.#syncFailure === undefined && this.#checkpointed < through;
  }

  /** Of the durable checkpoint: what segments before `sequence` hold up to `applied` is needed by holds alone. */
  get checkpoint(): { readonly applied: number; readonly sequence: number } {
    return { applied: this.#checkpointed, sequence: this.#keptSequence };
  }

  /** What it tried last failed, and is tried again: nothing can be released before that succeeds. */
  get isFailing(): boolean {
    return this.#failing || this.#checkpointFailing;
  }

  /** Something was appended, or became durable: there may be a batch. */
  consider(): void {
    if (this.#state !== 'idle' || this.#isHeld) return;
    const { active } = this.#index;
    // What may not be applied as a whole goes on being filled: it ends where it may, at a marker.
    const heldBehind = this.#owner.heldBehind();
    const isHeld = active.lastNumber > heldBehind;
    if (this.#index.frozenCount === 0 && !active.isEmpty && !isHeld) {
      if (active.count >= batchNodesMin || this.#due || this.#chain.isTight) {
        this.#due = false;
        this.#index.freeze();
      } else {
        this.#timer ??= this.#clock.after(batchMillisecondsMax, () => {
          this.#timer = undefined;
          this.#due = true;
          this.consider();
        });
      }
    }
    const table = this.#index.oldestFrozen;
    if (!table || table.lastNumber > heldBehind) return;
    if (table.lastNumber > this.#owner.mayApplyThrough()) return;
    if (!this.#owner.baseComesFirst()) this.#dispatch(table);
  }

  /** Nothing goes to the volumes until that is over, but what is on its way. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    if (!isHeld) this.consider();
  }

  /** Applies what there is without waiting for more. */
  applyNow(): void {
    this.#due = true;
    this.consider();
  }

  /** Nothing of the journal is on its way to the volumes, or waits for it. */
  get isDone(): boolean {
    return this.#state === 'idle' && this.#index.isEmpty;
  }

  /**
   * Writes contents that came from another system, or a hole, past the journal. Everything that the
   * journal has is applied (`isDone`); what is appended from now on is applied behind it. `contents` are
   * all of their memory, and given away.
   */
  copy(
    volume: ApplyVolume,
    offset: number,
    length: number,
    contents: Uint8Array<ArrayBuffer> | undefined,
    done: (failure: string | undefined) => void,
  ): void {
    assert(this.isDone, 'a copy is written where the journal is applied');
    this.requests.copy(volume, offset, length, contents, done);
  }

  /** Brings to the device what was written so far. */
  sync(done: (failure: string | undefined) => void): void {
    if (this.#syncFailure !== undefined) {
      this.#clock.soon(() => done(this.#syncFailure));
      return;
    }
    this.#syncs.push(done);
    this.#port.post({ kind: 'sync' });
  }

  /** As `applyNow`, and makes a checkpoint. */
  hurry(): void {
    this.applyNow();
    this.checkpointNow();
  }

  /** Of what is applied. */
  checkpointNow(): void {
    this.#checkpointDue = true;
    this.#considerCheckpoint();
  }

  close(): Promise<void> {
    this.#become('closed');
    this.#timer?.cancel();
    this.#checkpointTimer?.cancel();
    this.#releaseTimer?.cancel();
    this.requests.close();
    return this.#port.close();
  }

  /** The volume was deleted. What the worker has of it already may still take space until it is done. */
  forget(volume: number): void {
    this.#index.forget(volume, this.#state === 'applying' ? this.#index.oldestFrozen : undefined);
    this.#port.post({ kind: 'forget', volume });
  }

  #become(state: ApplyState): void {
    assert(applyTransitions[this.#state].includes(state), `apply ${this.#state} -> ${state}`);
    this.#state = state;
  }

  #dispatch(table: BlockTable): void {
    this.#become('applying');
    this.#port.post({
      kind: 'apply',
      memory: table.memory,
      count: table.count,
      ranges: table.ranges.list(),
      baseSequence: table.baseSequence,
      segments: segmentsOf(this.#chain, table),
      unreadThrough: this.#owner.unreadThrough(),
      volumes: this.#owner.volumes(),
      isPoint: this.#points.isPoint(table.lastNumber),
    });
  }

  #considerCheckpoint(): void {
    const { applied } = this.#watermarks;
    if (this.#checkpointing || this.#syncFailure !== undefined || this.#state === 'closed') return;
    if (applied === this.#checkpointed || this.#isRetryAwaited) return;
    const sinceBytes = (this.#appliedSequence - this.#checkpointSequence) * segmentBytes;
    const isFar = sinceBytes >= Math.min(checkpointBytesMax, this.#chain.capacityBytes / 4);
    const isDue = isFar || this.#checkpointDue || this.#chain.isTight;
    if (!isDue || !this.#owner.mayCheckpoint()) {
      this.#checkpointTimer ??= this.#clock.after(
        checkpointMillisecondsMax,
        this.#checkpointTimerRan,
      );
      return;
    }
    this.#checkpointDue = false;
    this.#checkpointTimer?.cancel();
    this.#checkpointTimer = undefined;
    this.#checkpointing = true;
    this.#checkpointSequence = this.#appliedSequence;
    this.#port.post({
      kind: 'checkpoint',
      checkpoint: {
        groupId: this.#groupId,
        applied,
        released: this.#watermarks.released,
        sequence: this.#appliedSequence,
        offset: this.#appliedOffset,
      },
    });
  }

  readonly #checkpointTimerRan = (): void => {
    this.#checkpointTimer = undefined;
    this.#checkpointDue = true;
    this.#considerCheckpoint();
  };

  get #isRetryAwaited(): boolean {
    return this.#checkpointFailing && this.#checkpointTimer !== undefined;
  }

  #received(message: FromApply): void {
    if (this.#state === 'closed' || this.requests.received(message)) return;
    if (message.kind === 'checkpointed') {
      this.#checkpointing = false;
      this.#checkpointed = message.applied;
      this.#keptSequence = this.#checkpointSequence;
      if (this.#checkpointFailing) {
        this.#checkpointFailing = false;
        this.#owner.applyRecovered('checkpoint');
      }
      this.releaseSegments();
      this.#owner.released();
      this.#considerCheckpoint();
      return;
    }
    if (message.kind === 'failed') {
      this.#failed(message);
      return;
    }
    if (message.kind === 'synced') {
      must(this.#syncs.shift(), 'a sync was under way')(undefined);
      return;
    }
    assert(message.kind === 'applied', `apply answers ${message.kind}`);
    this.#become('idle');
    const table = must(this.#index.oldestFrozen, 'a table was being applied');
    this.#appliedSequence = table.endSequence;
    this.#appliedOffset = table.endOffset;
    const { lastNumber } = table;
    this.#watermarks.setApplied(table.lastNumber);
    this.#index.applied();
    if (message.sums) this.#points.applied(lastNumber, message.sums);
    if (this.#failing) {
      this.#failing = false;
      this.#owner.applyRecovered('table');
    }
    this.#owner.appliedAdvanced();
    this.consider();
    this.#considerCheckpoint();
  }

  #failed(failure: FromApply & { kind: 'failed' }): void {
    this.#owner.applyFailed(failure);
    if (failure.part === 'sync') {
      this.#checkpointing = false;
      this.#syncFailure = failure.message;
      for (const done of this.#syncs.splice(0)) done(failure.message);
      return;
    }
    if (failure.part === 'checkpoint') {
      this.#checkpointing = false;
      this.#checkpointFailing = true;
      this.#checkpointSequence = this.#keptSequence;
      this.#checkpointTimer = this.#clock.after(retryMilliseconds, this.#checkpointTimerRan);
      return;
    }
    this.#become('waiting');
    this.#failing = true;
    this.#clock.after(retryMilliseconds, () => {
      if (this.#state !== 'waiting') return;
      this.#dispatch(must(this.#index.oldestFrozen, 'the failed table is still there'));
    });
  }

  /** Gives back what no hold needs and a durable checkpoint covers (SAFETY 6). */
  releaseSegments(): void {
    const released = this.#retention.releasable(this.#checkpointed);
    if (released > this.#watermarks.released) this.#watermarks.setReleased(released);
    this.#chain.release(this.#watermarks.released, this.#keptSequence);
    // Hosts may be waiting for nothing else, and without them nothing else would come here.
    if (!this.#chain.isReleaseHeld || this.#state === 'closed') return;
    this.#releaseTimer ??= this.#clock.after(releaseAgainMilliseconds, () => {
      this.#releaseTimer = undefined;
      this.releaseSegments();
      this.#owner.released();
    });
  }
}
