import { assert } from '../platform/assert.ts';
import { crc32 } from '../platform/checksum.ts';
import { JnbdError } from '../platform/errors.ts';
import { KiB, updateNumberMax } from '../platform/limits.ts';

/** Bytes [offset, offset + length) of a volume. */
export interface Region {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
}

/** A set of more regions than this is made coarser until it fits. */
export const regionsMax = 65_536;
/** What regions are widened to multiples of first, then twice that, and so on. */
export const regionGrainBytes = 64 * KiB;
/** So many are put in order at once: a journal has millions of records. */
const pendingMax = 4096;

const magic = 'jRG1';
const formatVersion = 1;
const headBytes = 12;
const rangeBytes = 14;
const checksumBytes = 4;

/** Start, end, start, end, ...; sorted, and none touches another. */
type Ranges = readonly number[];

interface VolumeRanges {
  sorted: Ranges;
  /** Pairs as they were added, in any order. */
  readonly pending: number[];
}

/**
 * Which bytes of which volumes: exact until there would be more than `regionsMax` regions, then at
 * least those. Offsets are below 2^48; a region that was widened may reach past the end of its volume,
 * which `clip` takes back.
 */
export class RegionSet {
  readonly #volumes = new Map<number, VolumeRanges>();
  #pendingCount = 0;

  static of(regions: Iterable<Region>): RegionSet {
    const set = new RegionSet();
    for (const { volume, offset, length } of regions) set.add(volume, offset, length);
    return set;
  }

  /** What `encode` made. Throws JnbdError: format_newer, catalog_damaged; `what` names it there. */
  static decode(bytes: Uint8Array, what: string): RegionSet {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const isOurs =
      buffer.length >= headBytes + checksumBytes &&
      buffer.toString('latin1', 0, 4) === magic &&
      buffer.readUInt32LE(buffer.length - checksumBytes) ===
        crc32(buffer.subarray(0, buffer.length - checksumBytes));
    if (!isOurs) throw damaged(what);
    const version = buffer.readUInt16LE(4);
    if (version > formatVersion) {
      throw new JnbdError(
        'format_newer',
        `${what} has format ${version} of regions; this jnbd reads format ${formatVersion}`,
      );
    }
    const count = buffer.readUInt32LE(8);
    if (buffer.length !== headBytes + count * rangeBytes + checksumBytes) throw damaged(what);
    const set = new RegionSet();
    for (let i = 0; i < count; i += 1) {
      const at = headBytes + i * rangeBytes;
      const length = buffer.readUIntLE(at + 8, 6);
      const offset = buffer.readUIntLE(at + 2, 6);
      if (length === 0 || offset + length > updateNumberMax + 1) throw damaged(what);
      set.add(buffer.readUInt16LE(at), offset, length);
    }
    return set;
  }

  /** A length of 0 adds nothing. */
  add(volume: number, offset: number, length: number): void {
    if (length === 0) return;
    assert(
      offset >= 0 && length > 0 && offset + length <= updateNumberMax + 1,
      'a region lies in 48 bits',
      volume,
      offset,
      length,
    );
    let ranges = this.#volumes.get(volume);
    if (!ranges) {
      ranges = { sorted: [], pending: [] };
      this.#volumes.set(volume, ranges);
    }
    const { pending } = ranges;
    const end = offset + length;
    const lastEnd = pending.at(-1) ?? -1;
    const lastStart = pending.at(-2) ?? 0;
    // What is written in order of address, or again and again, takes no more room than once.
    if (offset >= lastStart && offset <= lastEnd) {
      pending[pending.length - 1] = Math.max(end, lastEnd);
      return;
    }
    pending.push(offset, end);
    this.#pendingCount += 1;
    if (this.#pendingCount >= pendingMax) this.#settle();
  }

  addAll(other: RegionSet): void {
    for (const { volume, offset, length } of other.ranges()) this.add(volume, offset, length);
  }

  remove(volume: number, offset: number, length: number): void {
    const ranges = this.#settled(volume);
    if (!ranges || length === 0) return;
    const left = without(ranges.sorted, offset, offset + length);
    if (left.length === 0) this.#volumes.delete(volume);
    else ranges.sorted = left;
  }

  /** Everything of the volume below `offset`. */
  removeThrough(volume: number, offset: number): void {
    this.remove(volume, 0, offset);
  }

  /** The volume ends here. */
  clip(volume: number, sizeBytes: number): void {
    this.remove(volume, sizeBytes, updateNumberMax + 1 - sizeBytes);
  }

  /** The volume is gone. */
  forget(volume: number): void {
    this.#settle();
    this.#volumes.delete(volume);
  }

  /** Whether all of these bytes are in the set. */
  covers(volume: number, offset: number, length: number): boolean {
    const sorted = this.#settled(volume)?.sorted;
    if (!sorted) return length === 0;
    const at = firstEndingAfter(sorted, offset);
    const isInside = (sorted[at] ?? Infinity) <= offset && offset + length <= (sorted[at + 1] ?? 0);
    return length === 0 || isInside;
  }

  /** Ids of the volumes that have regions, rising. */
  volumes(): number[] {
    this.#settle();
    return [...this.#volumes.keys()].sort((a, b) => a - b);
  }

  /** In order of volume and offset; none touches another. The set does not change meanwhile. */
  *ranges(): Generator<Region, void, undefined> {
    for (const volume of this.volumes()) {
      const sorted = this.#volumes.get(volume)?.sorted ?? [];
      for (let at = 0; at < sorted.length; at += 2) {
        const offset = sorted[at] ?? 0;
        yield { volume, offset, length: (sorted[at + 1] ?? 0) - offset };
      }
    }
  }

  get isEmpty(): boolean {
    return this.#volumes.size === 0;
  }

  /** How many regions, at most `regionsMax`. */
  get count(): number {
    this.#settle();
    return this.#count;
  }

  get bytes(): number {
    let bytes = 0;
    for (const { length } of this.ranges()) bytes += length;
    return bytes;
  }

  /** As FORMAT.md lays it out. */
  encode(): Uint8Array {
    const { count } = this;
    const buffer = Buffer.alloc(headBytes + count * rangeBytes + checksumBytes);
    buffer.write(magic, 0, 'latin1');
    buffer.writeUInt16LE(formatVersion, 4);
    buffer.writeUInt32LE(count, 8);
    let at = headBytes;
    for (const { volume, offset, length } of this.ranges()) {
      buffer.writeUInt16LE(volume, at);
      buffer.writeUIntLE(offset, at + 2, 6);
      buffer.writeUIntLE(length, at + 8, 6);
      at += rangeBytes;
    }
    buffer.writeUInt32LE(crc32(buffer.subarray(0, at)), at);
    return buffer;
  }

  /** Of what is in order. */
  get #count(): number {
    let count = 0;
    for (const { sorted } of this.#volumes.values()) count += sorted.length / 2;
    return count;
  }

  #settled(volume: number): VolumeRanges | undefined {
    this.#settle();
    return this.#volumes.get(volume);
  }

  #settle(): void {
    for (const ranges of this.#volumes.values()) {
      if (ranges.pending.length === 0) continue;
      ranges.sorted = merged(ranges.sorted, inOrder(ranges.pending));
      ranges.pending.length = 0;
    }
    this.#pendingCount = 0;
    for (let grain = regionGrainBytes; this.#count > regionsMax; grain *= 2) {
      for (const ranges of this.#volumes.values()) ranges.sorted = widened(ranges.sorted, grain);
    }
  }
}

function damaged(what: string): JnbdError {
  return new JnbdError('catalog_damaged', `${what} is damaged: it does not hold regions`);
}

function inOrder(pairs: readonly number[]): Ranges {
  const starts = new Float64Array(pairs.length / 2);
  const ends = new Map<number, number>();
  for (let at = 0; at < pairs.length; at += 2) {
    const start = pairs[at] ?? 0;
    starts[at / 2] = start;
    ends.set(start, Math.max(ends.get(start) ?? 0, pairs[at + 1] ?? 0));
  }
  const ordered: number[] = [];
  for (const start of starts.sort()) append(ordered, start, ends.get(start) ?? start);
  return ordered;
}

/** Behind all others, which begin at or before it. */
function append(ranges: number[], start: number, end: number): void {
  const last = ranges.length - 1;
  const lastEnd = ranges[last] ?? -1;
  if (start <= lastEnd) ranges[last] = Math.max(end, lastEnd);
  else ranges.push(start, end);
}

function merged(a: Ranges, b: Ranges): Ranges {
  if (a.length === 0) return b;
  const result: number[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const startA = a[i] ?? Infinity;
    const startB = b[j] ?? Infinity;
    if (startA <= startB) {
      append(result, startA, a[i + 1] ?? 0);
      i += 2;
    } else {
      append(result, startB, b[j + 1] ?? 0);
      j += 2;
    }
  }
  return result;
}

function widened(ranges: Ranges, grain: number): Ranges {
  const result: number[] = [];
  for (let at = 0; at < ranges.length; at += 2) {
    const start = Math.floor((ranges[at] ?? 0) / grain) * grain;
    const end = Math.ceil((ranges[at + 1] ?? 0) / grain) * grain;
    append(result, start, Math.min(end, updateNumberMax + 1));
  }
  return result;
}

/** Where in `ranges` the first range that ends behind `offset` stands; its length where none does. */
function firstEndingAfter(ranges: Ranges, offset: number): number {
  let low = 0;
  let high = ranges.length / 2;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ranges[middle * 2 + 1] ?? 0) <= offset) low = middle + 1;
    else high = middle;
  }
  return low * 2;
}

function without(ranges: Ranges, start: number, end: number): Ranges {
  const first = firstEndingAfter(ranges, start);
  const result = ranges.slice(0, first);
  let at = first;
  for (; at < ranges.length && (ranges[at] ?? 0) < end; at += 2) {
    const from = ranges[at] ?? 0;
    const to = ranges[at + 1] ?? 0;
    if (from < start) result.push(from, start);
    if (to > end) result.push(end, to);
  }
  for (; at < ranges.length; at += 1) result.push(ranges[at] ?? 0);
  return result;
}
