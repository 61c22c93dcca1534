import type { ReceiveSlab, ReceiveSlabs } from '../../journal/receive-slab.ts';
import { recordHeaderBytes, recordType } from '../../journal/record.ts';
import { blockBytes, slabHeadroomBytes } from '../../platform/limits.ts';
import { zeroes } from '../../platform/zeroes.ts';
import { BlockTable } from '../../volume/block-table.ts';
import type { WritesAhead } from '../apply/export.ts';
import type { Volume } from '../apply/volume.ts';
import { stampArea } from './area-record.ts';
import { isHole, type PreservingGroup } from './preserver.ts';
import type { OpenArea } from './snapshot-records.ts';

export interface AheadPreservingGroup extends PreservingGroup {
  readonly slabs: ReceiveSlabs;
  readonly watermarks: { readonly durable: number };
  appended(): void;
}

/** More than this of one write makes runs that are long enough by themselves. */
const blocksMax = 16;
/** What replaces them, and what ends the run. */
const nodesMax = 2 * BlockTable.nodesFor(blocksMax * blockBytes, true);

/**
 * Preserves what the writes of a whole batch overwrite, before the first of them is numbered: the records stand
 * one behind the other and go to the journal at once, where one before each write would part both into runs of a
 * record each. It does what it can without waiting, and nothing has to be done: the `Preserver` sees to the rest, one
 * write at a time. A write that then is not taken leaves blocks preserved that are as they were.
 */
export class AheadPreserver {
  readonly #group: AheadPreservingGroup;
  readonly #counted: (blocks: number) => void;
  #slab: ReceiveSlab | undefined;
  /** Behind the last record in it. */
  #at = 0;
  /** Stamped, and not appended yet. */
  #runBytes = 0;

  constructor(group: AheadPreservingGroup, counted: (blocks: number) => void) {
    this.#group = group;
    this.#counted = counted;
  }

  preserve(volume: Volume, writes: WritesAhead): void {
    const { snapshots } = this.#group;
    try {
      const open = snapshots.openArea(volume.catalog.id);
      // Where it goes to more than one area, which is for a short while, the `Preserver` does all.
      if (!open || open.also.length > 0) return;
      for (let at = 0; at < writes.count; at += 1) {
        const offset = writes.offsets[at] ?? 0;
        const end = Math.ceil((offset + (writes.lengths[at] ?? 0)) / blockBytes);
        if (!this.#preserve(volume, open, Math.floor(offset / blockBytes), end)) return;
      }
    } catch {
      // What cannot be read is told to whoever writes there: the `Preserver` meets it again.
    } finally {
      this.#append();
    }
  }

  /** Nobody may come any more: the memory is for others. */
  release(): void {
    const slab = this.#slab;
    this.#slab = undefined;
    if (slab) this.#group.retained.retire(slab, this.#group.watermarks.durable);
  }

  #append(): void {
    if (this.#runBytes === 0) return;
    this.#runBytes = 0;
    this.#group.journal.commitRun();
    this.#group.appended();
  }

  /** False: no more now. */
  #preserve(volume: Volume, open: OpenArea, from: number, to: number): boolean {
    const { map, own } = open;
    const end = Math.min(to, map.blocks);
    for (let block = map.next(false, from, end); block < end; block = map.next(false, block, end)) {
      const stop = map.next(true, block, end);
      if (stop - block <= blocksMax) {
        const slab = this.#room(recordHeaderBytes + (stop - block) * blockBytes);
        if (!slab) return false;
        if (this.#stamp(volume, open, block, stop, slab)) {
          map.set(block, stop);
          if (own !== map) own.set(block, stop);
          this.#counted(stop - block);
        }
      }
      block = stop;
    }
    return true;
  }

  /** Memory for a record, where journal, index and file system have room for it. */
  #room(bytes: number): ReceiveSlab | undefined {
    const { journal, index, chain, guard, slabs } = this.#group;
    if (!journal.admits(this.#runBytes + bytes) || guard.isShort(bytes)) return undefined;
    if (!index.admits(nodesMax, chain.current.header.sequence + 1)) return undefined;
    if (this.#slab && this.#at + bytes > this.#slab.bytes.length) {
      // Before it is given away: until then it is not known for how long it is needed.
      this.#append();
      this.release();
    }
    if (!this.#slab) this.#at = slabHeadroomBytes;
    this.#slab ??= slabs.take();
    return this.#slab;
  }

  /** False: the device would have to be waited for, or the blocks are not all of a kind. */
  #stamp(volume: Volume, open: OpenArea, from: number, to: number, slab: ReceiveSlab): boolean {
    const { file, catalog } = volume;
    if (!file) return false;
    const { reader } = this.#group;
    const { bytes } = slab;
    const offset = from * blockBytes;
    const length = Math.min(to * blockBytes, open.dataBytes) - offset;
    const start = this.#at + recordHeaderBytes;
    const end = start + (to - from) * blockBytes;
    bytes.fill(0, start + length, end);
    const isRead = reader.readAtHand(catalog.id, file, offset, length, bytes, start);
    if (!isRead && !isHole(reader, volume, from, to)) return false;
    const zeroBlocks = isRead ? zeroBlocksIn(bytes, start, end) : to - from;
    let stamped = recordHeaderBytes;
    if (zeroBlocks === to - from) {
      stampArea(this.#group, recordType.hole, slab, this.#at, open.area, from, to);
    } else if (zeroBlocks === 0) {
      stampArea(this.#group, recordType.write, slab, this.#at, open.area, from, to);
      stamped += end - start;
    } else return false;
    this.#at += stamped;
    this.#runBytes += stamped;
    return true;
  }
}

function zeroBlocksIn(bytes: Buffer, start: number, end: number): number {
  let count = 0;
  for (let at = start; at < end; at += blockBytes) {
    if (bytes.compare(zeroes(), 0, blockBytes, at, at + blockBytes) === 0) count += 1;
  }
  return count;
}
