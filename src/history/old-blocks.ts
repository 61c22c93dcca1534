import { type ReceiveSlab, scratchSlab } from '../journal/receive-slab.ts';
import { recordHeaderBytes } from '../journal/record.ts';
import type { DiskFile } from '../platform/disk.ts';
import { blockBytes, MiB } from '../platform/limits.ts';
import type { ReadOwner, VolumeReader } from '../volume/volume-read.ts';

/** Reads under way for host writes that wait, at most; a single one always may. */
const readingBytesMax = 8 * MiB;

/** Whose blocks are to be preserved, and in which area. */
export interface PreservedVolume {
  readonly area: number;
  readonly volume: number;
  readonly file: DiskFile;
  readonly dataBytes: number;
}

/** `reading`: the pool has it. `read` and `failed` end when whoever waited takes it, or wants something else. */
export type OldBlocksState = 'reading' | 'read' | 'failed';

/**
 * What blocks [from, to) hold, behind room for a record's header. A block that its area does not have was not
 * written since the area began, so what was read of it at any time since is what it holds.
 */
export class OldBlocksRead implements ReadOwner {
  readonly area: number;
  readonly from: number;
  readonly to: number;
  readonly slab: ReceiveSlab;
  readonly #ended: (read: OldBlocksRead) => void;
  state: OldBlocksState = 'reading';
  failure: Error | null = null;

  constructor(area: number, from: number, to: number, ended: (read: OldBlocksRead) => void) {
    this.area = area;
    this.from = from;
    this.to = to;
    this.slab = scratchSlab(recordHeaderBytes + (to - from) * blockBytes);
    this.#ended = ended;
  }

  get bytes(): number {
    return this.slab.bytes.length;
  }

  covers(area: number, from: number, to: number): boolean {
    return this.area === area && this.from <= from && to <= this.to;
  }

  readCompleted(_token: number, failure: Error | null): void {
    this.end(failure);
    this.#ended(this);
  }

  end(failure: Error | null): void {
    this.state = failure ? 'failed' : 'read';
    this.failure = failure;
  }
}

/** Old contents of blocks that host writes wait for, unnumbered (SAFETY 28); one read for each who waits. */
export class OldBlocks {
  readonly #reader: VolumeReader;
  readonly #wake: () => void;
  readonly #reads = new Map<object, OldBlocksRead>();
  #readingBytes = 0;

  /** `wake`: what was `reading` may be asked for again. */
  constructor(reader: VolumeReader, wake: () => void) {
    this.#reader = reader;
    this.#wake = wake;
  }

  /** Of which a read is under way, or is there and was not taken. */
  get count(): number {
    return this.#reads.size;
  }

  /** Undefined: it is being read, or has to wait for its turn; `wake` is called when it is worth asking again. */
  take(waiter: object, of: PreservedVolume, from: number, to: number): OldBlocksRead | undefined {
    const known = this.#reads.get(waiter);
    if (known?.covers(of.area, from, to)) {
      if (known.state === 'reading') return undefined;
      this.#reads.delete(waiter);
      return known;
    }
    // Of another request, or of another snapshot: what it reads is wanted by nobody.
    this.#reads.delete(waiter);
    if (this.#readingBytes >= readingBytesMax) return undefined;
    const read = new OldBlocksRead(of.area, from, to, (ended) => this.#ended(ended));
    if (!this.#begin(read, of)) return read;
    this.#readingBytes += read.bytes;
    this.#reads.set(waiter, read);
    return undefined;
  }

  forget(waiter: object): void {
    this.#reads.delete(waiter);
  }

  /** False: it is done at once. */
  #begin(read: OldBlocksRead, { volume, file, dataBytes }: PreservedVolume): boolean {
    const offset = read.from * blockBytes;
    const length = Math.min(read.to * blockBytes, dataBytes) - offset;
    const { bytes } = read.slab;
    try {
      const result = this.#reader.read(
        volume,
        file,
        offset,
        length,
        bytes,
        recordHeaderBytes,
        read,
        0,
      );
      if (result === 'pending') return true;
      read.end(null);
    } catch (error) {
      read.end(error as Error);
    }
    return false;
  }

  #ended(read: OldBlocksRead): void {
    this.#readingBytes -= read.bytes;
    this.#wake();
  }
}
