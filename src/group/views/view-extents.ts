import type { PastVolume } from '../../history/view-read.ts';
import { blocksPerBitPage } from '../../history/base-files.ts';
import type { PastPlace } from '../../history/past-blocks.ts';
import type { FileExtent } from '../../platform/disk.ts';
import { blockBytes } from '../../platform/limits.ts';
import { type NodeKind, nodeKind } from '../../volume/node-kind.ts';
import { extentState } from '../../volume/volume-extents.ts';
import { addExtent, type ExtentList } from '../apply/export.ts';

/** An answer looks at this many blocks at most; clients ask again. */
const blocksMax = 16384;

/**
 * Extents of a volume as it was, from `offset` on, as many as `out` takes. What cannot be told at once counts as
 * data; a block that anything allocates is data as a whole.
 */
export function listViewExtents(
  volume: PastVolume,
  sizeBytes: number,
  offset: number,
  length: number,
  out: ExtentList,
): void {
  const extents = new ViewExtents(volume, sizeBytes);
  const end = Math.min(sizeBytes, offset + length, offset + blocksMax * blockBytes);
  for (let at = offset; at < end; ) {
    const block = Math.floor(at / blockBytes);
    const stop = Math.min(end, extents.find(block, Math.ceil(end / blockBytes)) * blockBytes);
    if (!addExtent(out, stop - at, extents.state)) return;
    at = stop;
  }
}

class ViewExtents {
  readonly #volume: PastVolume;
  readonly #sizeBytes: number;
  readonly #place: PastPlace;
  readonly #extent: FileExtent = { storage: 'data', end: 0, work: 0 };
  /** Of what was found last. */
  state: number = extentState.data;
  #isMissing = false;
  #hasPiece = false;
  #isLoading = false;
  /** Before this block no record says anything, from the one that was looked for last on. */
  #missingEnd = 0;

  constructor(volume: PastVolume, sizeBytes: number) {
    this.#volume = volume;
    this.#sizeBytes = sizeBytes;
    this.#place = volume.blocks.emptyPlace();
  }

  /** How `block` is, and behind which one, at most `end`, that ends. */
  find(block: number, end: number): number {
    if (this.#volume.index.isEmpty) return this.#inPast(block, end);
    if (block >= this.#missingEnd) {
      this.#search(block);
      if (this.#hasPiece) return this.#mixed(block);
      this.#missingEnd = this.#firstWithPiece(block + 1, end);
    }
    return this.#inPast(block, Math.min(end, this.#missingEnd));
  }

  #firstWithPiece(from: number, end: number): number {
    for (let block = from; block < end; block += 1) {
      this.#search(block);
      if (this.#hasPiece) return block;
    }
    return end;
  }

  #search(block: number): void {
    const { id, index } = this.#volume;
    const start = block * blockBytes;
    this.state = extentState.hole;
    this.#isMissing = false;
    this.#hasPiece = false;
    index.search(id, start, Math.min(this.#sizeBytes, start + blockBytes) - start, this);
  }

  #mixed(block: number): number {
    const { state } = this;
    if (!this.#isMissing) return block + 1;
    this.#inPast(block, block + 1);
    if (state === extentState.data) this.state = extentState.data;
    else if (state === extentState.zero && this.state === extentState.hole)
      this.state = extentState.zero;
    return block + 1;
  }

  piece(kind: NodeKind): void {
    this.#hasPiece = true;
    if (kind === nodeKind.data) this.state = extentState.data;
    else if (kind === nodeKind.zero && this.state === extentState.hole)
      this.state = extentState.zero;
  }

  missing(): void {
    this.#isMissing = true;
  }

  #inPast(block: number, end: number): number {
    const { blocks } = this.#volume;
    const place = this.#place;
    this.state = extentState.data;
    if (!blocks.find(block, end, place)) {
      // Once for an answer: the next one knows.
      if (!this.#isLoading) blocks.load(block, () => undefined);
      this.#isLoading = true;
      return Math.min(end, (Math.floor(block / blocksPerBitPage) + 1) * blocksPerBitPage);
    }
    if (!place.isLive) {
      if (place.position < 0) this.state = extentState.zero;
      return place.end;
    }
    const start = block * blockBytes;
    const size = Math.min(this.#sizeBytes, place.end * blockBytes);
    place.file.extentSync(start, size, this.#extent);
    const next = Math.min(
      place.end,
      Math.max(block + 1, Math.floor(this.#extent.end / blockBytes)),
    );
    const { storage } = this.#extent;
    // It may have been overwritten since, and is asked about again.
    if (!blocks.isStill(block, next)) return next;
    if (this.#extent.end >= Math.min(next * blockBytes, size) && storage !== 'data')
      this.state = storage === 'hole' ? extentState.hole : extentState.zero;
    return next;
  }
}
