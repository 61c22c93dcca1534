import { assert } from '../platform/assert.ts';
import type { Clock } from '../platform/clock.ts';
import { slabBytes } from '../platform/limits.ts';
import type { Area } from './area.ts';
import { AreaFailure } from './area.ts';
import { GroupCommit } from './group-commit.ts';
import type { HeadFile } from './head.ts';
import type { JournalOwner, JournalState, StampedPlace } from './journal-owner.ts';
import { IdleMark, type MarkNeed } from './idle-mark.ts';
import { moveRuns } from './move-run.ts';
import type { ReceiveSlab } from './receive-slab.ts';
import { scratchSlab } from './receive-slab.ts';
import type { RecordHeader, RecordSegment, RecordType } from './record.ts';
import { hasPayload, recordHeaderBytes, recordType, restampRecord, stampRecord } from './record.ts';
import type { RetainedRuns } from './retained-runs.ts';
import { Run } from './run.ts';
import type { SegmentChain } from './segment-chain.ts';
import type { Watermarks } from './watermarks.ts';

/**
 * The writing end of a group's journal: stamps records where they were received, appends them a run
 * at a time, syncs many at once, and moves what is not durable when an area fails.
 *
 * Order that everything rests on: header of a segment durable, before the roll that refers to it;
 * every record up to n appended, before n is answered; every one of them synced, before `durable`
 * is n. A crash at any line leaves a journal whose valid prefix is at least what was durable.
 */
export class Journal {
  readonly place: StampedPlace;
  readonly #clock: Clock;
  readonly #chain: SegmentChain;
  readonly #retained: RetainedRuns;
  readonly #watermarks: Watermarks;
  readonly #owner: JournalOwner;
  readonly #unsyncedBytesMax: number;
  readonly #commit: GroupCommit;
  readonly #scratch = scratchSlab(64);
  readonly #run = new Run();
  #state: JournalState = 'open';

  #lastMarked: number;
  readonly #idleMark: IdleMark;

  constructor(
    deps: {
      clock: Clock;
      chain: SegmentChain;
      retained: RetainedRuns;
      watermarks: Watermarks;
      head: HeadFile;
      owner: JournalOwner;
    },
    options: { unsyncedBytesMax: number; syncIntervalMilliseconds: number },
  ) {
    this.#clock = deps.clock;
    this.#chain = deps.chain;
    this.#retained = deps.retained;
    this.#watermarks = deps.watermarks;
    this.#owner = deps.owner;
    this.#unsyncedBytesMax = options.unsyncedBytesMax;
    this.#commit = new GroupCommit(
      {
        ...deps,
        owner: {
          advanced: () => this.#durableAdvanced(),
          failed: (failure) => this.#syncFailed(failure),
          headFailed: (error) => this.#fail(error as Error),
        },
      },
      {
        earlyBytes: options.unsyncedBytesMax / 2,
        intervalMilliseconds: options.syncIntervalMilliseconds,
      },
    );
    this.#lastMarked = this.#watermarks.durable;
    this.#idleMark = new IdleMark(this.#clock, options.syncIntervalMilliseconds, {
      look: () => this.#lookAtMark(),
      write: () => {
        this.#writeMark();
        // Not a sync of its own: of two at once, the kernel tells only one of a failure.
        this.#commit.start();
      },
    });
    this.place = { segment: this.#chain.current, payloadOffset: 0 };
    this.#prepareStandby();
  }

  get state(): JournalState {
    return this.#state;
  }

  /** From the next append on. */
  setSyncInterval(milliseconds: number): void {
    this.#commit.setInterval(milliseconds);
    this.#idleMark.setInterval(milliseconds);
  }

  /** What is not synced has reached its bound: hosts wait for a sync. */
  get waitsForSync(): boolean {
    return this.#retained.bytes + slabBytes > this.#unsyncedBytesMax;
  }

  get unsyncedBytes(): number {
    return this.#retained.bytes;
  }

  /** Whether a record of `bytes` fits now, in memory that is not synced and in the journal. */
  admits(bytes: number): boolean {
    if (this.#retained.bytes + bytes > this.#unsyncedBytesMax) {
      this.#commit.start();
      return false;
    }
    return this.#chain.admits(this.#run.bytes + bytes);
  }

  /**
   * Numbers and stamps a record at `start` of the slab; its payload (if any) follows there. It goes
   * out with the run. `place` says where it will lie. The caller asked `admits`.
   */
  stamp(
    slab: ReceiveSlab,
    start: number,
    headerBytes: 28 | 32,
    type: RecordType,
    volume: number,
    offset: number,
    length: number,
  ): number {
    const recordBytes = headerBytes + (hasPayload(type) ? length : 0);
    this.#extendRun(slab, start, recordBytes);
    const run = this.#run;
    const segment = this.#chain.current;
    const number = this.#watermarks.next();
    this.place.segment = segment;
    this.place.payloadOffset = segment.endOffset + run.bytes + headerBytes;
    run.append(headerBytes, recordBytes, type, volume, length, number, offset);
    return number;
  }

  /**
   * The record at `start` of the slab, proved, that another system numbered and stamped for a segment
   * of its own: it goes out with the run, under the same number. The caller asked `admits`.
   */
  stampReceived(slab: ReceiveSlab, start: number, header: RecordHeader, from: RecordSegment): void {
    const recordBytes = header.headerBytes + header.payloadBytes;
    this.#extendRun(slab, start, recordBytes);
    const run = this.#run;
    const segment = this.#chain.current;
    const number = this.#watermarks.next();
    assert(number === header.number, 'what is received is next', header.number, number);
    this.place.segment = segment;
    this.place.payloadOffset = segment.endOffset + run.bytes + header.headerBytes;
    restampRecord(slab.bytes, slab.view, start, header, from, segment.header);
    run.appendStamped(recordBytes);
  }

  /** Makes `headerBytes` of the slab that mean nothing a part of the run, if they lie inside one. */
  stampPad(slab: ReceiveSlab, start: number, headerBytes: 28 | 32): void {
    const run = this.#run;
    if (!run.continuesAt(slab, start) || !this.#chain.hasRoom(run.bytes + headerBytes)) return;
    run.appendPad(headerBytes);
  }

  /**
   * Appends the run: one write. A failing area is replaced within the call. False when the journal
   * has failed: the run's records will never be durable.
   */
  commitRun(): boolean {
    const { slab, start, recordsEnd } = this.#run;
    if (!slab) return this.#state === 'open';
    this.#run.finish();
    const segment = this.#chain.current;
    this.#retained.push(slab, segment, start, recordsEnd, this.#watermarks.newest);
    if (this.#state !== 'open') {
      // It failed while this run was being stamped: the index leads to where nothing was written.
      this.#retained.abandon();
      return false;
    }
    try {
      segment.file.appendSync(slab.bytes, start, recordsEnd - start, segment.endOffset);
      segment.endOffset += recordsEnd - start;
      segment.lastNumber = this.#watermarks.newest;
      segment.dirty = true;
    } catch (error) {
      this.#takeOver(new AreaFailure(segment.area, error));
    }
    this.#commit.appended();
    return this.#isOpen();
  }

  /** Somebody waits for everything appended so far. May sync within the call. */
  requestDurable(): void {
    this.#commit.request();
  }

  /** For who must not wait for a disk in this thread, though that were quicker. */
  requestDurableElsewhere(): void {
    this.#commit.start();
  }

  /** The area being written to, when a sync of it has been running longer than this. */
  slowArea(milliseconds: number): Area | undefined {
    return this.#commit.slowArea(milliseconds);
  }

  /** An area is slower than is good: what is not durable goes to another one, like on a failure. */
  leaveSlowArea(area: Area, why: string): void {
    if (area.state !== 'healthy' || this.#state !== 'open') return;
    area.become('slow', why);
    this.#owner.areaChanged(area);
    this.#moveUnsynced(new AreaFailure(area, new Error(why)));
  }

  /** Syncs what is owed and notes it in the journal, so that damage is later told from a torn tail. */
  close(done: (failure: Error | null) => void): void {
    if (this.#state !== 'open') {
      done(null);
      return;
    }
    this.#whenSynced(() => {
      if (this.#state !== 'open') {
        done(new Error('the journal failed while it was closed'));
        return;
      }
      this.#writeMark();
      this.#state = 'closed';
      this.#stop();
      this.#chain.current.file.dataSync((error) => done(error));
    });
  }

  #whenSynced(run: () => void): void {
    if (this.#state !== 'open' || this.#watermarks.durable === this.#watermarks.newest) {
      run();
      return;
    }
    this.#commit.start();
    this.#clock.after(1, () => this.#whenSynced(run));
  }

  #isOpen(): boolean {
    return this.#state === 'open';
  }

  #extendRun(slab: ReceiveSlab, start: number, recordBytes: number): void {
    const run = this.#run;
    if (run.slab !== undefined) {
      if (run.continuesAt(slab, start) && this.#chain.hasRoom(run.bytes + recordBytes)) return;
      this.commitRun();
    }
    if (!this.#chain.hasRoom(recordBytes + recordHeaderBytes)) this.#roll();
    const markIsDue = this.#watermarks.durable > this.#lastMarked;
    const markFitsBefore = markIsDue && Run.hasHeadroom(start);
    if (markIsDue && !markFitsBefore) this.#writeMark();
    run.begin(slab, start, this.#chain.current.header, this.#clock.wallMilliseconds());
    if (!markFitsBefore) return;
    // A mark in the slab's free headroom costs no write of its own.
    this.#lastMarked = this.#watermarks.durable;
    run.prependMark(this.#lastMarked);
  }

  #lookAtMark(): MarkNeed {
    const { durable, newest } = this.#watermarks;
    if (this.#state !== 'open' || this.#lastMarked === durable) return 'none';
    return durable < newest || this.#commit.running ? 'later' : 'now';
  }

  #writeMark(): void {
    if (!this.#chain.hasRoom(recordHeaderBytes)) return;
    this.#lastMarked = this.#watermarks.durable;
    this.#writeUnnumbered(recordType.mark, this.#lastMarked);
  }

  #writeUnnumbered(type: RecordType, number: number): void {
    const segment = this.#chain.current;
    const { bytes, view } = this.#scratch;
    stampRecord(bytes, view, 0, recordHeaderBytes, type, 0, 0, 0, number, 0, segment.header.salt);
    try {
      segment.file.appendSync(bytes, 0, recordHeaderBytes, segment.endOffset);
      segment.endOffset += recordHeaderBytes;
      segment.dirty = true;
    } catch (error) {
      this.#takeOver(new AreaFailure(segment.area, error));
    }
  }

  /** To the next segment: the prepared one, or, right behind a takeover, one that begins here. */
  #roll(): void {
    const segment = this.#chain.current;
    const next = this.#chain.standbySequence;
    if (next === undefined) {
      this.#begin();
      return;
    }
    this.#writeUnnumbered(recordType.roll, next);
    if (this.#chain.current !== segment) return;
    this.#chain.advance();
    this.#prepareStandby();
  }

  #begin(): void {
    const { newest, durable } = this.#watermarks;
    try {
      const segment = this.#chain.begin(newest + 1, durable);
      if (segment) this.#prepareStandby();
      else this.#fail(new Error('no segment is free'));
    } catch (error) {
      if (!(error instanceof AreaFailure)) throw error;
      this.#takeOver(error);
    }
  }

  #prepareStandby(): void {
    this.#chain.prepareStandby(this.#watermarks.durable, (failure) => {
      if (failure) {
        failure.area.become('failed', failure.message);
        this.#owner.areaChanged(failure.area);
        if (failure.area === this.#chain.current.area) this.#takeOver(failure);
        else this.#prepareStandby();
      }
      this.#owner.roomAppeared();
    });
  }

  /** Segments were freed: the next one may be prepared now. */
  segmentsFreed(): void {
    if (this.#state === 'open') this.#prepareStandby();
  }

  #durableAdvanced(): void {
    this.#idleMark.arm();
    this.#owner.durableAdvanced();
    this.#owner.roomAppeared();
  }

  #syncFailed(failure: AreaFailure): void {
    this.#takeOver(failure);
  }

  /**
   * A write or sync in this area failed. Its page cache can no longer be believed, and what was not
   * durable is written again elsewhere, from memory, under the same numbers (SAFETY 4).
   */
  #takeOver(failure: AreaFailure): void {
    if (this.#state !== 'open') return;
    if (failure.area.state === 'healthy' || failure.area.state === 'slow') {
      failure.area.become('failed', failure.message);
      this.#owner.areaChanged(failure.area);
    }
    this.#moveUnsynced(failure);
  }

  #moveUnsynced(cause: AreaFailure): void {
    let failure = cause;
    for (;;) {
      this.#commit.abandon();
      this.#chain.voidAfter(this.#watermarks.durable);
      try {
        const { durable } = this.#watermarks;
        if (!moveRuns(this.#retained, this.#chain, durable, this.#owner.recordMoved)) break;
        this.#prepareStandby();
        // The sync that hosts waited for was given up.
        this.#commit.start();
        return;
      } catch (error) {
        if (!(error instanceof AreaFailure)) throw error;
        failure = error;
        failure.area.become('failed', failure.message);
        this.#owner.areaChanged(failure.area);
      }
    }
    this.#fail(failure);
  }

  #fail(failure: Error): void {
    if (this.#state !== 'open') return;
    this.#state = 'failed';
    this.#stop();
    this.#retained.abandon();
    this.#owner.journalFailed(failure);
  }

  #stop(): void {
    this.#commit.stop();
    this.#idleMark.stop();
    this.#chain.stop();
  }
}

/** Resolves with why it could not be closed cleanly, if so. */
export function closeJournal(journal: Journal): Promise<Error | null> {
  return new Promise((resolve) => journal.close(resolve));
}
