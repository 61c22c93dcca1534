import type { Retention } from '../journal/retention.ts';
import type { SegmentChain } from '../journal/segment-chain.ts';
import type { Watermarks } from '../journal/watermarks.ts';
import { assert, must } from '../platform/assert.ts';
import type { Clock, Timer } from '../platform/clock.ts';
import type { WorkerPort } from '../platform/worker-port.ts';
import type { ApplySegment, ApplyVolume, FromApply, ToApply } from '../volume/apply-messages.ts';
import type { BlockIndex } from '../volume/block-index.ts';
import type { BlockTable } from '../volume/block-table.ts';

/** A batch starts when this many blocks changed, or this long after the first one did. */
const batchNodesMin = 16384;
const batchMillisecondsMax = 1000;
const retryMilliseconds = 1000;

export interface ApplyOwner {
  volumes(): ApplyVolume[];
  /** `applied` moved; segments may have been freed. */
  appliedAdvanced(bytes: number): void;
  applyFailed(failure: FromApply & { kind: 'failed' }): void;
  /** The first success after failures. */
  applyRecovered(): void;
}

/** `idle`: nothing to do yet. `applying`: the worker has a table. `waiting`: it failed; tried again later. */
export type ApplyState = 'idle' | 'applying' | 'waiting' | 'closed';

const validTransitions: Record<ApplyState, readonly ApplyState[]> = {
  idle: ['applying', 'closed'],
  applying: ['idle', 'waiting', 'closed'],
  waiting: ['applying', 'closed'],
  closed: [],
};

/**
 * Decides when what is in the index goes to the volumes, and moves `applied` and `released` when it
 * did. A table goes to the worker only when its last record is durable (invariant 1, SAFETY 10).
 */
export class ApplyDriver {
  readonly #clock: Clock;
  readonly #port: WorkerPort<ToApply, FromApply>;
  readonly #index: BlockIndex;
  readonly #chain: SegmentChain;
  readonly #watermarks: Watermarks;
  readonly #retention: Retention;
  readonly #groupId: string;
  readonly #owner: ApplyOwner;
  #state: ApplyState = 'idle';
  #timer: Timer | undefined;
  #due = false;
  #failing = false;

  constructor(deps: {
    clock: Clock;
    port: WorkerPort<ToApply, FromApply>;
    index: BlockIndex;
    chain: SegmentChain;
    watermarks: Watermarks;
    retention: Retention;
    groupId: string;
    checkpointPath: string;
    owner: ApplyOwner;
  }) {
    this.#clock = deps.clock;
    this.#port = deps.port;
    this.#index = deps.index;
    this.#chain = deps.chain;
    this.#watermarks = deps.watermarks;
    this.#retention = deps.retention;
    this.#groupId = deps.groupId;
    this.#owner = deps.owner;
    this.#port.receive((message) => this.#received(message));
    this.#port.post({ kind: 'open', checkpointPath: deps.checkpointPath, groupId: deps.groupId });
  }

  get state(): ApplyState {
    return this.#state;
  }

  /** Something was appended, or became durable: there may be a batch. */
  consider(): void {
    if (this.#state !== 'idle') return;
    const { active } = this.#index;
    if (this.#index.frozenCount === 0 && !active.isEmpty) {
      if (active.count >= batchNodesMin || this.#due) {
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
    if (table && table.lastNumber <= this.#watermarks.durable) this.#dispatch(table);
  }

  /** Applies what there is without waiting for more. */
  hurry(): void {
    this.#due = true;
    this.consider();
  }

  close(): Promise<void> {
    this.#become('closed');
    this.#timer?.cancel();
    return this.#port.close();
  }

  forget(volume: number): void {
    this.#port.post({ kind: 'forget', volume });
  }

  #become(state: ApplyState): void {
    assert(validTransitions[this.#state].includes(state), `apply ${this.#state} -> ${state}`);
    this.#state = state;
  }

  #dispatch(table: BlockTable): void {
    this.#become('applying');
    const segments: ApplySegment[] = [];
    for (const { header, file, area, lastNumber } of this.#chain.live()) {
      if (header.sequence < table.baseSequence || header.sequence > table.endSequence) continue;
      segments.push({
        sequence: header.sequence,
        path: file.path,
        direct: area.state === 'failed',
        lastNumber,
      });
    }
    this.#port.post({
      kind: 'apply',
      memory: table.memory,
      count: table.count,
      ranges: table.ranges.list(),
      baseSequence: table.baseSequence,
      segments,
      volumes: this.#owner.volumes(),
      checkpoint: {
        groupId: this.#groupId,
        applied: table.lastNumber,
        released: this.#watermarks.released,
        sequence: table.endSequence,
        offset: table.endOffset,
      },
    });
  }

  #received(message: FromApply): void {
    if (this.#state === 'closed') return;
    if (message.kind === 'failed') {
      if (this.#state !== 'applying') {
        this.#owner.applyFailed(message);
        return;
      }
      this.#become('waiting');
      this.#failing = true;
      this.#owner.applyFailed(message);
      this.#clock.after(retryMilliseconds, () => {
        if (this.#state !== 'waiting') return;
        this.#dispatch(must(this.#index.oldestFrozen, 'the failed table is still there'));
      });
      return;
    }
    this.#become('idle');
    const table = must(this.#index.oldestFrozen, 'a table was being applied');
    this.#watermarks.setApplied(table.lastNumber);
    this.#index.applied();
    this.releaseSegments();
    if (this.#failing) {
      this.#failing = false;
      this.#owner.applyRecovered();
    }
    this.#owner.appliedAdvanced(message.bytes);
    this.consider();
  }

  /** Gives back what no hold needs. The checkpoint that says `applied` is durable already (SAFETY 6). */
  releaseSegments(): void {
    const released = this.#retention.releasable(this.#watermarks.applied);
    if (released > this.#watermarks.released) this.#watermarks.setReleased(released);
    this.#chain.release(this.#watermarks.released);
  }
}
