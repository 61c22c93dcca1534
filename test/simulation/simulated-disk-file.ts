import { assert } from '../../src/platform/assert.ts';
import {
  type DiskFile,
  type FileExtent,
  type FileRole,
  type ReadDone,
  restOfBlock,
  type SyncDone,
} from '../../src/platform/disk.ts';
import { systemError } from './simulated-directory.ts';
import type { SimulatedFile } from './simulated-file.ts';
import { ProcessDied, type SimulatedProcessDisk, type Strike } from './simulated-process-disk.ts';
import { pageBytes } from './sparse-image.ts';

const pageOfZeroes = new Uint8Array(pageBytes);

/** A process's handle of a simulated file. */
export class SimulatedDiskFile implements DiskFile {
  readonly path: string;
  readonly descriptor = -1;
  readonly #process: SimulatedProcessDisk;
  readonly #file: SimulatedFile;
  readonly #role: FileRole;
  readonly #isWritable: boolean;
  #isClosed = false;

  constructor(
    process: SimulatedProcessDisk,
    path: string,
    file: SimulatedFile,
    role: FileRole,
    isWritable: boolean,
  ) {
    this.#process = process;
    this.path = path;
    this.#file = file;
    this.#role = role;
    this.#isWritable = isWritable;
  }

  #check(what: string): void {
    if (this.#process.isDead) throw new ProcessDied();
    if (this.#isClosed) throw systemError('EBADF', what, this.path);
  }

  #checkRange(bytes: Uint8Array, start: number, length: number, position: number): void {
    assert(
      start >= 0 && length >= 0 && start + length <= bytes.length && position >= 0,
      `range ${start}+${length} of ${bytes.length} bytes at ${position} of ${this.path}`,
    );
  }

  readSync(bytes: Uint8Array, start: number, length: number, position: number): number {
    this.#check('read');
    this.#checkRange(bytes, start, length, position);
    const strike = this.#process.strike('read', this.#role, this.path);
    if (strike !== undefined) this.#struckRead(strike, length, position);
    return this.#file.read(bytes, start, length, position);
  }

  #struckRead(strike: Strike, length: number, position: number): void {
    this.#process.machine.clock.block(strike.delayMilliseconds);
    if (strike.failure !== undefined) this.#process.fail(strike.failure);
    if (strike.rotsBit) this.#process.machine.rotBitIn(this.#file, position, length);
  }

  /** Rules do not strike it: what is in the cache does not fail. */
  readIfCachedSync(bytes: Uint8Array, start: number, length: number, position: number): number {
    this.#check('read');
    this.#checkRange(bytes, start, length, position);
    const { random, cacheMissChance, counter } = this.#process.machine;
    if (random.chance(cacheMissChance)) {
      counter.count('cache_miss');
      return -1;
    }
    return this.#file.read(bytes, start, length, position);
  }

  isCachedSync(): boolean {
    return false;
  }

  read(bytes: Uint8Array, start: number, length: number, position: number, done: ReadDone): void {
    this.#check('read');
    this.#checkRange(bytes, start, length, position);
    const { random } = this.#process.machine;
    const strike = this.#process.strike('read', this.#role, this.path, true);
    if (strike?.failure instanceof ProcessDied) this.#process.fail(strike.failure);
    if (strike?.rotsBit) this.#process.machine.rotBitIn(this.#file, position, length);
    // The contents may be those of any moment until it is done; until then the buffer has noise.
    let early: Uint8Array | undefined;
    let earlyCount = 0;
    if (random.chance(0.5)) {
      early = new Uint8Array(length);
      earlyCount = this.#file.read(early, 0, length, position);
    }
    bytes.fill(random.int(256), start, start + length);
    this.#later(strike, () => {
      if (strike?.failure !== undefined) done(strike.failure, 0);
      else if (early !== undefined) {
        bytes.set(early.subarray(0, earlyCount), start);
        done(null, earlyCount);
      } else done(null, this.#file.read(bytes, start, length, position));
    });
  }

  #later(strike: Strike | undefined, run: () => void): void {
    const { clock, random, delayMillisecondsMax } = this.#process.machine;
    const delay = random.fraction() * delayMillisecondsMax + (strike?.delayMilliseconds ?? 0);
    clock.after(delay, () => {
      if (!this.#process.isDead) run();
    });
  }

  readDirectSync(bytes: Uint8Array, start: number, length: number, position: number): number {
    this.#check('read');
    this.#checkRange(bytes, start, length, position);
    const isAligned = this.#process.isAligned(bytes) && start % 4096 === 0;
    assert(isAligned && length % 4096 === 0 && position % 4096 === 0, 'direct reads are aligned');
    const strike = this.#process.strike('read', this.#role, this.path);
    if (strike !== undefined) this.#struckRead(strike, length, position);
    return this.#file.readDirect(bytes, start, length, position);
  }

  writeSync(bytes: Uint8Array, start: number, length: number, position: number): void {
    this.#checkWritable('write');
    this.#checkRange(bytes, start, length, position);
    const { machine } = this.#process;
    const strike = this.#process.strike('write', this.#role, this.path);
    if (strike !== undefined) {
      machine.clock.block(strike.delayMilliseconds);
      if (strike.failure !== undefined) {
        const written = machine.random.int(length + 1);
        this.#write(bytes, start, written, position);
        this.#tellWritten(bytes, start, written, position, false);
        this.#process.fail(strike.failure);
      }
    }
    if (machine.freeBytes < length + 2 * pageBytes)
      this.#writeWhatFits(bytes, start, length, position);
    else this.#write(bytes, start, length, position);
    this.#tellWritten(bytes, start, length, position, true);
  }

  appendSync(bytes: Uint8Array, start: number, length: number, position: number): void {
    this.writeSync(bytes, start, length, position);
    const end = position + length;
    const rest = restOfBlock(end);
    if (rest > 0) this.#write(pageOfZeroes, 0, rest, end);
  }

  #tellWritten(
    bytes: Uint8Array,
    start: number,
    length: number,
    position: number,
    isWhole: boolean,
  ): void {
    const { observer } = this.#process.machine;
    if (observer === undefined) return;
    const { path } = this;
    const role = this.#role;
    const { changeNumber } = this.#file;
    const write = { path, role, bytes, start, length, position, isWhole, changeNumber };
    observer.written(this.#file, write);
  }

  #write(bytes: Uint8Array, start: number, length: number, position: number): void {
    const before = this.#file.allocatedPages;
    this.#file.write(bytes, start, length, position);
    this.#process.machine.changed(this.#file, before);
  }

  #writeWhatFits(bytes: Uint8Array, start: number, length: number, position: number): void {
    for (let done = 0; done < length; ) {
      const part = Math.min(pageBytes - ((position + done) % pageBytes), length - done);
      this.#checkSpace(position + done, part);
      this.#write(bytes, start + done, part, position + done);
      done += part;
    }
  }

  #checkSpace(position: number, length: number): void {
    const { machine } = this.#process;
    if (machine.freeBytes >= this.#file.pagesNeeded(position, length) * pageBytes) return;
    machine.counter.count('disk_full');
    throw systemError('ENOSPC', 'write', this.path);
  }

  dataSyncSync(): void {
    this.#check('fdatasync');
    const strike = this.#process.strike('sync', this.#role, this.path);
    if (strike !== undefined) this.#process.machine.clock.block(strike.delayMilliseconds);
    this.#syncEnded(this.#file.changeNumber, strike?.failure);
    if (strike?.failure !== undefined) this.#process.fail(strike.failure);
  }

  dataSync(done: SyncDone): void {
    this.#check('fdatasync');
    const strike = this.#process.strike('sync', this.#role, this.path, true);
    if (strike?.failure instanceof ProcessDied) this.#process.fail(strike.failure);
    const covered = this.#file.changeNumber;
    this.#later(strike, () => {
      this.#syncEnded(covered, strike?.failure);
      done(strike?.failure ?? null);
    });
  }

  #syncEnded(covered: number, failure: Error | undefined): void {
    if (failure instanceof ProcessDied) return;
    if (failure === undefined) this.#file.synced(covered);
    else this.#file.syncFailed(covered, this.#process.machine.random);
    const { machine } = this.#process;
    machine.settled(this.#file);
    machine.observer?.synced(this.#file, this.path, this.#role, covered, failure === undefined);
  }

  /** What reaches the device without a sync may be lost all the same: nothing changes. */
  writeBack(_position: number, _length: number, done: SyncDone): void {
    this.#check('sync_file_range');
    this.#later(undefined, () => done(null));
  }

  beginWriteBackSync(_position: number, _length: number): void {
    this.#check('sync_file_range');
  }

  /** It would read as before, and there is no file system that would be the quicker for it. */
  fillReserved(_isWanted: () => boolean, done: () => void): void {
    done();
  }

  preallocateSync(position: number, length: number): void {
    this.#beforeChange('fallocate');
    if (length === 0) return;
    this.#checkSpace(position, length);
    const before = this.#file.allocatedPages;
    this.#file.preallocate(position, length);
    this.#process.machine.changed(this.#file, before);
  }

  punchHoleSync(position: number, length: number): void {
    this.#beforeChange('fallocate');
    if (length === 0) return;
    const before = this.#file.allocatedPages;
    this.#file.punch(position, length);
    this.#process.machine.changed(this.#file, before);
    this.#process.machine.observer?.cleared(this.#file, this.path, this.#role, position, length);
  }

  zeroRangeSync(position: number, length: number): void {
    this.#beforeChange('fallocate');
    if (length === 0) return;
    this.#checkSpace(position, length);
    const before = this.#file.allocatedPages;
    this.#file.zero(position, length);
    this.#process.machine.changed(this.#file, before);
    this.#process.machine.observer?.cleared(this.#file, this.path, this.#role, position, length);
  }

  truncateSync(sizeBytes: number): void {
    this.#beforeChange('ftruncate');
    const before = this.#file.allocatedPages;
    this.#file.truncate(sizeBytes);
    this.#process.machine.changed(this.#file, before);
  }

  #checkWritable(what: string): void {
    this.#check(what);
    if (!this.#isWritable) throw systemError('EBADF', what, this.path);
  }

  #beforeChange(what: string): void {
    this.#checkWritable(what);
    this.#process.strikeWhole('write', this.#role, this.path);
  }

  sizeSync(): number {
    this.#check('fstat');
    return this.#file.sizeBytes;
  }

  allocatedBytesSync(): number {
    this.#check('fstat');
    return this.#file.allocatedPages * pageBytes;
  }

  nextDataSync(position: number): number {
    this.#check('lseek');
    return this.#file.nextData(position);
  }

  nextHoleSync(position: number): number {
    this.#check('lseek');
    return this.#file.nextHole(position);
  }

  extentSync(position: number, end: number, extent: FileExtent): void {
    this.#check('ioctl');
    extent.work = 1;
    const data = this.#file.nextData(position);
    if (data === position) {
      extent.storage = 'data';
      extent.end = Math.min(end, this.#file.nextHole(position));
      return;
    }
    const found = this.#file.reservedUntil(position, Math.min(end, data));
    extent.storage = found.isReserved ? 'reserved' : 'hole';
    extent.end = found.end;
  }

  cloneRangeSync(from: DiskFile, fromPosition: number, length: number, position: number): boolean {
    this.#beforeChange('ioctl');
    if (!this.#process.machine.canShareBlocks || !(from instanceof SimulatedDiskFile)) return false;
    const source = from.#file;
    const isAligned = [fromPosition, length, position].every((at) => at % pageBytes === 0);
    if (!isAligned || fromPosition + length > source.sizeBytes || source === this.#file)
      return false;
    this.#checkSpace(position, length);
    const before = this.#file.allocatedPages;
    const page = new Uint8Array(pageBytes);
    for (let done = 0; done < length; done += pageBytes) {
      const at = fromPosition + done;
      // Shared are the device's blocks, not what the cache says of them.
      source.readDirect(page, 0, pageBytes, at);
      if (source.nextData(at) === at) this.#file.write(page, 0, pageBytes, position + done);
      else this.#file.punch(position + done, pageBytes);
    }
    if (this.#file.sizeBytes < position + length) this.#file.truncate(position + length);
    this.#process.machine.changed(this.#file, before);
    return true;
  }

  adviseNeeded(_position: number, _length: number): void {}

  adviseNotNeeded(_position: number, _length: number): void {}

  closeSync(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#process.closed(this, this.#file);
  }
}
