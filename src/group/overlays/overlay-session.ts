import type { PrivateStore, StoreUser } from '../../history/private-store.ts';
import type { ReceiveSlab, ReceiveSlabs } from '../../journal/receive-slab.ts';
import type { Clock } from '../../platform/clock.ts';
import type { FileExtent } from '../../platform/disk.ts';
import { JnbdError, messageOf, systemErrorCode } from '../../platform/errors.ts';
import { blockBytes, MiB } from '../../platform/limits.ts';
import { extentStateOf } from '../../volume/volume-extents.ts';
import {
  addExtent,
  errno,
  type Errno,
  type ExportClient,
  type ExportSession,
  type ExtentList,
  type RangeEffect,
  readPending,
  type VolumeMetrics,
} from '../apply/export.ts';
import type { Overlay, OverlayUser, OverlayVolume } from './overlay.ts';
import { OverlayReads } from './overlay-reads.ts';

/** What is cleared in one turn; then the others have theirs. */
const clearBytesMax = 64 * MiB;

export interface OverlayGroup {
  readonly name: string;
  readonly clock: Clock;
  readonly slabs: ReceiveSlabs;
  readonly guard: { isShort(bytes: number): boolean; refused(): void };
}

/** Opens what is underneath, read-only. Throws JnbdError. */
export type OpenUnderlying = (client: ExportClient) => ExportSession;

/** How far a range has come that is cleared in parts. */
interface Progress {
  readonly effect: RangeEffect;
  readonly offset: number;
  readonly end: number;
  at: number;
}

const extent: FileExtent = { storage: 'data', end: 0, work: 0 };
/** In tenths of a microsecond: so long an answer looks at files. */
const lookWorkMax = 20_000;
const covered = 1;
const waits = 0;

/**
 * One connection to a volume that stands over another, which is never written: what is written goes to a private
 * store (SAFETY 29), whole blocks at a time. Of a block that is written in part the rest is brought first; the
 * request waits where it was received. Update numbers are the store's: a write is answered at once, FUA and FLUSH
 * once it is durable there.
 */
export class OverlaySession implements ExportSession, OverlayUser, StoreUser {
  readonly sizeBytes: number;
  readonly readOnly = false;
  readonly client: ExportClient;
  readonly metrics: VolumeMetrics;
  readonly fileDescriptor = -1;
  readonly plainThrough = Number.POSITIVE_INFINITY;
  /** Nobody there waits for updates of the group. */
  readonly waitsFor = 0;
  readonly #group: OverlayGroup;
  readonly #overlay: Overlay;
  readonly #volume: OverlayVolume;
  readonly #store: PrivateStore;
  #underlying: ExportSession | undefined;
  readonly #reads: OverlayReads;
  readonly #found: ExtentList = {
    count: 0,
    lengths: new Float64Array(64),
    states: new Uint8Array(64),
  };
  /** The block whose rest is brought, and what came of the last one. */
  readonly #edge = Buffer.alloc(blockBytes);
  #filling: number | undefined;
  #fillFailure = 0;
  #progress: Progress | undefined;
  #isParked = false;
  #isOpen = true;
  errorText = '';

  /** Throws volume_abnormal, and what `openUnderlying` does. */
  constructor(
    group: OverlayGroup,
    overlay: Overlay,
    volume: OverlayVolume,
    client: ExportClient,
    openUnderlying: OpenUnderlying,
  ) {
    this.#group = group;
    this.#overlay = overlay;
    this.#volume = volume;
    if (!volume.store) throw new JnbdError('volume_abnormal', this.#text(overlay.failure));
    this.#store = volume.store;
    this.client = client;
    this.metrics = volume.metrics;
    this.sizeBytes = volume.store.dataBytes;
    this.#underlying = overlay.isWhole
      ? undefined
      : openUnderlying({
          peer: client.peer,
          admitted: () => client.admitted(),
          durableReached: () => undefined,
          durableFailed: () => undefined,
          readCompleted: (token, error) => {
            this.#reads.underlyingCompleted(token, error);
            this.becameWhole();
          },
          revoke: (reason) => {
            if (!overlay.isWhole) client.revoke(reason);
          },
        });
    const underlying = (): ExportSession | undefined => this.#underlying;
    this.#reads = new OverlayReads(this.#store, underlying, (token, error, text) => {
      if (error !== 0) this.#fail(error, text);
      if (this.#isOpen) client.readCompleted(token, error);
    });
    this.#store.add(this);
    volume.sessions.add(this);
  }

  get slabs(): ReceiveSlabs {
    return this.#group.slabs;
  }

  get newest(): number {
    return this.#store.newest;
  }

  get durable(): number {
    return this.#store.durable;
  }

  get answerable(): number {
    return this.#store.durable;
  }

  /** Of the group: nothing of it concerns whoever writes here. */
  answerableAdvanced(): void {}

  durableReached(number: number): void {
    this.client.durableReached(number);
  }

  storeFailed(text: string): void {
    this.client.durableFailed(this.#store.durable + 1, errno.EIO, this.#text(text));
  }

  roomAppeared(): void {
    if (!this.#isParked) return;
    this.#isParked = false;
    this.client.admitted();
  }

  /** If it is, what is underneath is left, once nothing is read there any more. */
  becameWhole(): void {
    if (!this.#overlay.isWhole || this.#reads.isReadingUnderneath) return;
    this.#underlying?.close();
    this.#underlying = undefined;
  }

  admit(bytes: number): boolean {
    if (this.#store.failure !== '') return true;
    // What is written in part needs what is underneath, which may not be shown yet.
    if (this.#underlying?.admitsRead(0, this.sizeBytes) === false) return false;
    if (this.#store.admits(bytes)) return true;
    this.#isParked = true;
    return false;
  }

  readonly isPreserving = false;

  preserveAhead(): void {}

  giveMemoryBack(): void {}

  stampWrite(
    slab: ReceiveSlab,
    headerStart: number,
    headerBytes: 28 | 32,
    offset: number,
    length: number,
  ): number {
    const refusal = this.#refusal(length);
    if (refusal !== 0) return -refusal;
    if (length === 0) return this.newest;
    const result = this.#cover(offset, offset + length);
    if (result !== covered) return result;
    try {
      return this.#store.write(slab.bytes, headerStart + headerBytes, length, offset);
    } catch (error) {
      return -this.#writeFailed(error);
    }
  }

  stampRange(
    _slab: ReceiveSlab,
    _headerStart: number,
    _headerBytes: 28 | 32,
    effect: RangeEffect,
    offset: number,
    length: number,
  ): number {
    const refusal = this.#refusal(effect === 'zero' ? length : 0);
    if (refusal !== 0) return -refusal;
    const last = offset + length;
    const isTrim = effect === 'trim';
    // Of a block that is trimmed in part nothing is done.
    const start = isTrim ? Math.ceil(offset / blockBytes) * blockBytes : offset;
    const isToEnd = last === this.sizeBytes;
    const end = isTrim && !isToEnd ? Math.floor(last / blockBytes) * blockBytes : last;
    if (start >= end) return this.newest;
    const result = isTrim ? covered : this.#cover(start, end);
    if (result !== covered) return result;
    return this.#clear(effect, start, end);
  }

  stampPad(): void {}

  commitRun(): number {
    return 0;
  }

  retire(slab: ReceiveSlab): void {
    this.slabs.giveBack(slab);
  }

  requestDurable(number: number): void {
    if (number > this.#store.durable) this.#store.requestDurable(number);
  }

  admitsRead(offset: number, length: number): boolean {
    return this.#underlying?.admitsRead(offset, length) ?? true;
  }

  read(offset: number, length: number, bytes: Buffer, start: number, token: number): number {
    if (this.#store.failure !== '') return this.#fail(errno.EIO, this.#store.failure);
    const result = this.#reads.begin(offset, length, bytes, start, token);
    if (result > 0) this.#fail(result as Errno, this.#reads.errorText);
    return result;
  }

  bytesInFile(): number {
    return 0;
  }

  extents(offset: number, length: number, out: ExtentList): number {
    out.count = 0;
    if (this.#store.failure !== '') return this.#fail(errno.EIO, this.#store.failure);
    const end = Math.min(this.sizeBytes, offset + length);
    const endBlock = Math.ceil(end / blockBytes);
    try {
      for (let at = offset, work = 0; at < end && work < lookWorkMax; ) {
        const block = Math.floor(at / blockBytes);
        const isHere = this.#store.has(block);
        const stop = Math.min(end, this.#store.next(!isHere, block, endBlock) * blockBytes);
        if (!isHere) {
          const told = this.#extentsUnderneath(at, stop, out);
          if (told !== stop) return told < 0 ? -told : 0;
          at = stop;
        } else {
          this.#store.extent(at, stop, extent);
          work += extent.work;
          const length = Math.min(stop, extent.end) - at;
          if (!addExtent(out, length, extentStateOf[extent.storage])) return 0;
          at += length;
        }
      }
      return 0;
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
      return this.#fail(errno.EIO, messageOf(error));
    }
  }

  cache(): number {
    return 0;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#store.remove(this);
    this.#volume.sessions.delete(this);
    this.#underlying?.close();
  }

  /** How far `out` tells; a negated error number. */
  #extentsUnderneath(at: number, stop: number, out: ExtentList): number {
    const under = this.#underlying;
    if (!under) return -this.#fail(errno.EIO, 'what it stands over is gone');
    const found = this.#found;
    const error = under.extents(at, stop - at, found);
    if (error !== 0) return -this.#fail(error as Errno, under.errorText);
    let told = at;
    for (let i = 0; i < found.count && told < stop; i += 1) {
      const length = Math.min(found.lengths[i] ?? 0, stop - told);
      if (!addExtent(out, length, found.states[i] ?? 0)) return told;
      told += length;
    }
    return told;
  }

  /** Sees to it that blocks of [start, end) that are not overwritten whole are there: `covered`, `waits`, or a negated error number. */
  #cover(start: number, end: number): number {
    const first = Math.floor(start / blockBytes);
    const last = Math.floor((end - 1) / blockBytes);
    const isFirstWhole = start === first * blockBytes && (last > first || this.#endsBlock(end));
    const result = isFirstWhole ? covered : this.#bring(first);
    if (result !== covered || last === first || this.#endsBlock(end)) return result;
    return this.#bring(last);
  }

  #endsBlock(end: number): boolean {
    return end % blockBytes === 0 || end === this.sizeBytes;
  }

  /** What is underneath becomes a block of the store. */
  #bring(block: number): number {
    if (this.#filling !== undefined) return waits;
    const failure = this.#fillFailure;
    this.#fillFailure = 0;
    if (failure !== 0) return -failure;
    if (this.#store.has(block)) return covered;
    const offset = block * blockBytes;
    const length = Math.min(blockBytes, this.sizeBytes - offset);
    const result = this.#reads.readUnderneath(offset, length, this.#edge, (error, text) => {
      this.#filling = undefined;
      this.#fillFailure = error === 0 ? this.#fill(block) : this.#fail(error, text);
      if (this.#isOpen) this.client.admitted();
    });
    if (result === readPending) {
      this.#filling = block;
      return waits;
    }
    const error =
      result === 0 ? this.#fill(block) : this.#fail(result as Errno, this.#reads.errorText);
    return error === 0 ? covered : -error;
  }

  /** Somebody else may have written the block meanwhile: then it stays so. */
  #fill(block: number): number {
    try {
      if (this.#store.failure === '') this.#store.fill(block, this.#edge, 0);
      return 0;
    } catch (error) {
      return this.#writeFailed(error);
    }
  }

  #clear(effect: RangeEffect, offset: number, end: number): number {
    const before = this.#progress;
    this.#progress = undefined;
    const isSame = before?.effect === effect && before.offset === offset && before.end === end;
    const at = isSame ? before.at : offset;
    const stop = Math.min(end, at + clearBytesMax);
    try {
      const number = this.#store.clear(effect !== 'zero', at, stop - at);
      if (stop === end) return number;
    } catch (error) {
      return -this.#writeFailed(error);
    }
    this.#progress = { effect, offset, end, at: stop };
    this.#group.clock.soon(() => {
      if (this.#isOpen) this.client.admitted();
    });
    return waits;
  }

  #refusal(bytes: number): number {
    const { guard } = this.#group;
    if (this.#store.failure !== '') return this.#fail(errno.EIO, this.#store.failure);
    if (bytes === 0 || !guard.isShort(bytes)) return 0;
    guard.refused();
    return this.#fail(errno.ENOSPC, 'the file system has no room for this write');
  }

  #writeFailed(error: unknown): number {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    const isFull = code === 'ENOSPC' || code === 'EDQUOT';
    return this.#fail(isFull ? errno.ENOSPC : errno.EIO, messageOf(error));
  }

  #fail(error: Errno, what: string): Errno {
    this.errorText = this.#text(what);
    return error;
  }

  #text(what: string): string {
    const name = `${this.#group.name}/${this.#volume.entry.name}@${this.#overlay.name}`;
    return what.includes(name) ? what : `${name}: ${what}`;
  }
}
