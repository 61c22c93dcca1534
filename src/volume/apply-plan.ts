import { blockBytes } from '../platform/limits.ts';
import type { TableArrays } from './table-arrays.ts';
import type { NodeKind } from './node-kind.ts';
import { Uncovered } from './uncovered.ts';
import { nodeKind } from './node-kind.ts';
import type { BlockRange } from './range-map.ts';

/** One change of a backing file. `sequence`/`segmentOffset` say where data comes from. */
export interface ApplyStep {
  kind: NodeKind;
  volume: number;
  offset: number;
  length: number;
  /** Relative to the table's first segment. */
  segment: number;
  segmentOffset: number;
}

const two24 = 2 ** 24;
const two32 = 2 ** 32;
/** Node numbers (20 bits) stand in the low bits of a sort key, block numbers (33 bits) above them. */
const keyShift = 2 ** 20;

/**
 * What a table changes, sorted by volume and address, each byte once, its newest version; neighbours
 * that lie side by side in the journal too are one step. The step that `emit` is given is its own only until
 * it returns. Pure.
 */
export function planSteps(
  arrays: TableArrays,
  count: number,
  ranges: readonly BlockRange[],
  emit: (step: ApplyStep) => void,
): void {
  const counts = new Map<number, number>();
  for (let node = 0; node < count; node += 1) {
    const volume = (arrays.keyHigh[node] ?? 0) >>> 16;
    counts.set(volume, (counts.get(volume) ?? 0) + 1);
  }
  for (const range of ranges) if (!counts.has(range.volume)) counts.set(range.volume, 0);
  for (const [volume, nodes] of [...counts].sort(([a], [b]) => a - b)) {
    planVolume(
      arrays,
      volume,
      sortedKeys(arrays, volume, count, nodes),
      ranges.filter((range) => range.volume === volume),
      emit,
    );
  }
}

/** Where keys are sorted: no table gets one of its own, which would wait for the collector. */
let sortRoom = new Float64Array(0);

function sortedKeys(
  arrays: TableArrays,
  volume: number,
  count: number,
  nodes: number,
): Float64Array {
  const { keyLow, keyHigh } = arrays;
  const room = keyLow.length;
  if (sortRoom.length < room) sortRoom = new Float64Array(room);
  const keys = sortRoom.subarray(0, nodes);
  let filled = 0;
  for (let node = 0; node < count; node += 1) {
    const high = keyHigh[node] ?? 0;
    if (high >>> 16 !== volume) continue;
    keys[filled] = (((high >>> 12) & 0xf) * two32 + (keyLow[node] ?? 0)) * keyShift + node;
    filled += 1;
  }
  return keys.sort();
}

function planVolume(
  arrays: TableArrays,
  volume: number,
  keys: Float64Array,
  ranges: readonly BlockRange[],
  emit: (step: ApplyStep) => void,
): void {
  const { keyHigh, placeLow, extent } = arrays;
  const merger = new StepMerger(emit);
  const uncovered = new Uncovered();
  const pieces: ApplyStep[] = [];
  const chain: number[] = [];
  const placeOf = (node: number): number =>
    ((extent[node] ?? 0) >>> 24) * two32 + (placeLow[node] ?? 0);
  let nextRange = 0;
  /** Blocks of the current range before this are done. */
  let rangeFrom = ranges[0]?.start ?? 0;

  const finishRangesBefore = (block: number): void => {
    for (let range = ranges[nextRange]; range && rangeFrom < block; range = ranges[nextRange]) {
      const end = Math.min(range.end, block);
      if (end > rangeFrom) {
        merger.add(range.kind, volume, rangeFrom * blockBytes, (end - rangeFrom) * blockBytes, 0);
      }
      rangeFrom = end;
      if (end < range.end) return;
      nextRange += 1;
      rangeFrom = ranges[nextRange]?.start ?? rangeFrom;
    }
  };

  for (let i = 0; i < keys.length; ) {
    const block = Math.floor((keys[i] ?? 0) / keyShift);
    chain.length = 0;
    for (; i < keys.length && Math.floor((keys[i] ?? 0) / keyShift) === block; i += 1) {
      chain.push((keys[i] ?? 0) % keyShift);
    }
    finishRangesBefore(block);
    const range = ranges[nextRange];
    const inRange = range !== undefined && range.start <= block && block < range.end;
    const single = chain[0] ?? 0;
    if (chain.length === 1 && !inRange && ((extent[single] ?? 0) & 0xffffff) === 0xfff) {
      merger.add(
        ((keyHigh[single] ?? 0) & 3) as NodeKind,
        volume,
        block * blockBytes,
        blockBytes,
        placeOf(single),
      );
      continue;
    }
    if (chain.length > 1) chain.sort((a, b) => placeOf(b) - placeOf(a));
    uncovered.reset(0, blockBytes);
    pieces.length = 0;
    const cover = (kind: NodeKind, start: number, end: number, place: number): void => {
      for (let at = uncovered.count - 1; at >= 0; at -= 1) {
        const from = Math.max(start, uncovered.starts[at] ?? 0);
        const to = Math.min(end, uncovered.ends[at] ?? 0);
        if (from >= to) continue;
        const source = kind === nodeKind.data ? place + (from - start) : 0;
        pieces.push({
          kind,
          volume,
          offset: block * blockBytes + from,
          length: to - from,
          segment: Math.floor(source / two24),
          segmentOffset: source % two24,
        });
        uncovered.cut(at, from, to);
      }
    };
    for (const node of chain) {
      const place = placeOf(node);
      if (inRange && place < range.place) break;
      const word = extent[node] ?? 0;
      cover(
        ((keyHigh[node] ?? 0) & 3) as NodeKind,
        (word >>> 12) & 0xfff,
        (word & 0xfff) + 1,
        place,
      );
      if (uncovered.count === 0) break;
    }
    if (inRange) {
      cover(range.kind, 0, blockBytes, range.place);
      rangeFrom = block + 1;
      if (rangeFrom >= range.end) {
        nextRange += 1;
        rangeFrom = ranges[nextRange]?.start ?? rangeFrom;
      }
    }
    if (pieces.length > 1) pieces.sort((a, b) => a.offset - b.offset);
    for (const piece of pieces) {
      merger.add(
        piece.kind,
        volume,
        piece.offset,
        piece.length,
        piece.segment * two24 + piece.segmentOffset,
      );
    }
  }
  finishRangesBefore(Number.MAX_SAFE_INTEGER);
  merger.flush();
}

/** Joins neighbours of one kind; data only where the journal has them side by side too. */
class StepMerger {
  readonly #emit: (step: ApplyStep) => void;
  readonly #step: ApplyStep = {
    kind: 0,
    volume: 0,
    offset: 0,
    length: 0,
    segment: 0,
    segmentOffset: 0,
  };
  #kind: NodeKind = 0;
  #volume = 0;
  #offset = 0;
  #length = 0;
  #source = 0;

  constructor(emit: (step: ApplyStep) => void) {
    this.#emit = emit;
  }

  add(kind: NodeKind, volume: number, offset: number, length: number, source: number): void {
    if (
      this.#length > 0 &&
      kind === this.#kind &&
      volume === this.#volume &&
      offset === this.#offset + this.#length &&
      (kind !== nodeKind.data ||
        (source === this.#source + this.#length &&
          Math.floor(source / two24) === Math.floor(this.#source / two24)))
    ) {
      this.#length += length;
      return;
    }
    this.flush();
    this.#kind = kind;
    this.#volume = volume;
    this.#offset = offset;
    this.#length = length;
    this.#source = source;
  }

  flush(): void {
    if (this.#length === 0) return;
    const step = this.#step;
    step.kind = this.#kind;
    step.volume = this.#volume;
    step.offset = this.#offset;
    step.length = this.#length;
    step.segment = Math.floor(this.#source / two24);
    step.segmentOffset = this.#source % two24;
    this.#emit(step);
    this.#length = 0;
  }
}
