import { type NodeKind, nodeKind } from './node-kind.ts';

/**
 * Large ranges of whole blocks that read as zero, disjoint and sorted, per volume; a newer range
 * replaces what it overlaps. `place` is the journal place of the record, for telling what is newer.
 */
export interface BlockRange {
  readonly volume: number;
  readonly start: number;
  readonly end: number;
  readonly kind: NodeKind;
  readonly place: number;
}

export class RangeMap {
  #ranges: BlockRange[] = [];
  #zeroBlocks = 0;

  get count(): number {
    return this.#ranges.length;
  }

  /** Blocks in ranges that are to be allocated. */
  get zeroBlocks(): number {
    return this.#zeroBlocks;
  }

  list(): readonly BlockRange[] {
    return this.#ranges;
  }

  clear(): void {
    if (this.#ranges.length > 0) this.#ranges = [];
    this.#zeroBlocks = 0;
  }

  /** The volume was deleted. */
  forget(volume: number): void {
    this.#ranges = this.#ranges.filter((range) => range.volume !== volume);
    this.#zeroBlocks = zeroBlocksIn(this.#ranges);
  }

  /** Blocks [start, end) of the volume, newer than all set before. */
  set(volume: number, start: number, end: number, kind: NodeKind, place: number): void {
    const first = this.#firstEndingAfter(volume, start);
    let last = first;
    const replacement: BlockRange[] = [];
    for (; last < this.#ranges.length; last += 1) {
      const old = this.#ranges[last];
      if (!old || old.volume !== volume || old.start >= end) break;
      if (old.start < start) replacement.push({ ...old, end: start });
      if (old.end > end) {
        replacement.push({ volume, start, end, kind, place }, { ...old, start: end });
      }
    }
    const tail = replacement.at(-1);
    if (tail === undefined || tail.end <= start)
      replacement.push({ volume, start, end, kind, place });
    const replaced = this.#ranges.splice(first, last - first, ...replacement);
    this.#zeroBlocks += zeroBlocksIn(replacement) - zeroBlocksIn(replaced);
  }

  /** What lies at that place or before it. */
  dropThrough(place: number): void {
    this.#ranges = this.#ranges.filter((range) => range.place > place);
    this.#zeroBlocks = zeroBlocksIn(this.#ranges);
  }

  /** The record behind these ranges lies at another place now. */
  relocate(from: number, to: number): void {
    for (const [at, range] of this.#ranges.entries()) {
      if (range.place === from) this.#ranges[at] = { ...range, place: to };
    }
  }

  /** Index of the range that holds the block, or -1. */
  find(volume: number, block: number): number {
    const index = this.#firstEndingAfter(volume, block);
    const range = this.#ranges[index];
    return range && range.volume === volume && range.start <= block ? index : -1;
  }

  placeAt(index: number): number {
    return this.#ranges[index]?.place ?? -1;
  }

  kindAt(index: number): NodeKind {
    return this.#ranges[index]?.kind ?? 0;
  }

  #firstEndingAfter(volume: number, block: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const range = this.#ranges[middle];
      if (range && (range.volume < volume || (range.volume === volume && range.end <= block))) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}

function zeroBlocksIn(ranges: readonly BlockRange[]): number {
  let blocks = 0;
  for (const { kind, start, end } of ranges) if (kind === nodeKind.zero) blocks += end - start;
  return blocks;
}
