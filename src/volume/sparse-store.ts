import type { Disk, DiskFile } from '../platform/disk.ts';
import { KiB, MiB } from '../platform/limits.ts';
import { zeroes } from '../platform/zeroes.ts';
import { type BlockStore, contentsPath } from './preserved-files.ts';

const copyBytes = 1 * MiB;
/** Reading so little and looking at it costs less than asking where the holes are. */
export const shortBytes = 64 * KiB;

/** Blocks at their own offsets, in a sparse file of the volume's layout. */
export class SparseStore implements BlockStore {
  readonly #file: DiskFile;

  constructor(disk: Disk, directory: string, id: number, sizeBytes: number) {
    this.#file = disk.openSync(contentsPath(directory, id), 'open-or-create', 'volume');
    if (this.#file.sizeSync() < sizeBytes) this.#file.truncateSync(sizeBytes);
  }

  copy(from: DiskFile, bounds: readonly number[]): void {
    for (let each = 0; each < bounds.length; each += 2) {
      const start = bounds[each] ?? 0;
      const end = bounds[each + 1] ?? 0;
      if (end - start <= shortBytes) {
        copyData(from, this.#file, start, end - start);
        continue;
      }
      for (const { at, length, isHole } of pieces(from, start, end))
        if (!isHole) copyPiece(from, this.#file, at, length);
    }
  }

  sync(): void {
    this.#file.dataSyncSync();
  }

  /** A piece at a time. */
  *restore(to: DiskFile, start: number, end: number): Generator<void> {
    for (const { at, length, isHole } of pieces(this.#file, start, end)) {
      if (isHole) to.punchHoleSync(at, length);
      else copyPiece(this.#file, to, at, length);
      yield;
    }
  }

  close(): void {
    this.#file.closeSync();
  }
}

export interface Piece {
  readonly at: number;
  readonly length: number;
  readonly isHole: boolean;
}

/** Data and holes between two offsets, no piece longer than a copy or a punch should be at a time. */
export function* pieces(file: DiskFile, start: number, end: number): Generator<Piece> {
  for (let at = start; at < end; ) {
    const data = file.nextDataSync(at);
    const isHole = data !== at;
    const next = isHole ? data : file.nextHoleSync(at);
    const until = Math.min(end, next > at ? next : end);
    for (; at < until; at += copyBytes) {
      yield { at, length: Math.min(copyBytes, until - at), isHole };
    }
    at = until;
  }
}

const buffer = new Uint8Array(copyBytes);

function copyPiece(from: DiskFile, to: DiskFile, at: number, length: number): void {
  const read = from.readSync(buffer, 0, length, at);
  buffer.fill(0, read, length);
  to.writeSync(buffer, 0, length, at);
}

/** What is all zeroes stays a hole, where nothing was written before. */
function copyData(from: DiskFile, to: DiskFile, at: number, length: number): void {
  const read = from.readSync(buffer, 0, length, at);
  buffer.fill(0, read, length);
  if (Buffer.compare(buffer.subarray(0, length), zeroes().subarray(0, length)) === 0) return;
  to.writeSync(buffer, 0, length, at);
}
