import type { DiskFile, FileExtent } from './disk.ts';
import { zeroes } from './zeroes.ts';

const restMilliseconds = 1;

/** `DiskFile.fillReserved`, of a file that is on a device. */
export function fillReserved(file: DiskFile, isWanted: () => boolean, done: () => void): void {
  const extent: FileExtent = { storage: 'data', end: 0, work: 0 };
  let at = 0;
  /** False: there is nothing more to write. */
  function begin(then: () => void): boolean {
    const size = file.sizeSync();
    while (at < size) {
      file.extentSync(at, size, extent);
      if (extent.storage === 'reserved') break;
      at = extent.end;
    }
    if (at >= size) return false;
    const from = at;
    const piece = zeroes();
    // No more at once: nobody's sync waits long behind it.
    at = Math.min(extent.end, from + piece.length);
    file.writeSync(piece, 0, at - from, from);
    file.writeBack(from, at - from, then);
    return true;
  }
  function step(): void {
    try {
      if (isWanted() && begin(rest)) return;
    } catch {
      // Whoever writes there is told.
    }
    done();
  }
  function rest(): void {
    setTimeout(step, restMilliseconds).unref();
  }
  step();
}
