import { type ReceiveSlab, type ReceiveSlabs, scratchSlab } from '../../journal/receive-slab.ts';
import { recordHeaderBytes, recordType } from '../../journal/record.ts';
import { messageOf } from '../../platform/errors.ts';
import { recordPayloadBytesMax, slabBytes } from '../../platform/limits.ts';
import { BlockTable } from '../../volume/block-table.ts';
import { nodeKind } from '../../volume/node-kind.ts';
import type { ReadOwner } from '../../volume/volume-read.ts';
import { isAllocated } from '../apply/allocated-range.ts';
import type {
  ExportClient,
  ExportSession,
  ExtentList,
  RangeEffect,
  VolumeMetrics,
  WritesAhead,
} from '../apply/export.ts';
import { addExtent, errno, readPending } from '../apply/export.ts';
import type { Group } from './group.ts';
import { acceptsHostWrites } from '../catalog/states.ts';
import { type OpenSession, rollbackText, type Volume } from '../apply/volume.ts';
import { preserved } from '../snapshots/preserver.ts';

const slabNodes = BlockTable.nodesFor(slabBytes, true);
const rangeNodes = BlockTable.nodesFor(recordPayloadBytesMax, false);

/** One host connection to one volume: the write path of the group as a door uses it. */
export class HostSession implements ExportSession, OpenSession, ReadOwner {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly client: ExportClient;
  readonly metrics: VolumeMetrics;
  readonly #group: Group;
  readonly #volume: Volume;
  readonly #fills: boolean;
  errorText = '';
  waitsFor = 0;
  #requesting = false;
  #open = true;

  /** `fills`: it may write to a volume that no host may, to give it the contents that it is to have. */
  constructor(group: Group, volume: Volume, client: ExportClient, fills = false) {
    this.#fills = fills;
    this.#group = group;
    this.#volume = volume;
    this.client = client;
    this.sizeBytes = volume.catalog.sizeBytes;
    this.readOnly = group.role !== 'primary';
    this.metrics = volume.metrics;
  }

  get slabs(): ReceiveSlabs {
    return this.#group.slabs;
  }

  get newest(): number {
    // Who writes nothing waits for nothing, least of all for another system.
    return this.readOnly ? this.answerable : this.#group.watermarks.newest;
  }

  get durable(): number {
    return this.#group.watermarks.durable;
  }

  get answerable(): number {
    return this.#group.replies.gate.answerable;
  }

  get plainThrough(): number {
    return this.#group.replies.gate.plainThrough;
  }

  admit(bytes: number): boolean {
    const group = this.#group;
    if (group.refusesWrites) return true;
    if (group.hosts.isHeld) {
      group.park(this);
      return false;
    }
    if (
      group.journal.admits(bytes) &&
      group.replies.admits(bytes, group.chain) &&
      group.index.admits(slabNodes, group.chain.current.header.sequence + 1)
    ) {
      return true;
    }
    if (group.journalIsFullFor(bytes)) return true;
    group.park(this);
    return false;
  }

  get isPreserving(): boolean {
    return this.#group.snapshots.isPreserving;
  }

  preserveAhead(writes: WritesAhead): void {
    const { refusesWrites, hosts, snapshots } = this.#group;
    const { state, rollsBackTo } = this.#volume;
    const isShut = !acceptsHostWrites(state) || rollsBackTo !== undefined;
    if (refusesWrites || hosts.isHeld || isShut) return;
    snapshots.ahead.preserve(this.#volume, writes);
  }

  giveMemoryBack(): void {
    this.#group.snapshots.ahead.release();
  }

  stampWrite(
    slab: ReceiveSlab,
    headerStart: number,
    headerBytes: 28 | 32,
    offset: number,
    length: number,
  ): number {
    const refusal = this.#refusal(offset, length);
    if (refusal !== 0) return -refusal;
    const { journal, index, snapshots } = this.#group;
    const { id, journalOnly } = this.#volume.catalog;
    let recordBytes = headerBytes + length;
    if (snapshots.isPreserving) {
      const result = snapshots.preserver.prepare(this, this.#volume, offset, length);
      if (result !== preserved) return this.#notPreserved(result);
      recordBytes += snapshots.preserver.recordBytes;
    }
    const { write } = recordType;
    const number = journal.stamp(slab, headerStart, headerBytes, write, id, offset, length);
    this.#group.replies.stamped(number, id, offset, length, recordBytes);
    const { segment, payloadOffset } = journal.place;
    if (journalOnly) {
      index.active.note(number, segment.header.sequence, payloadOffset + length);
    } else {
      index.active.insertData(id, offset, length, number, segment.header.sequence, payloadOffset);
    }
    return number;
  }

  stampRange(
    slab: ReceiveSlab,
    headerStart: number,
    headerBytes: 28 | 32,
    effect: RangeEffect,
    offset: number,
    length: number,
  ): number {
    // What is to stay allocated needs its space as a write does.
    const refusal = this.#refusal(offset, effect === 'zero' ? length : 0);
    if (refusal !== 0) return -refusal;
    if (this.#group.snapshots.isPreserving && length > 0)
      return this.#clearPreserving(slab, headerStart, headerBytes, effect, offset, length);
    return this.#clear(slab, headerStart, headerBytes, effect, offset, length);
  }

  #clear(
    slab: ReceiveSlab,
    start: number,
    headerBytes: 28 | 32,
    effect: RangeEffect,
    offset: number,
    length: number,
  ): number {
    const { journal, index, replies } = this.#group;
    const { id, journalOnly } = this.#volume.catalog;
    const type = effect === 'zero' ? recordType.zero : recordType.hole;
    const number = journal.stamp(slab, start, headerBytes, type, id, offset, length);
    replies.stamped(number, id, offset, length, headerBytes);
    const { segment, payloadOffset } = journal.place;
    const { sequence } = segment.header;
    if (journalOnly || length === 0) {
      index.active.note(number, sequence, payloadOffset);
    } else {
      const kind = effect === 'zero' ? nodeKind.zero : nodeKind.hole;
      index.active.insertRange(id, kind, offset, length, number, sequence, payloadOffset);
    }
    return number;
  }

  /** What is done of it before it waits, or fails, is appended at once: nobody else will. */
  #clearPreserving(
    slab: ReceiveSlab,
    start: number,
    headerBytes: 28 | 32,
    effect: RangeEffect,
    offset: number,
    length: number,
  ): number {
    const { index, chain, snapshots, watermarks, replies } = this.#group;
    const stampPart = (at: number, bytes: number): number => {
      const isAdmitted = index.admits(rangeNodes, chain.current.header.sequence + 1);
      if (!isAdmitted || !replies.admits(headerBytes, chain)) return 0;
      return this.#clear(scratchSlab(headerBytes), 0, headerBytes, effect, at, bytes);
    };
    if (effect === 'trim') {
      const number = snapshots.cleared.trim(this.#volume, offset, length, stampPart);
      // There is nothing to wait for but what is numbered already.
      return number === 0 ? watermarks.newest : number;
    }
    const result = snapshots.cleared.prepare(
      this,
      this.#volume,
      effect === 'zero' ? recordType.zero : recordType.hole,
      offset,
      length,
      stampPart,
    );
    if (result >= 0)
      return this.#clear(slab, start, headerBytes, effect, result, offset + length - result);
    if (this.commitRun() !== 0) return -errno.EIO;
    return this.#notPreserved(result + 1);
  }

  /** `waits`, or a negated error number. */
  #notPreserved(result: number): number {
    if (result < 0) this.errorText = this.#group.snapshots.preserver.errorText;
    return result;
  }

  stampPad(slab: ReceiveSlab, headerStart: number, headerBytes: 28 | 32): void {
    this.#group.journal.stampPad(slab, headerStart, headerBytes);
  }

  commitRun(): number {
    const committed = this.#group.journal.commitRun();
    this.#group.appended();
    if (committed) return 0;
    this.errorText = this.#group.failureText;
    return errno.EIO;
  }

  retire(slab: ReceiveSlab): void {
    this.#group.retained.retire(slab, this.#group.watermarks.durable);
  }

  requestDurable(number: number): void {
    if (number <= this.answerable) return;
    this.waitsFor = Math.max(this.waitsFor, number);
    this.#requesting = true;
    if (number > this.durable) this.#group.requestDurable(this);
    this.#requesting = false;
    if (this.waitsFor <= this.answerable) this.waitsFor = 0;
  }

  answerableAdvanced(answerable: number): void {
    if (this.waitsFor === 0 || this.#requesting) return;
    if (this.waitsFor <= answerable) this.waitsFor = 0;
    this.client.durableReached(answerable);
  }

  admitsRead(offset: number, length: number): boolean {
    if (!this.#group.replies.holds(this.#volume.catalog.id, offset, length)) return true;
    this.#group.park(this);
    return false;
  }

  read(offset: number, length: number, bytes: Buffer, start: number, token: number): number {
    const volume = this.#volume;
    if (this.#isShut()) return errno.ESHUTDOWN;
    if (!volume.file || volume.state === 'abnormal') {
      this.errorText = volume.catalog.journalOnly
        ? `volume ${this.#group.name}/${volume.catalog.name} is journal-only: it stores nothing that could be read`
        : `volume ${this.#group.name}/${volume.catalog.name} is abnormal: ${volume.failure}`;
      return errno.EIO;
    }
    try {
      const result = this.#group.reader.read(
        volume.catalog.id,
        volume.file,
        offset,
        length,
        bytes,
        start,
        this,
        token,
      );
      return result === 'done' ? 0 : readPending;
    } catch (error) {
      return this.#readFailed(error);
    }
  }

  readCompleted(token: number, failure: Error | null): void {
    if (this.#open) this.client.readCompleted(token, failure ? this.#readFailed(failure) : 0);
  }

  /**
   * The socket refers to the file's pages until the host takes them, and apply may change them before.
   * What it writes is durable (invariant 1), and of a write that is under way together with this
   * read: a disk promises nothing there, and a read that the thread pool does late sees it as well.
   * Journal segments are never sent so: used again, their pages would show what is no part of it.
   */
  bytesInFile(offset: number, length: number): number {
    const { file, state, catalog, rollsBackTo } = this.#volume;
    if (!file || state === 'abnormal' || rollsBackTo !== undefined) return 0;
    const bytes = this.#group.reader.bytesInFile(catalog.id, offset, length);
    try {
      return bytes > 0 && file.isCachedSync(offset, bytes) ? bytes : 0;
    } catch {
      return 0; // `read` will say why.
    }
  }

  get fileDescriptor(): number {
    return this.#volume.file?.descriptor ?? -1;
  }

  extents(offset: number, length: number, out: ExtentList): number {
    out.count = 0;
    const volume = this.#volume;
    if (this.#isShut()) return errno.ESHUTDOWN;
    if (!volume.file) {
      out.lengths[0] = length;
      out.states[0] = 0;
      out.count = 1;
      return 0;
    }
    // What is behind the range may be held.
    let left = this.#group.replies.gate.isActive ? length : this.sizeBytes;
    try {
      this.#group.extents.list(
        volume.catalog.id,
        volume.file,
        this.sizeBytes,
        offset,
        length,
        (wholeLength, state) => {
          const extentLength = Math.min(wholeLength, left);
          if (extentLength === 0) return false;
          left -= extentLength;
          return addExtent(out, extentLength, state);
        },
      );
      return 0;
    } catch (error) {
      return this.#readFailed(error);
    }
  }

  cache(offset: number, length: number): number {
    this.#volume.file?.adviseNeeded(offset, length);
    return 0;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#volume.sessions.delete(this);
    this.#group.snapshots.forget(this);
    this.#group.sessionClosed(this);
  }

  #readFailed(error: unknown): number {
    this.errorText = `reading ${this.#group.name}/${this.#volume.catalog.name}: ${messageOf(error)}`;
    return errno.EIO;
  }

  /** Its contents are on their way back: they are of no one instant. */
  #isShut(): boolean {
    if (this.#volume.rollsBackTo === undefined || this.#fills) return false;
    this.errorText = rollbackText(this.#group.name, this.#volume) ?? '';
    return true;
  }

  #refusal(offset: number, length: number): number {
    const group = this.#group;
    const volume = this.#volume;
    if (group.refusesWrites) {
      this.errorText = group.failureText;
      return group.state === 'closing' ? errno.ESHUTDOWN : errno.EIO;
    }
    if (!acceptsHostWrites(volume.state) && !(this.#fills && volume.state === 'unused')) {
      this.errorText = `volume ${group.name}/${volume.catalog.name} is ${volume.state}: ${volume.failure}`;
      return errno.EIO;
    }
    if (this.#isShut()) return errno.ESHUTDOWN;
    if (group.journalIsFullFor(length + recordHeaderBytes * 2)) {
      this.errorText = `the journal of group ${group.name} is full, and what it holds is still needed`;
      return errno.ENOSPC;
    }
    if (length > 0 && group.guard.isShort(length) && !isAllocated(volume.file, offset, length)) {
      group.guard.refused();
      this.errorText = `the file system below volume ${group.name}/${volume.catalog.name} has no room for this write`;
      return errno.ENOSPC;
    }
    return 0;
  }
}
