import type { LiveSegment, SegmentChain } from '../journal/segment-chain.ts';
import { must } from '../platform/assert.ts';
import type { DiskFile } from '../platform/disk.ts';
import { blockBytes } from '../platform/limits.ts';
import type { BlockIndex } from './block-index.ts';
import type { NodeKind } from './node-kind.ts';
import { nodeKind } from './node-kind.ts';

/** A search for where the index begins to have something goes on in steps of this. */
const searchBytes = 16 * blockBytes;

/** Who asked for a read that could not be answered at once. */
export interface ReadOwner {
  readCompleted(token: number, failure: Error | null): void;
}

export type ReadResult = 'done' | 'pending';

/**
 * Reads volumes as invariant 3 says: what is not applied from the journal, the rest from the backing
 * file. What the page cache has is copied at once; for the rest the thread pool is asked, and the
 * segments it reads are pinned until it is done (SAFETY 5).
 */
export class VolumeReader {
  readonly #index: BlockIndex;
  readonly #chain: SegmentChain;
  #file: DiskFile | undefined;
  #bytes: Buffer = Buffer.alloc(0);
  /** Volume offset of `#bytes[0]`; may be negative. */
  #origin = 0;
  #pending: PendingRead | undefined;
  /** Undefined: nobody waits. */
  #owner: ReadOwner | undefined;
  #token = 0;
  /** Something that nobody waits for was not at hand. */
  #isMissing = false;

  constructor(index: BlockIndex, chain: SegmentChain) {
    this.#index = index;
    this.#chain = chain;
  }

  /**
   * Reads into `bytes[start, start + length)`. `pending`: `owner.readCompleted(token)` follows, and
   * the bytes are not complete before. Throws the system error of a read that failed at once.
   */
  read(
    volume: number,
    file: DiskFile,
    offset: number,
    length: number,
    bytes: Buffer,
    start: number,
    owner: ReadOwner,
    token: number,
  ): ReadResult {
    this.#begin(file, bytes, offset - start, owner);
    this.#token = token;
    try {
      this.#index.search(volume, offset, length, this);
    } catch (error) {
      const pending = this.#currentPending();
      if (!pending) throw error;
      pending.fail(error as Error);
    }
    const pending = this.#currentPending();
    if (!pending) return 'done';
    pending.begun();
    return 'pending';
  }

  /** As `read`, where nothing has to be waited for. False: it would; the bytes are not complete. */
  readAtHand(
    volume: number,
    file: DiskFile,
    offset: number,
    length: number,
    bytes: Buffer,
    start: number,
  ): boolean {
    this.#begin(file, bytes, offset - start, undefined);
    this.#isMissing = false;
    this.#index.search(volume, offset, length, this);
    return !this.#isMissing;
  }

  #begin(file: DiskFile, bytes: Buffer, origin: number, owner: ReadOwner | undefined): void {
    this.#file = file;
    this.#bytes = bytes;
    this.#origin = origin;
    this.#pending = undefined;
    this.#owner = owner;
  }

  /** How many bytes from `offset` on, `length` at most, the index has nothing of. */
  bytesInFile(volume: number, offset: number, length: number): number {
    if (this.#index.isEmpty) return length;
    const end = offset + length;
    const first = this.#firstIndexed;
    first.at = end;
    for (let at = offset; at < first.at; ) {
      // To where a block ends, so that none is looked up twice.
      const stop = Math.min(end, at - (at % blockBytes) + searchBytes);
      this.#index.search(volume, at, stop - at, first);
      at = stop;
    }
    return first.at - offset;
  }

  /** Where the first piece begins that the index has. */
  readonly #firstIndexed = {
    at: 0,
    piece(_kind: NodeKind, start: number): void {
      this.at = Math.min(this.at, start);
    },
    missing: (): void => undefined,
  };

  #currentPending(): PendingRead | undefined {
    return this.#pending;
  }

  piece(kind: NodeKind, start: number, end: number, sequence: number, segmentOffset: number): void {
    const at = start - this.#origin;
    if (kind !== nodeKind.data) {
      this.#bytes.fill(0, at, at + (end - start));
      return;
    }
    const segment = must(this.#chain.find(sequence), 'an indexed segment is live', sequence);
    if (segmentOffset + (end - start) > segment.lostFrom) {
      throw new Error('the newest data is in a journal that failed before it was durable');
    }
    const read = segment.file.readIfCachedSync(this.#bytes, at, end - start, segmentOffset);
    if (read === end - start) return;
    this.#later(segment.file, at, end - start, segmentOffset, segment);
  }

  missing(start: number, end: number): void {
    const file = must(this.#file, 'a read has a file');
    const at = start - this.#origin;
    const read = file.readIfCachedSync(this.#bytes, at, end - start, start);
    if (read === end - start) return;
    this.#later(file, at, end - start, start, undefined);
  }

  #later(
    file: DiskFile,
    at: number,
    length: number,
    position: number,
    segment: LiveSegment | undefined,
  ): void {
    if (!this.#owner) {
      this.#isMissing = true;
      return;
    }
    this.#pending ??= new PendingRead(this.#owner, this.#token);
    this.#pending.add(file, this.#bytes, at, length, position, segment);
  }
}

/** One read with parts that the device has to bring. */
class PendingRead {
  readonly #owner: ReadOwner;
  readonly #token: number;
  /** The caller's own part, until it is done planning, and each part under way. */
  #waiting = 1;
  #failure: Error | null = null;

  constructor(owner: ReadOwner, token: number) {
    this.#owner = owner;
    this.#token = token;
  }

  add(
    file: DiskFile,
    bytes: Buffer,
    start: number,
    length: number,
    position: number,
    segment: LiveSegment | undefined,
  ): void {
    this.#waiting += 1;
    if (segment) segment.pins += 1;
    file.read(bytes, start, length, position, (error, bytesRead) => {
      if (segment) segment.pins -= 1;
      if (error) this.fail(error);
      else if (bytesRead < length)
        this.fail(new Error(`${file.path} ends at ${position + bytesRead}`));
      this.begun();
    });
  }

  fail(error: Error): void {
    this.#failure ??= error;
  }

  begun(): void {
    this.#waiting -= 1;
    if (this.#waiting === 0) this.#owner.readCompleted(this.#token, this.#failure);
  }
}
