import path from 'node:path';
import { assert } from '../../src/platform/assert.ts';
import type { Disk, DiskFile, FileLock, FileRole, OpenMode } from '../../src/platform/disk.ts';
import { systemErrorCode } from '../../src/platform/errors.ts';
import { type DiskOperation, diskFaultKinds, FaultCounter, FaultPlan } from './faults.ts';
import type { SimulatedClock } from './simulated-clock.ts';
import {
  SimulatedDirectory,
  type SimulatedNode,
  SimulatedTree,
  systemError,
} from './simulated-directory.ts';
import { SimulatedDiskFile } from './simulated-disk-file.ts';
import { SimulatedFile } from './simulated-file.ts';
import type { SimulatedRandom } from './simulated-random.ts';
import { pageBytes } from './sparse-image.ts';

export interface SimulatedDiskOptions {
  readonly clock: SimulatedClock;
  readonly random: SimulatedRandom;
  /** The counter to use, where several disks report together. */
  readonly counter?: FaultCounter;
  readonly capacityBytes?: number;
  /** Longest time that an asynchronous read or sync takes. */
  readonly delayMillisecondsMax?: number;
  /** How often a cached read answers that it would have to ask the device. */
  readonly cacheMissChance?: number;
  readonly canShareBlocks?: boolean;
  readonly isRotational?: boolean;
}

/** What every call of a process throws once it is dead: whoever catches it can do no harm. */
export class ProcessDied extends Error {
  readonly code = 'PROCESS_DIED';

  constructor() {
    super('the simulated process is dead');
    this.name = 'ProcessDied';
  }
}

/**
 * A disk that survives its processes: `attach` gives a process its view. What was written but not
 * synced is decided by `powerLost`. All chance comes from `random`, all time from `clock`.
 */
export class SimulatedDisk {
  readonly faults: FaultPlan;
  readonly counter: FaultCounter;
  readonly tree = new SimulatedTree();
  readonly clock: SimulatedClock;
  readonly random: SimulatedRandom;
  readonly canShareBlocks: boolean;
  readonly isRotational: boolean;
  readonly delayMillisecondsMax: number;
  readonly cacheMissChance: number;
  capacityBytes: number;
  readonly #processes = new Set<SimulatedProcessDisk>();
  /** Files with a name or an open handle: their pages are what the disk is filled with. */
  #files = new Map<SimulatedFile, number>();
  readonly #locked = new Set<SimulatedFile>();
  readonly #unsettled = new Set<SimulatedFile>();
  #allocatedPages = 0;
  #operations = 0;

  constructor(options: SimulatedDiskOptions) {
    this.clock = options.clock;
    this.random = options.random.fork('disk');
    this.counter = options.counter ?? new FaultCounter();
    this.counter.expect(diskFaultKinds);
    this.faults = new FaultPlan(this.random.fork('faults'));
    this.capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
    this.delayMillisecondsMax = options.delayMillisecondsMax ?? 2;
    this.cacheMissChance = options.cacheMissChance ?? 0.05;
    this.canShareBlocks = options.canShareBlocks ?? false;
    this.isRotational = options.isRotational ?? false;
  }

  /** Operations of all processes so far. */
  get operations(): number {
    return this.#operations;
  }

  get allocatedBytes(): number {
    return this.#allocatedPages * pageBytes;
  }

  get freeBytes(): number {
    return Math.max(0, this.capacityBytes - this.allocatedBytes);
  }

  /** The disk as a process sees it. `died` is called when the process dies, by a rule or a crash. */
  attach(died?: () => void): SimulatedProcessDisk {
    const view = new SimulatedProcessDisk(this, died);
    this.#processes.add(view);
    return view;
  }

  /** Processes die (all of them, or one); the machine goes on: what they wrote stays. */
  processCrash(view?: SimulatedProcessDisk): void {
    this.counter.count('process_crash');
    for (const process of view === undefined ? [...this.#processes] : [view]) {
      process.kill();
      this.#processes.delete(process);
    }
  }

  /** The machine loses power: of what was not synced, chance decides what is there. */
  powerLost(): void {
    this.counter.count('power_loss');
    for (const process of this.#processes) process.kill();
    this.#processes.clear();
    this.#locked.clear();
    this.tree.powerLost(this.random, this.counter);
    for (const file of this.#unsettled) file.powerLost(this.random, this.counter);
    this.#unsettled.clear();
    this.#files = new Map([...this.tree.files()].map((file) => [file, 1]));
    this.#allocatedPages = 0;
    for (const file of this.#files.keys()) this.#allocatedPages += file.allocatedPages;
  }

  /** Memory pressure: what is clean is read from the device again. */
  dropCache(): void {
    for (const file of this.#files.keys()) file.dropCache();
  }

  /** Flips a random bit of what the device holds of a file; false where it holds nothing. */
  rotBit(file: string): boolean {
    const node = this.tree.find(file);
    if (node === undefined || node.isDirectory) throw systemError('ENOENT', 'rot', file);
    const pages = node.pagesOnDevice();
    if (pages.length === 0) return false;
    return this.rotBitIn(node, this.random.pick(pages) * pageBytes, pageBytes);
  }

  rotBitIn(file: SimulatedFile, position: number, length: number): boolean {
    const isFlipped = file.flipBit(position, length, this.random);
    if (isFlipped) this.counter.count('bit_rot');
    return isFlipped;
  }

  countOperation(): void {
    this.#operations++;
  }

  /** A name or a handle more; the file counts while it has one. */
  hold(file: SimulatedFile): void {
    const holds = this.#files.get(file) ?? 0;
    if (holds === 0) this.#allocatedPages += file.allocatedPages;
    this.#files.set(file, holds + 1);
  }

  release(file: SimulatedFile): void {
    const holds = this.#files.get(file) ?? 0;
    if (holds > 1) {
      this.#files.set(file, holds - 1);
      return;
    }
    if (this.#files.delete(file)) this.#allocatedPages -= file.allocatedPages;
  }

  /** Contents changed; before it the file had so many pages allocated. */
  changed(file: SimulatedFile, allocatedPagesBefore: number): void {
    this.#allocatedPages += file.allocatedPages - allocatedPagesBefore;
    this.#unsettled.add(file);
  }

  settled(file: SimulatedFile): void {
    if (file.isSettled) this.#unsettled.delete(file);
  }

  lock(file: SimulatedFile): boolean {
    if (this.#locked.has(file)) return false;
    this.#locked.add(file);
    return true;
  }

  unlock(file: SimulatedFile): void {
    this.#locked.delete(file);
  }
}

/** What is to go wrong with an operation. */
export interface Strike {
  delayMilliseconds: number;
  rotsBit: boolean;
  /** Thrown, or passed on, after what may be done in part was. */
  failure: Error | undefined;
}

function absolute(name: string): string {
  return path.posix.resolve('/', name);
}

/** One process's view of a simulated disk. */
export class SimulatedProcessDisk implements Disk {
  readonly machine: SimulatedDisk;
  readonly #locks = new Set<SimulatedFile>();
  readonly #handles = new Set<SimulatedDiskFile>();
  readonly #alignedBuffers = new WeakSet<ArrayBufferLike>();
  readonly #died: (() => void) | undefined;
  #isDead = false;

  constructor(machine: SimulatedDisk, died?: () => void) {
    this.machine = machine;
    this.#died = died;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  kill(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    for (const file of this.#locks) this.machine.unlock(file);
    for (const handle of [...this.#handles]) handle.closeSync();
    this.#died?.();
  }

  /** For the handles. */
  closed(handle: SimulatedDiskFile, file: SimulatedFile): void {
    if (this.#handles.delete(handle)) this.machine.release(file);
  }

  /** Before every operation that rules are about: what is to go wrong with it. */
  strike(operation: DiskOperation, role: FileRole | undefined, file: string): Strike | undefined {
    if (this.#isDead) throw new ProcessDied();
    this.machine.countOperation();
    const rules = this.machine.faults.strike(operation, role, file);
    if (rules.length === 0) return undefined;
    const strike: Strike = { delayMilliseconds: 0, rotsBit: false, failure: undefined };
    for (const { kind, milliseconds } of rules) {
      if (kind === 'bit_rot') {
        strike.rotsBit = true; // Counted where there is a bit to flip.
        continue;
      }
      this.machine.counter.count(kind);
      if (kind === 'slow') strike.delayMilliseconds += milliseconds ?? 1000;
      else if (kind === 'death') strike.failure = new ProcessDied();
      else if (kind === 'no_space') strike.failure ??= systemError('ENOSPC', operation, file);
      else strike.failure ??= systemError('EIO', operation, file);
    }
    return strike;
  }

  /** As `strike`, for what is done as a whole or not at all, and takes its time in the thread. */
  strikeWhole(operation: DiskOperation, role: FileRole | undefined, file: string): void {
    const strike = this.strike(operation, role, file);
    if (strike === undefined) return;
    this.machine.clock.block(strike.delayMilliseconds);
    if (strike.failure !== undefined) this.fail(strike.failure);
  }

  fail(failure: Error): never {
    if (failure instanceof ProcessDied) this.machine.processCrash(this);
    throw failure;
  }

  openSync(name: string, mode: OpenMode, role: FileRole): DiskFile {
    const file = absolute(name);
    const found = this.machine.tree.lookUp(file, 'open');
    const creates = mode === 'create' || mode === 'open-or-create';
    this.strikeWhole(creates && found === undefined ? 'entry' : 'read', role, file);
    const node = this.#openNode(file, found, mode);
    this.machine.hold(node);
    const handle = new SimulatedDiskFile(this, name, node, role, mode !== 'read');
    this.#handles.add(handle);
    return handle;
  }

  #openNode(file: string, found: SimulatedNode | undefined, mode: OpenMode): SimulatedFile {
    if (found !== undefined) {
      if (mode === 'create') throw systemError('EEXIST', 'open', file);
      if (found.isDirectory) throw systemError('EISDIR', 'open', file);
      return found;
    }
    const place = this.machine.tree.place(file, 'open');
    if (mode === 'read' || mode === 'read-write') throw systemError('ENOENT', 'open', file);
    const created = new SimulatedFile();
    this.machine.tree.add(place, created);
    this.machine.hold(created);
    return created;
  }

  readFileSync(name: string, role: FileRole): Uint8Array | undefined {
    let file: DiskFile;
    try {
      file = this.openSync(name, 'read', role);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    try {
      const bytes = new Uint8Array(file.sizeSync());
      file.readSync(bytes, 0, bytes.length, 0);
      return bytes;
    } finally {
      file.closeSync();
    }
  }

  replaceFileSync(name: string, contents: Uint8Array, role: FileRole): void {
    const temporary = `${name}.tmp`;
    try {
      const file = this.openSync(temporary, 'open-or-create', role);
      try {
        file.truncateSync(0);
        file.writeSync(contents, 0, contents.length, 0);
        file.dataSyncSync();
      } finally {
        file.closeSync();
      }
      this.renameSync(temporary, name);
    } catch (error) {
      if (!this.#isDead && this.machine.tree.find(absolute(temporary)) !== undefined) {
        this.removeFileSync(temporary);
      }
      throw error;
    }
    this.syncDirectorySync(path.posix.dirname(absolute(name)));
  }

  existsSync(name: string): boolean {
    if (this.#isDead) throw new ProcessDied();
    return this.machine.tree.find(absolute(name)) !== undefined;
  }

  isDirectorySync(name: string): boolean {
    if (this.#isDead) throw new ProcessDied();
    return this.machine.tree.find(absolute(name))?.isDirectory ?? false;
  }

  listSync(name: string): string[] {
    if (this.#isDead) throw new ProcessDied();
    return [...this.machine.tree.directory(absolute(name), 'list').entries.keys()].sort();
  }

  makeDirectorySync(name: string): void {
    const directory = absolute(name);
    if (directory === '/') return;
    const parent = path.posix.dirname(directory);
    if (!this.isDirectorySync(parent)) this.makeDirectorySync(parent);
    const found = this.machine.tree.find(directory);
    if (found === undefined) {
      this.strikeWhole('entry', undefined, directory);
      const place = this.machine.tree.place(directory, 'mkdir');
      this.machine.tree.add(place, new SimulatedDirectory());
    } else if (!found.isDirectory) {
      throw systemError('EEXIST', 'mkdir', directory);
    }
    this.syncDirectorySync(parent);
  }

  renameSync(fromName: string, toName: string): void {
    const from = absolute(fromName);
    const to = absolute(toName);
    this.strikeWhole('entry', undefined, from);
    const { tree } = this.machine;
    const fromPlace = tree.place(from, 'rename');
    const toPlace = tree.place(to, 'rename');
    const node = tree.lookUp(from, 'rename');
    if (node === undefined) throw systemError('ENOENT', 'rename', from);
    const replaced = tree.lookUp(to, 'rename');
    if (to.startsWith(`${from}/`)) throw systemError('EINVAL', 'rename', to);
    if (from.startsWith(`${to}/`)) throw systemError('ENOTEMPTY', 'rename', to);
    if (replaced === node) return;
    if (replaced?.isDirectory === true) {
      if (!node.isDirectory) throw systemError('EISDIR', 'rename', to);
      if (replaced.entries.size > 0) throw systemError('ENOTEMPTY', 'rename', to);
    } else if (replaced !== undefined && node.isDirectory) {
      throw systemError('ENOTDIR', 'rename', to);
    }
    tree.move(fromPlace, toPlace);
    if (replaced !== undefined && !replaced.isDirectory) this.machine.release(replaced);
  }

  removeFileSync(name: string): void {
    const file = absolute(name);
    this.strikeWhole('entry', undefined, file);
    const node = this.machine.tree.lookUp(file, 'unlink');
    if (node === undefined) throw systemError('ENOENT', 'unlink', file);
    if (node.isDirectory) throw systemError('EISDIR', 'unlink', file);
    this.machine.tree.remove(this.machine.tree.place(file, 'unlink'));
    this.machine.release(node);
  }

  removeDirectorySync(name: string): void {
    const directory = absolute(name);
    this.strikeWhole('entry', undefined, directory);
    const node = this.machine.tree.directory(directory, 'rmdir');
    if (node.entries.size > 0) throw systemError('ENOTEMPTY', 'rmdir', directory);
    this.machine.tree.remove(this.machine.tree.place(directory, 'rmdir'));
  }

  syncDirectorySync(name: string): void {
    const directory = absolute(name);
    const node = this.machine.tree.directory(directory, 'open');
    this.strikeWhole('sync_directory', undefined, directory);
    this.machine.tree.sync(node);
  }

  freeBytesSync(name: string): number {
    if (!this.existsSync(name)) throw systemError('ENOENT', 'statfs', name);
    return this.machine.freeBytes;
  }

  isRotationalSync(_name: string): boolean {
    return this.machine.isRotational;
  }

  lockSync(name: string): FileLock | undefined {
    const file = absolute(name);
    const handle = this.openSync(file, 'open-or-create', 'lock');
    handle.closeSync();
    const node = this.machine.tree.find(file);
    assert(node !== undefined && !node.isDirectory, 'the file of a lock is there');
    if (!this.machine.lock(node)) return undefined;
    this.#locks.add(node);
    return {
      release: () => {
        if (this.#locks.delete(node) && !this.#isDead) this.machine.unlock(node);
      },
    };
  }

  allocateAligned(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#alignedBuffers.add(bytes.buffer);
    return bytes;
  }

  isAligned(bytes: Uint8Array): boolean {
    return this.#alignedBuffers.has(bytes.buffer) && bytes.byteOffset % 4096 === 0;
  }
}
