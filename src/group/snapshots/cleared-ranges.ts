import { recordHeaderBytes, type recordType } from '../../journal/record.ts';
import { assert } from '../../platform/assert.ts';
import { blockBytes, KiB } from '../../platform/limits.ts';
import type { Volume } from '../apply/volume.ts';
import {
  type Preserver,
  preserved,
  type PreservingGroup,
  waits,
  type WaitingWriter,
} from './preserver.ts';

/** What is preserved and cleared in one turn. */
const unitBytes = 256 * KiB;
/** After so many the others have their turn. */
const unitsMax = 16;
/** Parts of a TRIM that are done; the others are left as they are, which it may be. */
const trimsMax = 64;

/** One record that clears bytes of the volume, from memory of its own. Its number; 0: there is no room now. */
export type StampCleared = (offset: number, length: number) => number;

/** How far a range has come whose writer asks again. */
interface Progress {
  readonly offset: number;
  readonly length: number;
  readonly type: number;
  at: number;
}

/**
 * WRITE_ZEROES and TRIM of volumes of which a snapshot needs blocks (SAFETY 28). Zeroes are written in parts, each
 * behind what it replaces; whoever waits for one goes on where it was. Nothing is preserved for a TRIM: what a
 * snapshot needs stays as it is.
 */
export class ClearedRanges {
  readonly #group: PreservingGroup;
  readonly #preserver: Preserver;
  readonly #progress = new Map<WaitingWriter, Progress>();

  constructor(group: PreservingGroup, preserver: Preserver) {
    this.#group = group;
    this.#preserver = preserver;
  }

  /**
   * The offset from which on the range may be cleared by one record: all before it is done. Below 0: that, less
   * 1, is the negated error number, or `waits`.
   */
  prepare(
    writer: WaitingWriter,
    volume: Volume,
    type: (typeof recordType)['zero' | 'hole'],
    offset: number,
    length: number,
    stamp: StampCleared,
  ): number {
    const { replies, chain } = this.#group;
    const end = offset + length;
    const before = this.#progress.get(writer);
    this.#progress.delete(writer);
    const isSame = before?.offset === offset && before.length === length && before.type === type;
    let at = isSame ? before.at : offset;
    for (let units = 0; ; units += 1) {
      const missing = this.#firstMissing(volume, at, end);
      // What was admitted has been used by the part before.
      const isAdmitted = units === 0 || replies.admits(recordHeaderBytes, chain);
      if (missing >= end && isAdmitted) return at;
      if (units === unitsMax || !isAdmitted) {
        this.#progress.set(writer, { offset, length, type, at });
        this.#group.park(writer);
        if (isAdmitted) this.#group.hosts.wake();
        return waits - 1;
      }
      const start = Math.max(at, missing);
      const stop = Math.min(end, Math.floor(start / unitBytes + 1) * unitBytes);
      const result = this.#preserver.prepare(writer, volume, start, stop - start);
      if (result !== preserved) {
        if (result === waits) this.#progress.set(writer, { offset, length, type, at });
        return result - 1;
      }
      if (stop === end) return at;
      assert(stamp(at, stop - at) > 0, 'there is room for what was preserved for');
      at = stop;
    }
  }

  /** Clears what no snapshot needs; the number of the last record, 0: there was nothing. */
  trim(volume: Volume, offset: number, length: number, stamp: StampCleared): number {
    const end = offset + length;
    let number = 0;
    for (let at = offset, parts = 0; at < end && parts < trimsMax; parts += 1) {
      const start = this.#firstPresent(volume, at, end);
      const stop = Math.min(end, this.#firstMissing(volume, start, end));
      const stamped = stop > start ? stamp(start, stop - start) : number;
      if (stop > start && stamped === 0) return number;
      number = stamped;
      at = stop;
    }
    return number;
  }

  forget(writer: WaitingWriter): void {
    this.#progress.delete(writer);
  }

  /** Where the first block begins that is still to be preserved; at or behind `end`: there is none. */
  #firstMissing(volume: Volume, offset: number, end: number): number {
    const open = this.#group.snapshots.openArea(volume.catalog.id);
    if (!open) return end;
    const stop = Math.min(Math.ceil(end / blockBytes), open.map.blocks);
    const block = open.map.next(false, Math.floor(offset / blockBytes), stop);
    return block < stop ? block * blockBytes : end;
  }

  /** Where, from `offset` on, a block begins that is preserved, or that no snapshot has. */
  #firstPresent(volume: Volume, offset: number, end: number): number {
    const open = this.#group.snapshots.openArea(volume.catalog.id);
    const first = Math.floor(offset / blockBytes);
    if (!open || first >= open.map.blocks) return offset;
    const stop = Math.min(Math.ceil(end / blockBytes), open.map.blocks);
    return Math.min(end, Math.max(offset, open.map.next(true, first, stop) * blockBytes));
  }
}
