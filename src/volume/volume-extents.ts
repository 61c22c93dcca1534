import { blockBytes } from '../platform/limits.ts';
import type { DiskFile, FileExtent } from '../platform/disk.ts';
import type { BlockIndex } from './block-index.ts';
import type { NodeKind } from './node-kind.ts';
import { nodeKind } from './node-kind.ts';

/** State of an extent, as NBD's base:allocation has it. */
export const extentState = { data: 0, zero: 2, hole: 3 } as const;

export const extentStateOf: Readonly<Record<FileExtent['storage'], number>> = {
  data: extentState.data,
  reserved: extentState.zero,
  hole: extentState.hole,
};

/** Where extents go: merged by the taker. False: it has enough. */
export type ExtentTaker = (length: number, state: number) => boolean;

/** While anything is unapplied, an answer looks at this many blocks at most; clients ask again. */
const indexedBlocksMax = 16384;
/** And the backing file for so long, in tenths of a microsecond. */
const workMax = 20_000;

/**
 * The true extents of a volume, also of what is only in the journal: index over backing file.
 * `allocated` is conservative: a hole may be reported as data, never data as a hole.
 */
export class VolumeExtents {
  readonly #index: BlockIndex;
  #take: ExtentTaker = () => false;
  #file: DiskFile | undefined;
  /** Of what is asked about. */
  #end = 0;
  #wantsMore = true;
  /** The extent of the file that holds the last offset asked for. */
  #fileStart = 0;
  #fileEnd = 0;
  #fileState: number = extentState.data;
  #work = 0;
  readonly #found: FileExtent = { storage: 'data', end: 0, work: 0 };

  constructor(index: BlockIndex) {
    this.#index = index;
  }

  /** Tells `take` the extents of [offset, offset + length) in order. */
  list(
    volume: number,
    file: DiskFile,
    sizeBytes: number,
    offset: number,
    length: number,
    take: ExtentTaker,
  ): void {
    this.#take = take;
    this.#file = file;
    this.#end = Math.min(sizeBytes, offset + length);
    this.#wantsMore = true;
    this.#fileStart = 0;
    this.#fileEnd = 0;
    this.#work = 0;
    if (this.#index.isEmpty) {
      this.missing(offset, offset + length);
      return;
    }
    const end = Math.min(offset + length, offset + indexedBlocksMax * blockBytes);
    const step = blockBytes - (offset % blockBytes);
    // Block by block, because the pieces of one block may come out of order.
    for (let at = offset; at < end; ) {
      if (!this.#wantsMore) return;
      const stop = at === offset ? Math.min(end, at + step) : Math.min(end, at + blockBytes);
      this.#block(volume, at, stop);
      at = stop;
    }
  }

  readonly #starts: number[] = [];
  readonly #states: number[] = [];
  readonly #ends: number[] = [];
  #pieces = 0;

  #block(volume: number, start: number, end: number): void {
    this.#pieces = 0;
    this.#index.search(volume, start, end - start, this.#collector);
    if (this.#pieces === 0) {
      this.missing(start, end);
      return;
    }
    // A block that anything allocates is reported as data whole: extents stay multiples of a block.
    let state: number = extentState.hole;
    for (let i = 0; i < this.#pieces; i += 1) {
      const piece = this.#states[i] ?? 0;
      const part =
        piece === -1 ? this.#stateInFile(this.#starts[i] ?? 0, this.#ends[i] ?? 0) : piece;
      if (part === extentState.data) state = extentState.data;
      else if (part === extentState.zero && state === extentState.hole) state = extentState.zero;
    }
    this.#emit(end - start, state);
  }

  readonly #collector = {
    piece: (kind: NodeKind, start: number, end: number): void => {
      const state =
        kind === nodeKind.data
          ? extentState.data
          : kind === nodeKind.zero
            ? extentState.zero
            : extentState.hole;
      this.#add(start, end, state);
    },
    missing: (start: number, end: number): void => this.#add(start, end, -1),
  };

  #add(start: number, end: number, state: number): void {
    this.#starts[this.#pieces] = start;
    this.#ends[this.#pieces] = end;
    this.#states[this.#pieces] = state;
    this.#pieces += 1;
  }

  #stateInFile(start: number, end: number): number {
    this.#locate(start);
    return this.#fileEnd >= end ? this.#fileState : extentState.data;
  }

  missing(start: number, end: number): void {
    for (let at = start; at < end; ) {
      if (!this.#wantsMore) return;
      this.#locate(at);
      const stop = Math.min(end, this.#fileEnd);
      this.#emit(stop - at, this.#fileState);
      at = stop;
    }
  }

  #locate(offset: number): void {
    if (offset >= this.#fileStart && offset < this.#fileEnd) return;
    const file = this.#file;
    if (!file) return;
    const found = this.#found;
    file.extentSync(offset, this.#end, found);
    this.#fileStart = offset;
    this.#fileEnd = found.end;
    this.#fileState = extentStateOf[found.storage];
    this.#work += found.work;
  }

  #emit(length: number, state: number): void {
    if (!this.#take(length, state) || this.#work > workMax) this.#wantsMore = false;
  }
}
