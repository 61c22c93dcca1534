import path from 'node:path';
import { assert } from '../../src/platform/assert.ts';
import type { Disk, DiskFile, FileLock, FileRole, OpenMode } from '../../src/platform/disk.ts';
import { systemErrorCode } from '../../src/platform/errors.ts';
import { segmentBytes } from '../../src/platform/limits.ts';
import type { DiskOperation } from './faults.ts';
import { SimulatedDirectory, type SimulatedNode, systemError } from './simulated-directory.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { SimulatedDiskFile } from './simulated-disk-file.ts';
import { SimulatedFile } from './simulated-file.ts';

/** What every call of a process throws once it is dead: whoever catches it can do no harm. */
export class ProcessDied extends Error {
  readonly code = 'PROCESS_DIED';

  constructor() {
    super('the simulated process is dead');
    this.name = 'ProcessDied';
  }
}

/** What is to go wrong with an operation. */
export interface Strike {
  delayMilliseconds: number;
  rotsBit: boolean;
  /** Thrown, or passed on, after what may be done in part was. */
  failure: Error | undefined;
}

/** For whole segments: each life takes one, and what a dead process had nobody looks at. */
const largeBuffers: Uint8Array[] = [];

function absolute(name: string): string {
  return path.posix.resolve('/', name);
}

/** One process's view of a simulated disk. */
export class SimulatedProcessDisk implements Disk {
  readonly machine: SimulatedDisk;
  readonly #locks = new Set<SimulatedFile>();
  readonly #handles = new Set<SimulatedDiskFile>();
  readonly #alignedBuffers = new WeakSet<ArrayBufferLike>();
  readonly #largeBuffers: Uint8Array[] = [];
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
    for (const handle of this.#handles) handle.closeSync();
    largeBuffers.push(...this.#largeBuffers.splice(0));
    this.#died?.();
  }

  /** For the handles. */
  closed(handle: SimulatedDiskFile, file: SimulatedFile): void {
    if (this.#handles.delete(handle)) this.machine.release(file);
  }

  /** Before every operation that rules are about: what is to go wrong with it. */
  strike(
    operation: DiskOperation,
    role: FileRole | undefined,
    file: string,
    isLater = false,
  ): Strike | undefined {
    if (this.#isDead) throw new ProcessDied();
    this.machine.countOperation();
    const rules = this.machine.faults.strike(operation, role, file, isLater);
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

  isLockedSync(name: string): boolean {
    const node = this.machine.tree.find(absolute(name));
    return node !== undefined && !node.isDirectory && this.machine.isLocked(node);
  }

  allocateAligned(length: number): Uint8Array {
    const isLarge = length === segmentBytes;
    const bytes = (isLarge ? largeBuffers.pop() : undefined) ?? new Uint8Array(length);
    if (isLarge) this.#largeBuffers.push(bytes);
    this.#alignedBuffers.add(bytes.buffer);
    return bytes;
  }

  isAligned(bytes: Uint8Array): boolean {
    return this.#alignedBuffers.has(bytes.buffer) && bytes.byteOffset % 4096 === 0;
  }
}
