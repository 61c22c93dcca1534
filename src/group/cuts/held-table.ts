import { changesVolume } from '../../journal/record.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Watermarks } from '../../journal/watermarks.ts';
import { must } from '../../platform/assert.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { messageOf } from '../../platform/errors.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import { BlockTable } from '../../volume/block-table.ts';
import { indexRecord } from '../../volume/index-record.ts';
import { readUpdates, type RecordSeen } from '../../volume/replay.ts';
import { segmentsBehind, whilePinned } from '../apply/segments-behind.ts';
import type { Conditions } from '../catalog/conditions.ts';

/** What is looked at of the group. */
export interface HeldGroup {
  readonly name: string;
  readonly state: string;
  readonly chain: SegmentChain;
  readonly index: BlockIndex;
  readonly watermarks: Watermarks;
  readonly conditions: Conditions;
  readonly changes: { settledThrough(durable: number): number };
  readonly replies: { readonly applicable: number };
  readonly driver: { readonly state: string };
  /** More may be applied than before. */
  appended(): void;
}

const lookMilliseconds = 1000;
/** A marker that is received ends a table, and needs nothing read again: where records come, one comes soon. */
const patientLooks = 10;

/**
 * A table that reaches beyond what may be applied: beyond what a cut lets be, and it is not to wait for a marker
 * that it could end at, because no record may come any more, the journal being full, or the source gone; or beyond
 * what the source had durably when it was lost. Its beginning is read from the journal and applied by itself.
 */
export class HeldTable {
  readonly #deps: { readonly disk: Disk; readonly clock: Clock };
  readonly #group: HeldGroup;
  readonly #heldAt: () => number;
  readonly #isPressed: () => boolean;
  #timer: Timer | undefined;
  #isClosed = false;
  #isReading = false;
  /** How often it was looked at since that number was applied, and more could have been. */
  #looks = 0;
  #applied = -1;

  /** `isPressed`: whoever writes the journal waits for apply. */
  constructor(
    deps: { readonly disk: Disk; readonly clock: Clock },
    group: HeldGroup,
    heldAt: () => number,
    isPressed: () => boolean,
  ) {
    this.#deps = deps;
    this.#group = group;
    this.#heldAt = heldAt;
    this.#isPressed = isPressed;
  }

  /** Apply is held from now on, wherever. */
  watch(): void {
    if (this.#isClosed || this.#timer) return;
    this.#timer = this.#deps.clock.after(lookMilliseconds, () => {
      this.#timer = undefined;
      if (this.#heldAt() === Number.POSITIVE_INFINITY) return;
      this.watch();
      this.#look();
    });
  }

  /** Somebody waits until this is applied, and the oldest table goes on behind it. */
  endAt(through: number): void {
    if (this.#isClosed || this.#isReading || !this.#mayEndAt(through)) return;
    void this.#apply(through, () => this.#mayEndAt(through));
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #look(): void {
    const { applied } = this.#group.watermarks;
    const through = this.#through;
    const isSame = through !== undefined && applied === this.#applied;
    this.#applied = applied;
    this.#looks = isSame ? this.#looks + 1 : 0;
    const { state, chain } = this.#group;
    const isUrgent = state !== 'normal' || chain.isTight || this.#isPressed();
    if (through === undefined || this.#looks < (isUrgent ? 1 : patientLooks)) return;
    // The hold may move meanwhile.
    if (!this.#isReading) void this.#apply(through, () => (this.#through ?? 0) >= through);
  }

  /** How far a cut lets the oldest table be applied, where that is not all of it. */
  get #through(): number | undefined {
    const through = this.#heldAt();
    return this.#mayEndAt(through) ? through : undefined;
  }

  /** Whether the oldest table may be applied up to there, and that is not all of it. */
  #mayEndAt(through: number): boolean {
    const { index, watermarks, changes, replies, driver } = this.#group;
    const isWithin = watermarks.applied < through && through < index.oldest.lastNumber;
    const isIdle = driver.state === 'idle';
    return isWithin && isIdle && through <= changes.settledThrough(replies.applicable);
  }

  async #apply(through: number, isStillWanted: () => boolean): Promise<void> {
    const { index, watermarks, conditions, name } = this.#group;
    const { applied } = watermarks;
    const subject = `held apply of ${name}`;
    this.#isReading = true;
    try {
      const beginning = await this.#read(applied, through);
      conditions.clear(subject, 'journal_failed', `the journal of group ${name} can be read`);
      // The table may have been applied as a whole.
      const isSame = watermarks.applied === applied && isStillWanted();
      if (this.#isClosed || !isSame || beginning.isEmpty) return;
      index.divide(beginning);
      this.#group.appended();
    } catch (error) {
      if (this.#isClosed) return;
      conditions.raise(subject, {
        code: 'journal_failed',
        severity: 'error',
        message: `updates behind ${applied} of group ${name} are to be applied up to ${through}, and not yet further, and cannot be read from the journal: ${messageOf(error)}; it is tried again`,
        nextCommand: `jnbd group show ${name}`,
      });
    } finally {
      this.#isReading = false;
    }
  }

  /** As far as one table has room for. */
  async #read(applied: number, through: number): Promise<BlockTable> {
    const { chain, index } = this.#group;
    const table = index.emptyTable();
    const segments = segmentsBehind(chain, applied, through);
    const sequences = new Map(
      segments.map(({ scanned, live }) => [scanned, live.header.sequence] as const),
    );
    let isFull = false;
    const seen: RecordSeen = (header, _payload, segment, payloadOffset) => {
      const sequence = must(sequences.get(segment), 'a segment that was chosen');
      const nodes = BlockTable.nodesFor(header.length, header.payloadBytes > 0);
      isFull ||= !table.hasRoom(nodes, sequence);
      if (isFull) return;
      // Of a volume that is gone, or stores nothing, apply passes over it.
      indexRecord(table, header, sequence, payloadOffset, !changesVolume(header.type));
    };
    await whilePinned(segments, (scanned) =>
      readUpdates(this.#deps, scanned, applied, through, seen),
    );
    return table;
  }
}
