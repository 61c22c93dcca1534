import fs from 'node:fs';
import { assert } from './assert.ts';
import {
  type DiskFile,
  type FileExtent,
  type FileRole,
  type ReadDone,
  restOfBlock,
  type SyncDone,
} from './disk.ts';
import { systemErrorCode } from './errors.ts';
import { findExtent, seekExtent, tellsExtents } from './extent-map.ts';
import { fillReserved } from './fill-reserved.ts';
import * as fileSpace from './file-space.ts';
import { closeDescriptor } from './last-close.ts';
import { KiB } from './limits.ts';
import { addressOf, isMissing } from './native.ts';
import * as systemCalls from './system-calls.ts';
import { zeroes } from './zeroes.ts';

const { O_RDONLY, O_DIRECT } = fs.constants;

/** Where single bytes are read to, to see whether that waits. */
const probe = new Uint8Array(new ArrayBuffer(1));

const tmpfsType = 0x01021994;

/**
 * Of a volume no more is written in one call. The page cache keeps in one folio what came in one call, and ext4
 * goes through all blocks of a folio for each later write into it, and again to write it back: behind calls of
 * 1 MiB a random write of 4 KiB takes 9 microseconds, of 256 KiB 4.9, of 32 KiB 2.8, of 4 KiB 1.8 (Linux 6.18).
 * Large writes themselves lose nothing that shows.
 */
const volumeWriteBytesMax = 32 * KiB;

/**
 * An open file. After `closeSync` its descriptor is -1 and every call fails; the real descriptor is
 * closed once no asynchronous call uses it any more, so that none of them meets another file that
 * was given the same number.
 */
export class NodeDiskFile implements DiskFile {
  readonly path: string;
  readonly #writeBytesMax: number;
  #descriptor: number;
  #directDescriptor: number | undefined;
  #readsDirectly = true;
  #whenCannotTell: 'ask' | 'read' | 'miss' = 'ask';
  #tellsCached = true;
  #tellsExtents: boolean | undefined;
  #asynchronousCalls = 0;
  #descriptorToClose = -1;

  constructor(path: string, descriptor: number, role: FileRole) {
    this.path = path;
    this.#descriptor = descriptor;
    this.#writeBytesMax = role === 'volume' ? volumeWriteBytesMax : Infinity;
  }

  get descriptor(): number {
    return this.#descriptor;
  }

  readSync(bytes: Uint8Array, start: number, length: number, position: number): number {
    return readFullySync(this.#descriptor, bytes, start, length, position);
  }

  readIfCachedSync(bytes: Uint8Array, start: number, length: number, position: number): number {
    if (this.#whenCannotTell !== 'ask') return this.#readUntold(bytes, start, length, position);
    let total = 0;
    while (total < length) {
      const count = systemCalls.readCached(
        this.#descriptor,
        bytes,
        start + total,
        length - total,
        position + total,
      );
      if (count === 0) break;
      if (count === systemCalls.notCached) return -1;
      if (count === systemCalls.cannotTell) {
        // tmpfs of older kernels cannot tell but is memory; elsewhere a read could block.
        const isMemory = fs.statfsSync(this.path).type === tmpfsType;
        this.#whenCannotTell = isMemory ? 'read' : 'miss';
        return this.#readUntold(bytes, start, length, position);
      }
      total += count;
    }
    return total;
  }

  #readUntold(bytes: Uint8Array, start: number, length: number, position: number): number {
    if (this.#whenCannotTell === 'miss') return -1;
    return this.readSync(bytes, start, length, position);
  }

  isCachedSync(position: number, length: number): boolean {
    if (!this.#tellsCached || this.#descriptor === -1) return false;
    const isCached = systemCalls.hasPagesCached(this.#descriptor, position, length);
    if (isCached === undefined) this.#tellsCached = false;
    // Pages that are just being read in were counted too. They come in order: the ends tell.
    return isCached === true && this.#isThere(position) && this.#isThere(position + length - 1);
  }

  #isThere(position: number): boolean {
    return systemCalls.readCached(this.#descriptor, probe, 0, 1, position) === 1;
  }

  read(bytes: Uint8Array, start: number, length: number, position: number, done: ReadDone): void {
    this.#readRest(bytes, start, length, position, 0, this.#descriptor, done);
  }

  #readRest(
    bytes: Uint8Array,
    start: number,
    length: number,
    position: number,
    before: number,
    descriptor: number,
    done: ReadDone,
  ): void {
    const left = length - before;
    fs.read(descriptor, bytes, start + before, left, position + before, (error, count) => {
      const total = before + count;
      if (error === null && count > 0 && total < length) {
        this.#readRest(bytes, start, length, position, total, descriptor, done);
      }
      this.#asynchronousCallEnded();
      if (error !== null) done(error, 0);
      else if (count === 0 || total === length) done(null, total);
    });
    this.#asynchronousCalls++; // After it: a call that throws has not begun.
  }

  readDirectSync(bytes: Uint8Array, start: number, length: number, position: number): number {
    const address = (addressOf(bytes) ?? 0) + start;
    // Else EINVAL below would be the caller's fault and quietly be answered from the page cache.
    assert(
      address % 4096 === 0 && length % 4096 === 0 && position % 4096 === 0,
      'direct reads are aligned',
    );
    if (this.#readsDirectly) {
      try {
        // By descriptor, not by path: the file may have been renamed since.
        const again = `/proc/self/fd/${this.#descriptor}`;
        this.#directDescriptor ??= fs.openSync(again, O_RDONLY | O_DIRECT);
        return readFullySync(this.#directDescriptor, bytes, start, length, position, 4096);
      } catch (error) {
        if (!['EINVAL', 'ENOENT'].includes(systemErrorCode(error) ?? '')) throw error;
        this.#readsDirectly = false;
      }
    }
    return this.readSync(bytes, start, length, position);
  }

  writeSync(bytes: Uint8Array, start: number, length: number, position: number): void {
    for (let written = 0; written < length; ) {
      // Calls end at multiples: who ended within a page would have to read that first.
      const room = this.#writeBytesMax - ((position + written) % this.#writeBytesMax);
      // A short write means a full disk, a limit or a signal: the next one says which.
      const count = fs.writeSync(
        this.#descriptor,
        bytes,
        start + written,
        Math.min(length - written, room),
        position + written,
      );
      if (count === 0)
        throw new Error(`write of ${length - written} bytes to ${this.path} wrote 0`);
      written += count;
    }
  }

  appendSync(bytes: Uint8Array, start: number, length: number, position: number): void {
    const rest = restOfBlock(position + length);
    if (rest === 0) {
      this.writeSync(bytes, start, length, position);
      return;
    }
    const parts = [bytes.subarray(start, start + length), zeroes().subarray(0, rest)];
    const written = fs.writevSync(this.#descriptor, parts, position);
    // Zeroes that are missing cost a read, no more.
    if (written >= length) return;
    this.writeSync(bytes, start + written, length - written, position + written);
  }

  dataSyncSync(): void {
    fs.fdatasyncSync(this.#descriptor);
  }

  dataSync(done: SyncDone): void {
    fs.fdatasync(this.#descriptor, (error) => {
      this.#asynchronousCallEnded();
      done(error);
    });
    this.#asynchronousCalls++;
  }

  writeBack(position: number, length: number, done: SyncDone): void {
    systemCalls.writeBack(this.#descriptor, position, length, (error) => {
      this.#asynchronousCallEnded();
      done(error);
    });
    this.#asynchronousCalls++;
  }

  beginWriteBackSync(position: number, length: number): void {
    systemCalls.beginWriteBack(this.#descriptor, position, length);
  }

  fillReserved(isWanted: () => boolean, done: () => void): void {
    fillReserved(this, isWanted, done);
  }

  preallocateSync(position: number, length: number): void {
    try {
      fileSpace.preallocate(this.#descriptor, position, length);
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.#fillHoles(position, position + length);
    }
  }

  /** Writes zeroes wherever the range has no data yet. */
  #fillHoles(position: number, end: number): void {
    const size = this.sizeSync();
    for (let at = position; at < end; ) {
      const hole = at < size ? Math.min(this.nextHoleSync(at), end) : at;
      const data = hole < size ? this.nextDataSync(hole) : size;
      const holeEnd = data < size ? Math.min(data, end) : end;
      this.#writeZeroes(hole, holeEnd);
      at = holeEnd;
    }
  }

  punchHoleSync(position: number, length: number): void {
    try {
      fileSpace.punchHole(this.#descriptor, position, length);
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.#writeZeroes(position, Math.min(position + length, this.sizeSync()));
    }
  }

  zeroRangeSync(position: number, length: number): void {
    try {
      fileSpace.zeroRange(this.#descriptor, position, length);
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.#writeZeroes(position, position + length);
    }
  }

  #writeZeroes(position: number, end: number): void {
    const piece = zeroes();
    for (let at = position; at < end; at += piece.length) {
      this.writeSync(piece, 0, Math.min(piece.length, end - at), at);
    }
  }

  truncateSync(sizeBytes: number): void {
    fs.ftruncateSync(this.#descriptor, sizeBytes);
  }

  sizeSync(): number {
    return fs.fstatSync(this.#descriptor).size;
  }

  allocatedBytesSync(): number {
    return fs.fstatSync(this.#descriptor).blocks * 512;
  }

  nextDataSync(position: number): number {
    try {
      return fileSpace.seekData(this.#descriptor, position) ?? this.sizeSync();
    } catch (error) {
      if (!isMissing(error)) throw error;
      return Math.min(position, this.sizeSync());
    }
  }

  nextHoleSync(position: number): number {
    try {
      return fileSpace.seekHole(this.#descriptor, position) ?? this.sizeSync();
    } catch (error) {
      if (!isMissing(error)) throw error;
      return this.sizeSync();
    }
  }

  extentSync(position: number, end: number, extent: FileExtent): void {
    this.#tellsExtents ??= tellsExtents(fs.statfsSync(`/proc/self/fd/${this.#descriptor}`).type);
    if (this.#tellsExtents) {
      if (findExtent(this.#descriptor, position, end, extent)) return;
      this.#tellsExtents = false;
    }
    seekExtent(this, position, end, extent);
  }

  cloneRangeSync(from: DiskFile, fromPosition: number, length: number, position: number): boolean {
    return fileSpace.cloneRange(this.#descriptor, position, from.descriptor, fromPosition, length);
  }

  adviseNeeded(position: number, length: number): void {
    systemCalls.adviseNeeded(this.#descriptor, position, length);
  }

  adviseNotNeeded(position: number, length: number): void {
    systemCalls.adviseNotNeeded(this.#descriptor, position, length);
  }

  closeSync(): void {
    if (this.#descriptor === -1) return;
    if (this.#directDescriptor !== undefined) fs.closeSync(this.#directDescriptor);
    this.#readsDirectly = false;
    this.#descriptorToClose = this.#descriptor;
    this.#descriptor = -1;
    if (this.#asynchronousCalls === 0) closeDescriptor(this.#descriptorToClose);
  }

  #asynchronousCallEnded(): void {
    this.#asynchronousCalls--;
    if (this.#asynchronousCalls === 0 && this.#descriptor === -1) {
      closeDescriptor(this.#descriptorToClose);
    }
  }
}

/**
 * Fewer bytes than `length` only at the end of the file. A count that is not a multiple of `unit`
 * is the end: going on from there would be a misaligned direct read.
 */
function readFullySync(
  descriptor: number,
  bytes: Uint8Array,
  start: number,
  length: number,
  position: number,
  unit = 1,
): number {
  let total = 0;
  while (total < length) {
    const left = length - total;
    const count = fs.readSync(descriptor, bytes, start + total, left, position + total);
    total += count;
    if (count === 0 || count % unit !== 0) break;
  }
  return total;
}
