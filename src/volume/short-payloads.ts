import { assert } from '../platform/assert.ts';
import { KiB, MiB, segmentBytes } from '../platform/limits.ts';
import type { ApplyStep } from './apply-plan.ts';

/** Payloads shorter than this are kept here: lengths have 16 bits. */
export const shortBytes = 32 * KiB;
/** What begins in one such part of a segment is read at once. */
export const windowBytes = 2 * MiB;
const windowsPerSegment = segmentBytes / windowBytes;
const firstRoom = 2 ** 12;
/** As many as a table has nodes. */
const roomMax = 2 ** 20;

/**
 * Steps whose payloads are short, in the order of their volumes' addresses, until their table is planned to
 * its end; then in windows, in the order of the journal, and within a window as they came. A table has a
 * million of them: as objects they were most of the memory of the apply thread.
 */
export class ShortPayloads {
  /** In the volume. */
  #offsets = new Float64Array(firstRoom);
  /** In the journal: segments, relative to the table's first one, times their size, and what is in the segment. */
  #places = new Float64Array(firstRoom);
  #lengths = new Uint16Array(firstRoom);
  #volumes = new Uint16Array(firstRoom);
  /** Which of these stands where once `sort` was called. */
  #order = new Uint32Array(firstRoom);
  /** Of each window: how many there are; from `sort` on where they end. */
  #counts = new Uint32Array(windowsPerSegment);
  #count = 0;
  #windows = 0;

  /** No more can be added. */
  get isFull(): boolean {
    return this.#count === roomMax;
  }

  get count(): number {
    return this.#count;
  }

  clear(): void {
    this.#counts.fill(0, 0, this.#windows);
    this.#count = 0;
    this.#windows = 0;
  }

  add({ volume, offset, length, segment, segmentOffset }: ApplyStep): void {
    assert(length < shortBytes && !this.isFull, 'a short payload, and room for it');
    const at = this.#count;
    if (at === this.#order.length) this.#grow();
    this.#count += 1;
    this.#offsets[at] = offset;
    this.#places[at] = segment * segmentBytes + segmentOffset;
    this.#lengths[at] = length;
    this.#volumes[at] = volume;
    const window = segment * windowsPerSegment + Math.floor(segmentOffset / windowBytes);
    if (window >= this.#counts.length) this.#growCounts(window + 1);
    if (window >= this.#windows) this.#windows = window + 1;
    this.#counts[window] = (this.#counts[window] ?? 0) + 1;
  }

  /** From now on `at` counts in the order of the journal's windows. */
  sort(): void {
    const counts = this.#counts;
    let before = 0;
    for (let window = 0; window < this.#windows; window += 1) {
      const count = counts[window] ?? 0;
      counts[window] = before;
      before += count;
    }
    for (let i = 0; i < this.#count; i += 1) {
      const window = Math.floor((this.#places[i] ?? 0) / windowBytes);
      const at = counts[window] ?? 0;
      counts[window] = at + 1;
      this.#order[at] = i;
    }
  }

  /** Behind the last one of the window in which the one at `first` is. */
  windowEnd(first: number): number {
    return this.#counts[Math.floor(this.#placeAt(first) / windowBytes)] ?? 0;
  }

  volume(at: number): number {
    return this.#volumes[this.#order[at] ?? 0] ?? 0;
  }

  offset(at: number): number {
    return this.#offsets[this.#order[at] ?? 0] ?? 0;
  }

  length(at: number): number {
    return this.#lengths[this.#order[at] ?? 0] ?? 0;
  }

  segment(at: number): number {
    return Math.floor(this.#placeAt(at) / segmentBytes);
  }

  segmentOffset(at: number): number {
    return this.#placeAt(at) % segmentBytes;
  }

  #placeAt(at: number): number {
    return this.#places[this.#order[at] ?? 0] ?? 0;
  }

  #grow(): void {
    const room = Math.min(roomMax, this.#order.length * 4);
    this.#offsets = moved(this.#offsets, new Float64Array(room));
    this.#places = moved(this.#places, new Float64Array(room));
    this.#lengths = moved(this.#lengths, new Uint16Array(room));
    this.#volumes = moved(this.#volumes, new Uint16Array(room));
    this.#order = new Uint32Array(room);
  }

  #growCounts(windows: number): void {
    this.#counts = moved(this.#counts, new Uint32Array(2 ** Math.ceil(Math.log2(windows))));
  }
}

/** What `from` has, in more room. */
function moved<Numbers extends Float64Array | Uint16Array | Uint32Array>(
  from: Numbers,
  room: Numbers,
): Numbers {
  room.set(from);
  return room;
}
