import type { Clock, Timer } from '../platform/clock.ts';
import type { Disk, DiskFile, FileExtent } from '../platform/disk.ts';
import { messageOf } from '../platform/errors.ts';
import { blockBytes, MiB } from '../platform/limits.ts';
import { zeroes } from '../platform/zeroes.ts';
import { areaBytes, blocksPerMapPage, mapStart } from '../volume/area-layout.ts';
import type { ReadOwner, ReadResult } from '../volume/volume-read.ts';
import { mapPageBytes, PreservedMap } from './preserved-map.ts';

/** What is written and not durable, at most: past it writers wait for a sync. */
const unsyncedBytesMax = 32 * MiB;
/** So long after a change a sync begins by itself: it bounds what the end of the process takes. */
const quietMilliseconds = 1000;

/** `syncing`: what was changed before it began is on its way. `failed`: what the file has is not known any more. */
export type StoreState = 'open' | 'syncing' | 'failed' | 'closed';

/** Whoever has the store open. */
export interface StoreUser {
  /** Everything up to this change is durable. */
  durableReached(number: number): void;
  /** There is room again. */
  roomAppeared(): void;
  storeFailed(text: string): void;
}

/**
 * What was written to one volume that begins as something else: a snapshot, or a view. A block is there whole
 * or not at all; where it is not, whoever reads goes to what is underneath. The file has the layout of an area
 * and belongs to this system alone; no journal knows of it.
 *
 * A change counts once it is durable, as on a disk with a cache: contents are synced, then bits are written and
 * synced, then `durable` rises. A crash leaves blocks without their bits, which are as if they were never
 * written, so whoever sets a bit writes all of the block, also where it should be a hole. Bits in the file are
 * only of blocks whose contents are durable: what is set while a sync runs waits for the next one.
 */
export class PrivateStore {
  readonly dataBytes: number;
  readonly #clock: Clock;
  readonly #file: DiskFile;
  readonly #map: PreservedMap;
  readonly #users = new Set<StoreUser>();
  readonly #changedPages = new Set<number>();
  /** Changes are numbered so that 0 is none. */
  #newest = 1;
  #durable = 1;
  #wanted = 1;
  #unsyncedBytes = 0;
  #state: StoreState = 'open';
  #timer: Timer | undefined;
  #failure = '';
  #closed: (() => void) | undefined;

  private constructor(clock: Clock, file: DiskFile, dataBytes: number) {
    this.#clock = clock;
    this.#file = file;
    this.dataBytes = dataBytes;
    this.#map = PreservedMap.inFile(file, dataBytes);
  }

  /** An empty one's file; its directory is the caller's to sync. Throws system errors. */
  static make(disk: Disk, path: string, dataBytes: number): void {
    const file = disk.openSync(path, 'create', 'volume');
    try {
      file.truncateSync(areaBytes(dataBytes));
      file.dataSyncSync();
    } finally {
      file.closeSync();
    }
  }

  /** What a process left that ended is synced, because nobody knows what of it was. Throws system errors. */
  static open(disk: Disk, clock: Clock, path: string, dataBytes: number): PrivateStore {
    const file = disk.openSync(path, 'read-write', 'volume');
    try {
      file.dataSyncSync();
      return new PrivateStore(clock, file, dataBytes);
    } catch (error) {
      file.closeSync();
      throw error;
    }
  }

  get state(): StoreState {
    return this.#state;
  }

  /** Why nothing can be read or written any more; empty: it can. */
  get failure(): string {
    return this.#failure;
  }

  get newest(): number {
    return this.#newest;
  }

  get durable(): number {
    return this.#durable;
  }

  get blocks(): number {
    return this.#map.blocks;
  }

  get allocatedBytes(): number {
    return this.#state === 'closed' ? 0 : this.#file.allocatedBytesSync();
  }

  has(block: number): boolean {
    return this.#map.has(block);
  }

  /** The first block of [from, to) that is there, or is not; `to`: none. */
  next(isThere: boolean, from: number, to: number): number {
    return this.#map.next(isThere, from, to);
  }

  add(user: StoreUser): void {
    this.#users.add(user);
  }

  remove(user: StoreUser): void {
    this.#users.delete(user);
  }

  /** False: what is not durable is too much already; `roomAppeared` follows. */
  admits(bytes: number): boolean {
    if (this.#unsyncedBytes === 0 || this.#unsyncedBytes + bytes <= unsyncedBytesMax) return true;
    this.#want(this.#newest);
    return false;
  }

  /** Of blocks that are there. As `VolumeReader.read`. */
  read(
    offset: number,
    length: number,
    bytes: Buffer,
    start: number,
    owner: ReadOwner,
    token: number,
  ): ReadResult {
    const read = this.#file.readIfCachedSync(bytes, start, length, offset);
    if (read === length) return 'done';
    this.#file.read(bytes, start, length, offset, (error, bytesRead) => {
      const isShort = !error && bytesRead < length;
      const why = isShort ? new Error(`${this.#file.path} ends at ${offset + bytesRead}`) : error;
      owner.readCompleted(token, why);
    });
    return 'pending';
  }

  /** Of blocks that are there. Throws system errors. */
  extent(offset: number, end: number, extent: FileExtent): void {
    this.#file.extentSync(offset, end, extent);
  }

  /** Blocks that are there in part are there already. The number of the change; throws system errors. */
  write(bytes: Uint8Array, start: number, length: number, offset: number): number {
    this.#file.writeSync(bytes, start, length, offset);
    return this.#changed(offset, length, length);
  }

  /** The same of zeroes; `isHole`: they need no space. */
  clear(isHole: boolean, offset: number, length: number): number {
    // What a crash left without a bit may stand there, so a hole has to be made even where nothing was written.
    const end = offset + length;
    const wholeEnd = end === this.dataBytes ? mapStart(this.dataBytes) : end;
    if (isHole) this.#file.punchHoleSync(offset, wholeEnd - offset);
    else this.#file.zeroRangeSync(offset, wholeEnd - offset);
    return this.#changed(offset, length, 0);
  }

  /** What is underneath, for a block that is not there: nothing changes for whoever reads. */
  fill(block: number, bytes: Uint8Array, start: number): void {
    if (this.#map.has(block)) return;
    const offset = block * blockBytes;
    const length = Math.min(blockBytes, this.dataBytes - offset);
    const isZero =
      Buffer.compare(bytes.subarray(start, start + length), zeroes().subarray(0, length)) === 0;
    if (isZero) this.#file.punchHoleSync(offset, blockBytes);
    else this.#file.writeSync(bytes, start, length, offset);
    this.#changed(offset, length, isZero ? 0 : length);
  }

  /** `durableReached` follows once all changes up to `number` are durable. */
  requestDurable(number: number): void {
    this.#want(number);
  }

  /** Everything written is durable, or the store failed. */
  settled(): Promise<void> {
    if (this.#durable === this.#newest || this.#state === 'failed') return Promise.resolve();
    return new Promise((resolve) => {
      const user: StoreUser = {
        durableReached: () => end(),
        roomAppeared: () => undefined,
        storeFailed: () => end(),
      };
      const through = this.#newest;
      const end = (): void => {
        if (this.#durable < through && this.#state !== 'failed') return;
        this.remove(user);
        resolve();
      };
      this.add(user);
      this.#want(through);
    });
  }

  /** Syncs what is owed. Nothing may be asked of it any more. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#failure ||= 'it is being closed';
    await this.settled();
    this.#timer?.cancel();
    if (this.#state === 'syncing') await new Promise<void>((resolve) => (this.#closed = resolve));
    this.#users.clear();
    this.#state = 'closed';
    this.#failure = 'it is closed';
    this.#file.closeSync();
  }

  #changed(offset: number, length: number, bytes: number): number {
    const from = Math.floor(offset / blockBytes);
    const to = Math.ceil((offset + length) / blockBytes);
    const isNew = this.#map.next(false, from, to) < to;
    if (isNew) {
      this.#map.set(from, to);
      const lastPage = Math.floor((to - 1) / blocksPerMapPage);
      for (let page = Math.floor(from / blocksPerMapPage); page <= lastPage; page += 1)
        this.#changedPages.add(page);
    }
    this.#unsyncedBytes += bytes;
    this.#newest += 1;
    this.#timer ??= this.#clock.after(quietMilliseconds, () => {
      this.#timer = undefined;
      this.#want(this.#newest);
    });
    return this.#newest;
  }

  #want(number: number): void {
    this.#wanted = Math.max(this.#wanted, number);
    if (this.#state === 'open' && this.#wanted > this.#durable) this.#sync();
    if (this.#state === 'failed') this.#clock.soon(() => this.#tellFailed());
  }

  #sync(): void {
    this.#state = 'syncing';
    this.#timer?.cancel();
    this.#timer = undefined;
    const through = this.#newest;
    const bytes = this.#unsyncedBytes;
    // As they are now: bits that are set later are of contents that this sync may not cover.
    const pages = [...this.#changedPages].map((page) => ({
      page,
      bits: this.#map.copyOfPage(page),
    }));
    this.#changedPages.clear();
    this.#file.dataSync((error) => {
      if (error) return this.#fail(error);
      if (pages.length === 0) return this.#synced(through, bytes);
      try {
        for (const { page, bits } of pages)
          this.#file.writeSync(
            bits,
            0,
            mapPageBytes,
            mapStart(this.dataBytes) + page * mapPageBytes,
          );
      } catch (failure) {
        return this.#fail(failure as Error);
      }
      this.#file.dataSync((mapError) => {
        if (mapError) this.#fail(mapError);
        else this.#synced(through, bytes);
      });
    });
  }

  #synced(through: number, bytes: number): void {
    this.#state = 'open';
    this.#durable = through;
    this.#unsyncedBytes -= bytes;
    for (const user of this.#users) user.durableReached(through);
    for (const user of this.#users) user.roomAppeared();
    this.#closed?.();
    if (this.#wanted > through) this.#want(this.#wanted);
  }

  /** A page cache may have lost what it was to write: nothing of it is to be trusted before it is opened again. */
  #fail(error: Error): void {
    this.#state = 'failed';
    this.#failure = `${this.#file.path} cannot be written: ${messageOf(error)}`;
    this.#tellFailed();
    this.#closed?.();
  }

  #tellFailed(): void {
    if (this.#state !== 'failed') return;
    for (const user of this.#users) user.storeFailed(this.#failure);
    for (const user of this.#users) user.roomAppeared();
  }
}
