import type { Clock, Timer } from '../platform/clock.ts';
import type { Disk } from '../platform/disk.ts';
import { MiB } from '../platform/limits.ts';

const pollMilliseconds = 250;
/** Left for metadata of the file system and for the catalog. */
const reserveBytes = 16 * MiB;

/**
 * Thin space (SAFETY 8): what hosts wrote and apply has still to store is owed. A write that the rest
 * cannot hold gets ENOSPC when it arrives, not when it is applied.
 */
export class SpaceGuard {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #path: string;
  #freeBytes = Number.POSITIVE_INFINITY;
  #owedBytes = 0;
  #timer: Timer | undefined;
  #closed = false;

  constructor(disk: Disk, clock: Clock, path: string) {
    this.#disk = disk;
    this.#clock = clock;
    this.#path = path;
    this.#poll();
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  get owedBytes(): number {
    return this.#owedBytes;
  }

  /** Whether `bytes` more of newly allocated space might not be there when they are applied. */
  isShort(bytes: number): boolean {
    return this.#freeBytes - this.#owedBytes - bytes < reserveBytes;
  }

  owe(bytes: number): void {
    this.#owedBytes += bytes;
  }

  /** Apply stored (or overwrote) these; what it allocated shows at the next look. */
  settle(bytes: number): void {
    this.#owedBytes = Math.max(0, this.#owedBytes - bytes);
    this.look();
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
    this.#timer = this.#clock.after(pollMilliseconds, () => this.#poll());
  }
}
