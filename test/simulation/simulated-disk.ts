import type { FileRole } from '../../src/platform/disk.ts';
import { diskFaultKinds, FaultCounter, FaultPlan } from './faults.ts';
import type { SimulatedClock } from './simulated-clock.ts';
import { SimulatedTree, systemError } from './simulated-directory.ts';
import type { SimulatedFile } from './simulated-file.ts';
import { SimulatedProcessDisk } from './simulated-process-disk.ts';
import type { SimulatedRandom } from './simulated-random.ts';
import { pageBytes } from './sparse-image.ts';

/** Told of what processes do to contents, as it happens; it must not use the disk meanwhile. */
export interface DiskObserver {
  /**
   * Bytes [start, start + length) went to `position`. `isWhole` is false where the operation failed
   * after these. The change is durable once a sync covered `changeNumber`.
   */
  written(
    file: SimulatedFile,
    write: {
      readonly path: string;
      readonly role: FileRole;
      readonly bytes: Uint8Array;
      readonly start: number;
      readonly length: number;
      readonly position: number;
      readonly isWhole: boolean;
      readonly changeNumber: number;
    },
  ): void;
  /** The range reads as zero from now on. */
  cleared(
    file: SimulatedFile,
    path: string,
    role: FileRole,
    position: number,
    length: number,
  ): void;
  /** A sync of all changes before `changeNumber` has ended. */
  synced(
    file: SimulatedFile,
    path: string,
    role: FileRole,
    changeNumber: number,
    ok: boolean,
  ): void;
}

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
  observer: DiskObserver | undefined;
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

  isLocked(file: SimulatedFile): boolean {
    return this.#locked.has(file);
  }

  unlock(file: SimulatedFile): void {
    this.#locked.delete(file);
  }
}
