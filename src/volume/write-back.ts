import type { DiskFile } from '../platform/disk.ts';
import { MiB } from '../platform/limits.ts';

/**
 * How much of a volume is written to the device at a time. A journal's sync that comes meanwhile
 * waits for that much at most: handed over all at once, the gigabytes of a checkpoint kept FUA writes
 * waiting for hundreds of milliseconds.
 */
const regionBytes = 8 * MiB;

/** Which parts of the volumes were written since they were last taken. */
export class DirtyRegions {
  readonly #regions = new Map<number, Set<number>>();

  /** A length of 0: the volume is to be synced, and no region needs to be written back before. */
  note(volume: number, offset: number, length: number): void {
    let regions = this.#regions.get(volume);
    if (!regions) {
      regions = new Set();
      this.#regions.set(volume, regions);
    }
    const last = Math.floor((offset + length - 1) / regionBytes);
    for (let region = Math.floor(offset / regionBytes); region <= last; region += 1) {
      regions.add(region);
    }
  }

  forget(volume: number): void {
    this.#regions.delete(volume);
  }

  /** Everything noted, by volume, in order of address. What is noted from now on is for the next. */
  take(): { volume: number; regions: number[] }[] {
    const taken = [...this.#regions].map(([volume, regions]) => ({
      volume,
      regions: [...regions].sort((a, b) => a - b),
    }));
    this.#regions.clear();
    return taken;
  }
}

/**
 * Brings the regions of one volume to the device, one after the other, then syncs it: what was
 * written before the call is durable when `done` comes without an error. It gives up, without one,
 * when the file is closed on the way.
 */
export function writeBackAndSync(
  file: DiskFile,
  regions: readonly number[],
  isOpen: () => boolean,
  done: (error: Error | null) => void,
): void {
  let next = 0;
  const step = (error: Error | null): void => {
    if (error || !isOpen()) {
      done(error);
      return;
    }
    const region = regions[next];
    next += 1;
    if (region === undefined) file.dataSync(done);
    else file.writeBack(region * regionBytes, regionBytes, step);
  };
  step(null);
}
