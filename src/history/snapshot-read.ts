import type { DiskFile } from '../platform/disk.ts';
import { blockBytes } from '../platform/limits.ts';
import type { ReadOwner, ReadResult, VolumeReader } from '../volume/volume-read.ts';

/** Where blocks of a snapshot are at this time. */
export interface SnapshotPlace {
  volume: number;
  file: DiskFile | undefined;
  /** It is the volume itself, which goes on changing. */
  isLive: boolean;
  /** Behind the last block that is there, too. */
  end: number;
}

export interface SnapshotBlocks {
  /** Where `block` is, and which up to `end` are with it. Throws where the snapshot cannot be read any more. */
  find(block: number, end: number, place: SnapshotPlace): void;
  /**
   * The same for what was read before: a later snapshot may have come meanwhile whose files are not there yet. Nothing
   * is applied behind it before they are, so of what the volumes' files held it has nothing.
   */
  findAgain(block: number, end: number, place: SnapshotPlace): void;
}

export function emptyPlace(): SnapshotPlace {
  return { volume: 0, file: undefined, isLive: false, end: 0 };
}

/**
 * Reads a snapshot while its volumes change. What is read at once is what the snapshot has. What the thread
 * pool reads of a volume may have been overwritten meanwhile, but then it was preserved before: so where that
 * is looked for once more when such a read ends, and what has moved is read again where it is then.
 */
export class SnapshotReader {
  readonly #reader: VolumeReader;

  constructor(reader: VolumeReader) {
    this.#reader = reader;
  }

  /** As `VolumeReader.read`. */
  read(
    blocks: SnapshotBlocks,
    offset: number,
    length: number,
    bytes: Buffer,
    start: number,
    owner: ReadOwner,
    token: number,
  ): ReadResult {
    const read = new SnapshotRead(this.#reader, blocks, bytes, offset - start, owner, token);
    return read.begin(offset, length);
  }
}

/** Bytes [from, to) of the volume that the pool reads, or has read. */
interface LiveRange {
  readonly from: number;
  readonly to: number;
}

class SnapshotRead implements ReadOwner {
  readonly #reader: VolumeReader;
  readonly #blocks: SnapshotBlocks;
  readonly #bytes: Buffer;
  /** Offset in the snapshot of `#bytes[0]`; may be negative. */
  readonly #origin: number;
  readonly #owner: ReadOwner;
  readonly #token: number;
  readonly #place = emptyPlace();
  #live: LiveRange[] = [];
  #pending = 0;
  #failure: Error | null = null;

  constructor(
    reader: VolumeReader,
    blocks: SnapshotBlocks,
    bytes: Buffer,
    origin: number,
    owner: ReadOwner,
    token: number,
  ) {
    this.#reader = reader;
    this.#blocks = blocks;
    this.#bytes = bytes;
    this.#origin = origin;
    this.#owner = owner;
    this.#token = token;
  }

  begin(offset: number, length: number): ReadResult {
    try {
      this.#readRange(offset, offset + length);
    } catch (error) {
      // What is under way still writes to the caller's bytes.
      if (this.#pending === 0) throw error;
      this.#failure = error as Error;
    }
    return this.#pending > 0 ? 'pending' : 'done';
  }

  readCompleted(_token: number, failure: Error | null): void {
    this.#failure ??= failure;
    this.#pending -= 1;
    if (this.#pending > 0) return;
    try {
      if (!this.#failure) this.#lookAgain();
    } catch (error) {
      this.#failure ??= error as Error;
    }
    if (this.#pending === 0) this.#owner.readCompleted(this.#token, this.#failure);
  }

  #lookAgain(): void {
    const place = this.#place;
    for (const { from, to } of this.#live.splice(0)) {
      const end = Math.ceil(to / blockBytes);
      for (let block = Math.floor(from / blockBytes); block < end; ) {
        this.#blocks.findAgain(block, end, place);
        const stop = place.end;
        if (!place.isLive) {
          this.#readRange(Math.max(from, block * blockBytes), Math.min(to, stop * blockBytes));
        }
        block = stop;
      }
    }
  }

  #readRange(from: number, to: number): void {
    const place = this.#place;
    for (let at = from; at < to; ) {
      const block = Math.floor(at / blockBytes);
      this.#blocks.find(block, Math.ceil(to / blockBytes), place);
      const stop = Math.min(to, place.end * blockBytes);
      const { file, isLive } = place;
      if (!file) throw new Error('the file of a volume that it needs is missing');
      const start = at - this.#origin;
      const result = this.#reader.read(
        place.volume,
        file,
        at,
        stop - at,
        this.#bytes,
        start,
        this,
        0,
      );
      if (result === 'pending') {
        this.#pending += 1;
        if (isLive) this.#live.push({ from: at, to: stop });
      }
      at = stop;
    }
  }
}
