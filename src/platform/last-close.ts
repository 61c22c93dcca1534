import fs from 'node:fs';
import { MiB } from './limits.ts';

/** Closed at once up to here, by what the file has on disk. */
const quickBytesMax = 16 * MiB;

const waiting: number[] = [];
let isClosing = false;

/**
 * Closes a descriptor. The last one of a file that was removed gives back what that had, which takes a file
 * system seconds where it is large or in many pieces: the thread pool does that, one file at a time, so that no
 * more than one of its threads is away.
 */
export function closeDescriptor(descriptor: number): void {
  if (!mayTakeLong(descriptor)) {
    fs.closeSync(descriptor);
    return;
  }
  waiting.push(descriptor);
  if (!isClosing) closeNext();
}

function closeNext(): void {
  const descriptor = waiting.shift();
  isClosing = descriptor !== undefined;
  if (descriptor === undefined) return;
  // Whatever it says, the descriptor is gone, and so is the file.
  fs.close(descriptor, closeNext);
}

function mayTakeLong(descriptor: number): boolean {
  const { nlink, blocks } = fs.fstatSync(descriptor);
  return nlink === 0 && blocks * 512 > quickBytesMax;
}
