import type { RecordHeader } from '../journal/record.ts';
import { assert } from '../platform/assert.ts';
import { blockBytes } from '../platform/limits.ts';
import type { NodeKind } from './node-kind.ts';
import { nodeKind } from './node-kind.ts';
import { RangeMap } from './range-map.ts';
import { nodeBytes, type TableArrays, tableArrays } from './table-arrays.ts';
import type { Uncovered } from './uncovered.ts';

export const tableRangesMax = 4096;
/** Ranges of fewer whole blocks than this become nodes. */
const rangeBlocksMin = 64;
/** So many blocks, one behind the other, have their heads in one cache line: long writes fill it. */
const stretchBits = 4;
const stretchMask = 2 ** stretchBits - 1;
const two32 = 2 ** 32;
const two24 = 2 ** 24;
/** A table spans at most this many segments (16 bits of its places). */
const segmentsMax = 65536;

/** What a search finds; reused. `offset` in the segment is of the first byte of the piece. */
export interface PieceVisitor {
  /** Bytes [start, end) of the volume (absolute offsets). */
  piece(kind: NodeKind, start: number, end: number, sequence: number, segmentOffset: number): void;
}

/** Where a record's payload is, or would be. */
export interface RecordPlace {
  readonly sequence: number;
  readonly offset: number;
}

/**
 * One generation of the index of what is in the journal and not applied yet, like a memtable: filled
 * by appends, frozen, given to apply, emptied. Newest version only, per fragment of a 4 KiB block.
 *
 * A node says where bytes [start, end) of one block are: 24 bytes with its share of the hash heads.
 * Nodes of one block stand newest first in their chain; a whole-block node hides what is behind it.
 * Large TRIM and WRITE_ZEROES are ranges beside the nodes; the journal place decides what is newer.
 */
export class BlockTable {
  readonly memory: SharedArrayBuffer;
  readonly #arrays: TableArrays;
  readonly ranges = new RangeMap();
  #count = 0;
  /** Nodes of volumes that were deleted, and these volumes. */
  #goneCount = 0;
  readonly #gone = new Set<number>();
  #baseSequence = 0;
  #lastNumber = 0;
  #endSequence = 0;
  #endOffset = 0;

  readonly #nodesMax: number;
  readonly #hashShift: number;

  /** `nodesMax` is a power of two. Memory that was never filled costs nothing. */
  constructor(nodesMax: number) {
    assert(
      nodesMax >= 1024 && Number.isInteger(Math.log2(nodesMax)),
      `${nodesMax} nodes are a power of two`,
    );
    this.#nodesMax = nodesMax;
    this.#hashShift = 32 - Math.log2(nodesMax);
    this.memory = new SharedArrayBuffer(nodesMax * nodeBytes);
    this.#arrays = tableArrays(this.memory);
  }

  get count(): number {
    return this.#count;
  }
  get isEmpty(): boolean {
    return this.#lastNumber === 0;
  }
  /** Blocks that applying may allocate, at most. */
  get owedBlocks(): number {
    return this.#count - this.#goneCount + this.ranges.zeroBlocks;
  }
  get baseSequence(): number {
    return this.#baseSequence;
  }
  /** Highest update number whose effect is in the table. */
  get lastNumber(): number {
    return this.#lastNumber;
  }
  /** Where the journal goes on behind that record. */
  get endSequence(): number {
    return this.#endSequence;
  }
  get endOffset(): number {
    return this.#endOffset;
  }

  hasRoom(nodes: number, sequence: number): boolean {
    return (
      this.#count + nodes <= this.#nodesMax &&
      this.ranges.count + 2 <= tableRangesMax &&
      (this.#lastNumber === 0 || sequence - this.#baseSequence < segmentsMax)
    );
  }

  /** A record that changes no block (or not a volume of ours) still moves the table on. */
  note(number: number, endSequence: number, endOffset: number): void {
    if (this.#lastNumber === 0) this.#baseSequence = endSequence;
    this.#lastNumber = number;
    this.#endSequence = endSequence;
    this.#endOffset = endOffset;
  }

  /** A write whose payload lies at `payloadOffset` of segment `sequence`. */
  insertData(
    volume: number,
    offset: number,
    length: number,
    number: number,
    sequence: number,
    payloadOffset: number,
  ): void {
    this.note(number, sequence, payloadOffset + length);
    const place = this.#place(sequence, payloadOffset);
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const block = Math.floor(at / blockBytes);
      const start = at - block * blockBytes;
      const stop = Math.min(blockBytes, end - block * blockBytes);
      this.#insert(volume, block, nodeKind.data, start, stop, place + (at - offset));
      at += stop - start;
    }
  }

  /** TRIM or WRITE_ZEROES, whose header ends at `headerEnd` of segment `sequence`. */
  insertRange(
    volume: number,
    kind: NodeKind,
    offset: number,
    length: number,
    number: number,
    sequence: number,
    headerEnd: number,
  ): void {
    this.note(number, sequence, headerEnd);
    const place = this.#place(sequence, headerEnd);
    const end = offset + length;
    const firstWhole = Math.ceil(offset / blockBytes);
    const endWhole = Math.floor(end / blockBytes);
    if (endWhole - firstWhole < rangeBlocksMin) {
      for (let at = offset; at < end; ) {
        const block = Math.floor(at / blockBytes);
        const start = at - block * blockBytes;
        const stop = Math.min(blockBytes, end - block * blockBytes);
        this.#insert(volume, block, kind, start, stop, place);
        at += stop - start;
      }
      return;
    }
    if (offset < firstWhole * blockBytes) {
      this.#insert(
        volume,
        firstWhole - 1,
        kind,
        offset - (firstWhole - 1) * blockBytes,
        blockBytes,
        place,
      );
    }
    if (end > endWhole * blockBytes) {
      this.#insert(volume, endWhole, kind, 0, end - endWhole * blockBytes, place);
    }
    this.ranges.set(volume, firstWhole, endWhole, kind, place);
  }

  /**
   * A record of this table lies at another place now, behind all places of older records; whoever
   * relocates one relocates all that are newer. What newer records hid stays hidden.
   */
  relocate(header: RecordHeader, changesBlocks: boolean, from: RecordPlace, to: RecordPlace): void {
    const { volume, offset, length, payloadBytes } = header;
    if (header.number === this.#lastNumber) {
      this.#endSequence = to.sequence;
      this.#endOffset = to.offset + payloadBytes;
    }
    if (!changesBlocks || length === 0) return;
    const fromPlace = this.#place(from.sequence, from.offset);
    const toPlace = this.#place(to.sequence, to.offset);
    const end = Math.ceil((offset + length) / blockBytes);
    let block = Math.floor(offset / blockBytes);
    if (payloadBytes > 0) {
      for (; block < end; block += 1) {
        const inRecord = Math.max(0, block * blockBytes - offset);
        this.#relocateNode(volume, block, fromPlace + inRecord, toPlace + inRecord);
      }
      return;
    }
    this.ranges.relocate(fromPlace, toPlace);
    // Of a large range only the ends can be nodes.
    const isLarge = end - block > rangeBlocksMin + 2;
    for (; block < end; block += 1) {
      this.#relocateNode(volume, block, fromPlace, toPlace);
      if (isLarge) block = Math.max(block, end - 2);
    }
  }

  #relocateNode(volume: number, block: number, from: number, to: number): void {
    const { heads, keyLow, keyHigh, placeLow, extent, next } = this.#arrays;
    const low = block >>> 0;
    const high = ((volume << 16) | (Math.floor(block / two32) << 12)) >>> 0;
    for (let link = heads[this.#hash(low, high)] ?? 0; link !== 0; link = next[link - 1] ?? 0) {
      const node = link - 1;
      const word = extent[node] ?? 0;
      if ((word >>> 24) * two32 + (placeLow[node] ?? 0) !== from) continue;
      if (keyLow[node] !== low || ((keyHigh[node] ?? 0) & 0xfffff000) >>> 0 !== high) continue;
      placeLow[node] = to >>> 0;
      extent[node] = ((Math.floor(to / two32) << 24) | (word & 0xffffff)) >>> 0;
      return;
    }
  }

  /** Nodes that a write or range of this shape needs at most. */
  static nodesFor(length: number, hasPayload: boolean): number {
    const blocks = Math.ceil(length / blockBytes) + 1;
    return hasPayload ? blocks : Math.min(blocks, rangeBlocksMin + 2);
  }

  /**
   * Visits the pieces of [start, end) within one block that this table has, newest first, and
   * returns with `uncovered` holding the rest: pairs of offsets within the block.
   */
  search(volume: number, block: number, uncovered: Uncovered, visitor: PieceVisitor): void {
    const keyHigh = ((volume << 16) | (Math.floor(block / two32) << 12)) >>> 0;
    const keyLow = block >>> 0;
    const { heads, keyLow: lows, keyHigh: highs, placeLow, extent, next } = this.#arrays;
    const base = block * blockBytes;
    const range = this.ranges.count > 0 ? this.ranges.find(volume, block) : -1;
    const rangePlace = range >= 0 ? this.ranges.placeAt(range) : -1;
    for (let link = heads[this.#hash(keyLow, keyHigh)] ?? 0; link !== 0; ) {
      const node = link - 1;
      link = next[node] ?? 0;
      if (lows[node] !== keyLow || ((highs[node] ?? 0) & 0xfffff000) >>> 0 !== keyHigh) continue;
      const word = extent[node] ?? 0;
      const place = (word >>> 24) * two32 + (placeLow[node] ?? 0);
      if (place < rangePlace) break;
      const kind = ((highs[node] ?? 0) & 3) as NodeKind;
      const start = (word >>> 12) & 0xfff;
      const end = (word & 0xfff) + 1;
      this.#cover(uncovered, kind, start, end, base, place, visitor);
      if (uncovered.count === 0) return;
    }
    if (range >= 0) {
      this.#cover(uncovered, this.ranges.kindAt(range), 0, blockBytes, base, rangePlace, visitor);
    }
  }

  #cover(
    uncovered: Uncovered,
    kind: NodeKind,
    start: number,
    end: number,
    base: number,
    place: number,
    visitor: PieceVisitor,
  ): void {
    for (let i = uncovered.count - 1; i >= 0; i -= 1) {
      const from = Math.max(start, uncovered.starts[i] ?? 0);
      const to = Math.min(end, uncovered.ends[i] ?? 0);
      if (from >= to) continue;
      const at = kind === nodeKind.data ? place + (from - start) : place;
      visitor.piece(
        kind,
        base + from,
        base + to,
        this.#baseSequence + Math.floor(at / two24),
        at % two24,
      );
      uncovered.cut(i, from, to);
    }
  }

  /** Visits the blocks of the volume that the table has anything of, in no order. */
  visitBlocks(volume: number, visit: (start: number, end: number) => void): void {
    const { keyLow, keyHigh } = this.#arrays;
    for (let node = 0; node < this.#count; node += 1) {
      const high = keyHigh[node] ?? 0;
      if (high >>> 16 !== volume) continue;
      const block = ((high >>> 12) & 0xf) * two32 + (keyLow[node] ?? 0);
      visit(block, block + 1);
    }
    for (const range of this.ranges.list())
      if (range.volume === volume) visit(range.start, range.end);
  }

  /** The volume was deleted: apply will pass over what the table has of it. Once for each. */
  forget(volume: number): void {
    const { keyHigh } = this.#arrays;
    for (let node = 0; node < this.#count; node += 1) {
      if ((keyHigh[node] ?? 0) >>> 16 === volume) this.#goneCount += 1;
    }
    this.#gone.add(volume);
    this.ranges.forget(volume);
  }

  /**
   * What lies at that place or before it was applied: nothing leads there any more, and its segments may be used
   * again. Of one block newer nodes have higher numbers, and keep their order.
   */
  dropThrough({ sequence, offset }: RecordPlace): void {
    const { heads, keyLow, keyHigh, placeLow, extent, next } = this.#arrays;
    const last = (sequence - this.#baseSequence) * two24 + offset;
    heads.fill(0);
    let kept = 0;
    this.#goneCount = 0;
    for (let node = 0; node < this.#count; node += 1) {
      const word = extent[node] ?? 0;
      const low = placeLow[node] ?? 0;
      if ((word >>> 24) * two32 + low <= last) continue;
      const key = keyHigh[node] ?? 0;
      const bucket = this.#hash(keyLow[node] ?? 0, (key & 0xfffff000) >>> 0);
      keyLow[kept] = keyLow[node] ?? 0;
      keyHigh[kept] = key;
      placeLow[kept] = low;
      extent[kept] = word;
      next[kept] = heads[bucket] ?? 0;
      if (this.#gone.has(key >>> 16)) this.#goneCount += 1;
      kept += 1;
      heads[bucket] = kept;
    }
    this.#count = kept;
    this.ranges.dropThrough(last);
  }

  /** Empties the table for its next use. */
  clear(): void {
    const { heads, keyLow, keyHigh } = this.#arrays;
    if (this.#count * 16 < this.#nodesMax) {
      for (let node = 0; node < this.#count; node += 1) {
        heads[this.#hash(keyLow[node] ?? 0, ((keyHigh[node] ?? 0) & 0xfffff000) >>> 0)] = 0;
      }
    } else {
      heads.fill(0);
    }
    this.#count = 0;
    this.#goneCount = 0;
    this.#gone.clear();
    this.#lastNumber = 0;
    this.ranges.clear();
  }

  #place(sequence: number, offset: number): number {
    const place = (sequence - this.#baseSequence) * two24 + offset;
    assert(place >= 0 && place < segmentsMax * two24, 'a place fits the table', place);
    return place;
  }

  #insert(
    volume: number,
    block: number,
    kind: NodeKind,
    start: number,
    end: number,
    place: number,
  ): void {
    const keyLow = block >>> 0;
    const key = ((volume << 16) | (Math.floor(block / two32) << 12)) >>> 0;
    const { heads, keyLow: lows, keyHigh: highs, placeLow, extent, next } = this.#arrays;
    const bucket = this.#hash(keyLow, key);
    const head = heads[bucket] ?? 0;
    const word = ((Math.floor(place / two32) << 24) | (start << 12) | (end - 1)) >>> 0;
    for (let link = head; link !== 0; link = next[link - 1] ?? 0) {
      const node = link - 1;
      if (lows[node] !== keyLow || ((highs[node] ?? 0) & 0xfffff000) >>> 0 !== key) continue;
      // The newest node of this block: it may be replaced by what hides it wholly.
      const old = extent[node] ?? 0;
      if (start > ((old >>> 12) & 0xfff) || end - 1 < (old & 0xfff)) break;
      highs[node] = key | kind;
      placeLow[node] = place >>> 0;
      extent[node] = word;
      return;
    }
    const node = this.#count;
    assert(node < this.#nodesMax, 'hasRoom was asked');
    this.#count = node + 1;
    lows[node] = keyLow;
    highs[node] = key | kind;
    placeLow[node] = place >>> 0;
    extent[node] = word;
    next[node] = head;
    heads[bucket] = node + 1;
  }

  #hash(keyLow: number, keyHigh: number): number {
    const stretch = (keyLow >>> stretchBits) ^ Math.imul(keyHigh, 0x85ebca6b);
    const bucket = Math.imul(stretch, 0x9e3779b1) >>> this.#hashShift;
    return (bucket & ~stretchMask) | (keyLow & stretchMask);
  }
}
