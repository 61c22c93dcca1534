import type { LiveSegment, SegmentChain } from '../journal/segment-chain.ts';
import { must } from '../platform/assert.ts';
import type { DiskFile } from '../platform/disk.ts';
import { blockBytes } from '../platform/limits.ts';
import type { BlockIndex } from '../volume/block-index.ts';
import { type NodeKind, nodeKind } from '../volume/node-kind.ts';
import type { ReadOwner, ReadResult } from '../volume/volume-read.ts';
import type { PastBlocks, PastPlace } from './past-blocks.ts';

/** A volume as it was at one update number. */
export interface PastVolume {
  readonly id: number;
  /** Records behind the view's base, up to its number. */
  readonly index: BlockIndex;
  /** What they do not say. */
  readonly blocks: PastBlocks;
}

/** Bytes [from, to) of the volume. */
interface Part {
  readonly from: number;
  readonly to: number;
}

/**
 * Reads a volume as it was: the newest record up to that number, else what the volume held when the view's base
 * began. What comes from the volume itself may be overwritten by the apply worker at any time, which saves it in the
 * newest base before: so behind each such read, also one that was done at once, that is looked for again (SAFETY 30).
 */
export class ViewReader {
  readonly #chain: SegmentChain;

  constructor(chain: SegmentChain) {
    this.#chain = chain;
  }

  /**
   * Reads into `bytes[start, start + length)`. `pending`: `owner.readCompleted(token)` follows, and the bytes are
   * not complete before. Throws the system error of a read that failed at once.
   */
  read(
    volume: PastVolume,
    offset: number,
    length: number,
    bytes: Buffer,
    start: number,
    owner: ReadOwner,
    token: number,
  ): ReadResult {
    const read = new ViewRead(this.#chain, volume, bytes, offset - start, owner, token);
    return read.begin(offset, length);
  }
}

class ViewRead {
  readonly #chain: SegmentChain;
  readonly #volume: PastVolume;
  readonly #bytes: Buffer;
  /** Offset in the volume of `#bytes[0]`; may be negative. */
  readonly #origin: number;
  readonly #owner: ReadOwner;
  readonly #token: number;
  readonly #place: PastPlace;
  /** What no record says, and is still to be read. */
  #parts: Part[] = [];
  /** What is on its way, and this read's own turn. */
  #waiting = 1;
  #isPending = false;
  #failure: Error | null = null;

  constructor(
    chain: SegmentChain,
    volume: PastVolume,
    bytes: Buffer,
    origin: number,
    owner: ReadOwner,
    token: number,
  ) {
    this.#chain = chain;
    this.#volume = volume;
    this.#bytes = bytes;
    this.#origin = origin;
    this.#owner = owner;
    this.#token = token;
    this.#place = volume.blocks.emptyPlace();
  }

  begin(offset: number, length: number): ReadResult {
    const { id, index } = this.#volume;
    this.#attempt(() => {
      index.search(id, offset, length, this);
      this.#readParts();
    });
    this.#waiting -= 1;
    if (this.#waiting > 0) {
      this.#isPending = true;
      return 'pending';
    }
    if (this.#failure) throw this.#failure;
    return 'done';
  }

  piece(kind: NodeKind, start: number, end: number, sequence: number, segmentOffset: number): void {
    const at = start - this.#origin;
    if (kind !== nodeKind.data) {
      this.#bytes.fill(0, at, at + (end - start));
      return;
    }
    const segment = must(this.#chain.find(sequence), `segment ${sequence} of a view is held`);
    this.#read(segment.file, start, end, segmentOffset, segment, undefined);
  }

  missing(from: number, to: number): void {
    const last = this.#parts.at(-1);
    if (last?.to === from) this.#parts[this.#parts.length - 1] = { from: last.from, to };
    else this.#parts.push({ from, to });
  }

  /** Also what comes to be missing on the way. */
  #readParts(): void {
    for (let part = this.#parts.shift(); part; part = this.#parts.shift()) this.#readPart(part);
  }

  #readPart({ from, to }: Part): void {
    const { blocks } = this.#volume;
    const place = this.#place;
    for (let at = from; at < to; ) {
      const block = Math.floor(at / blockBytes);
      if (!blocks.find(block, Math.ceil(to / blockBytes), place)) {
        const rest = { from: at, to };
        this.#waiting += 1;
        blocks.load(block, (error) => this.#arrived(error, rest));
        return;
      }
      const stop = Math.min(to, place.end * blockBytes);
      const { file, position, isLive } = place;
      if (position < 0) {
        this.#bytes.fill(0, at - this.#origin, stop - this.#origin);
      } else {
        const live = isLive ? { from: at, to: stop } : undefined;
        this.#read(file, at, stop, position + (at % blockBytes), undefined, live);
      }
      at = stop;
    }
  }

  /** `live`: of the volume itself. */
  #read(
    file: DiskFile,
    from: number,
    to: number,
    position: number,
    segment: LiveSegment | undefined,
    live: Part | undefined,
  ): void {
    const start = from - this.#origin;
    const length = to - from;
    if (file.readIfCachedSync(this.#bytes, start, length, position) === length) {
      if (live) this.#checkLive(live);
      return;
    }
    this.#waiting += 1;
    if (segment) segment.pins += 1;
    file.read(this.#bytes, start, length, position, (error, count) => {
      if (segment) segment.pins -= 1;
      if (!error && count < length) {
        error = new Error(`${file.path} ends at ${position + count}`);
      }
      this.#arrived(error, live, live !== undefined);
    });
  }

  /** It may have been overwritten while it was read, but then it was saved before. */
  #checkLive({ from, to }: Part): void {
    const first = Math.floor(from / blockBytes);
    if (!this.#volume.blocks.isStill(first, Math.ceil(to / blockBytes))) this.missing(from, to);
  }

  /** `part` is to be read now, or was read from the volume while other things went on. */
  #arrived(error: Error | null, part: Part | undefined, wasRead = false): void {
    this.#failure ??= error;
    if (!this.#failure && part) {
      this.#attempt(() => {
        if (wasRead) this.#lookAgain(part);
        else this.missing(part.from, part.to);
        // Of a page that was there at once this is within another turn, which goes on with it.
        if (this.#isPending) this.#readParts();
      });
    }
    this.#waiting -= 1;
    if (this.#waiting === 0 && this.#isPending)
      this.#owner.readCompleted(this.#token, this.#failure);
  }

  /** What is not live any more, in whatever base it is, is read again there. */
  #lookAgain({ from, to }: Part): void {
    const { blocks } = this.#volume;
    const place = this.#place;
    for (let at = from; at < to; ) {
      const block = Math.floor(at / blockBytes);
      if (!blocks.find(block, Math.ceil(to / blockBytes), place)) {
        this.missing(at, to);
        return;
      }
      const stop = Math.min(to, place.end * blockBytes);
      if (place.isLive) this.#checkLive({ from: at, to: stop });
      else this.missing(at, stop);
      at = stop;
    }
  }

  #attempt(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#failure ??= error as Error;
    }
  }
}
