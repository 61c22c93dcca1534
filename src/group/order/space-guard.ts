import type { Clock, Timer } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { MiB, recordPayloadBytesMax } from '../../platform/limits.ts';

const pollMilliseconds = 250;
/** Left for metadata of the file system and for the catalog. */
const reserveBytes = 16 * MiB;

export interface SpaceGuardOwner {
  /** What apply has still to store, at most. */
  owedBytes(): number;
  /** A write was refused for want of space; or there is room again. */
  spaceChanged(isShort: boolean): void;
}

/**
 * Thin space (SAFETY 8): what is in the index has still to be stored, and is owed. A write that the
 * rest cannot hold gets ENOSPC when it arrives, not when it is applied.
 */
export class SpaceGuard {
  readonly #owner: SpaceGuardOwner;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #path: string;
  #freeBytes = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;
  #closed = false;
  #hasRefused = false;

  constructor(disk: Disk, clock: Clock, path: string, owner: SpaceGuardOwner) {
    this.#owner = owner;
    this.#disk = disk;
    this.#clock = clock;
    this.#path = path;
    this.#poll();
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** Whether `bytes` more of newly allocated space might not be there when they are applied. */
  isShort(bytes: number): boolean {
    return this.#freeBytes - this.#owner.owedBytes() - bytes < reserveBytes;
  }

  /** A write got ENOSPC. */
  refused(): void {
    if (this.#hasRefused) return;
    this.#hasRefused = true;
    this.#owner.spaceChanged(true);
  }

  look(): void {
    try {
      this.#freeBytes = this.#disk.freeBytesSync(this.#path);
    } catch {
      // Not being able to ask is no reason to refuse: apply will say what is wrong with the disk.
      this.#freeBytes = Number.POSITIVE_INFINITY;
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #poll(): void {
    if (this.#closed) return;
    this.look();
    if (this.#hasRefused && !this.isShort(recordPayloadBytesMax)) {
      this.#hasRefused = false;
      this.#owner.spaceChanged(false);
    }
    this.#timer = this.#clock.after(pollMilliseconds, () => this.#poll());
  }
}
