import { OldBlocks, type OldBlocksRead } from '../../history/old-blocks.ts';
import type { Journal } from '../../journal/journal.ts';
import { scratchSlab } from '../../journal/receive-slab.ts';
import { recordHeaderBytes, recordType } from '../../journal/record.ts';
import type { RetainedRuns } from '../../journal/retained-runs.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { FileExtent } from '../../platform/disk.ts';
import { messageOf } from '../../platform/errors.ts';
import { blockBytes, slabBytes } from '../../platform/limits.ts';
import { zeroes } from '../../platform/zeroes.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import { BlockTable } from '../../volume/block-table.ts';
import type { VolumeReader } from '../../volume/volume-read.ts';
import { errno } from '../apply/export.ts';
import type { Volume } from '../apply/volume.ts';
import { stampArea } from './area-record.ts';
import type { OpenArea, SnapshotRecords } from './snapshot-records.ts';

/** A connection whose request waits unnumbered. */
export interface WaitingWriter {
  readonly client: { admitted(): void };
}

/** What preserving needs of the group. */
export interface PreservingGroup {
  readonly name: string;
  readonly journal: Journal;
  readonly chain: SegmentChain;
  readonly index: BlockIndex;
  readonly reader: VolumeReader;
  readonly retained: RetainedRuns;
  readonly snapshots: SnapshotRecords;
  readonly guard: { isShort(bytes: number): boolean; refused(): void };
  readonly hosts: { wake(): void };
  readonly replies: { admits(bytes: number, journal: SegmentChain): boolean };
  journalIsFullFor(bytes: number): boolean;
  park(writer: WaitingWriter): void;
}

/** The blocks are preserved: the write may be numbered in this turn. */
export const preserved = 1;
/** Ask again when `client.admitted` is called. */
export const waits = 0;

/** For what is overwritten, what overwrites it, and what ends the same request. */
const slabNodes = BlockTable.nodesFor(slabBytes, true);
const extent: FileExtent = { storage: 'data', end: 0, work: 0 };

/**
 * Puts what blocks hold into the newest snapshot's area before they are overwritten: as records of their own,
 * right before the record of the write (SAFETY 28). So whoever has the write has what it replaced, and nobody
 * needs to read a volume to find it.
 */
export class Preserver {
  readonly #group: PreservingGroup;
  readonly #old: OldBlocks;
  /** The sentence behind the last result below 0. */
  errorText = '';
  /** Bytes in the journal for what the last write replaced. */
  recordBytes = 0;
  /** Since the group was opened. */
  preservedBlocks = 0;
  writesThatWaited = 0;

  constructor(group: PreservingGroup) {
    this.#group = group;
    this.#old = new OldBlocks(group.reader, () => group.hosts.wake());
  }

  /**
   * Sees to it that bytes [offset, offset + length) of the volume, which are about to be overwritten, are where
   * the newest snapshot needs them; `preserved`, `waits`, or a negated error number. Asked again it begins anew: what
   * others preserved meanwhile is dropped, and what was read for another snapshot too.
   */
  prepare(writer: WaitingWriter, volume: Volume, offset: number, length: number): number {
    this.recordBytes = 0;
    try {
      const open = this.#group.snapshots.openArea(volume.catalog.id);
      if (!open) return preserved;
      const end = Math.min(Math.ceil((offset + length) / blockBytes), open.map.blocks);
      const from = open.map.next(false, Math.floor(offset / blockBytes), end);
      if (from >= end) return preserved;
      return this.#preserve(writer, volume, open, from, lastMissing(open, from, end), length);
    } catch (error) {
      return this.#fail(errno.EIO, volume, messageOf(error));
    }
  }

  /** The writer is gone, or asks for something else. */
  forget(writer: WaitingWriter): void {
    this.#old.forget(writer);
  }

  /** Of [from, to) the first and the last block are not preserved. */
  #preserve(
    writer: WaitingWriter,
    volume: Volume,
    open: OpenArea,
    from: number,
    to: number,
    length: number,
  ): number {
    const { guard } = this.#group;
    const bytes = (to - from) * (blockBytes + recordHeaderBytes) * (1 + open.also.length);
    const room = this.#admit(writer, bytes + length + 2 * recordHeaderBytes, open.also.length);
    if (room !== preserved) return room;
    const { file } = volume;
    if (!file) return this.#fail(errno.EIO, volume, volume.failure);
    if (isHole(this.#group.reader, volume, from, to)) {
      this.#stampRuns(open, from, to, undefined);
      return preserved;
    }
    if (guard.isShort(bytes)) {
      guard.refused();
      const what = 'the file system has no room for what a snapshot needs of this write';
      return this.#fail(errno.ENOSPC, volume, what);
    }
    const { area, dataBytes } = open;
    const of = { area, volume: volume.catalog.id, file, dataBytes };
    const read = this.#old.take(writer, of, from, to);
    if (!read) {
      this.writesThatWaited += 1;
      this.#group.park(writer);
      return waits;
    }
    if (read.state === 'failed') {
      const why = read.failure ? messageOf(read.failure) : '';
      return this.#fail(errno.EIO, volume, `what a snapshot needs cannot be read: ${why}`);
    }
    this.#stampRuns(open, from, to, read);
    return preserved;
  }

  #admit(writer: WaitingWriter, bytes: number, areas: number): number {
    const group = this.#group;
    const { journal, chain, index, retained } = group;
    // What is more than all that may be unsynced goes alone.
    const isAdmitted = journal.admits(bytes) || (retained.bytes === 0 && chain.admits(bytes));
    const nodesMax = (3 + areas) * slabNodes;
    if (isAdmitted && index.admits(nodesMax, chain.current.header.sequence + 1)) return preserved;
    if (group.journalIsFullFor(bytes)) {
      this.errorText = `the journal of group ${group.name} is full, and what it holds is still needed`;
      return -errno.ENOSPC;
    }
    group.park(writer);
    return waits;
  }

  /** A record for each run of blocks that are missing, and alike. Without `read` they are zeroes. */
  #stampRuns(open: OpenArea, from: number, to: number, read: OldBlocksRead | undefined): void {
    const { map, own } = open;
    for (let block = from; block < to; ) {
      const start = map.next(false, block, to);
      const stop = map.next(true, start, to);
      for (let at = start; at < stop; ) {
        const isZero = isZeroAt(read, at);
        let end = at + 1;
        while (end < stop && isZeroAt(read, end) === isZero) end += 1;
        const data = isZero ? undefined : read;
        // Before, so that the newest area has nothing that these lack, wherever it ends.
        for (const also of open.also) this.#stampMissing(also, at, end, data);
        if (data) this.#stampData(open, at, end, data);
        else this.#stampZeroes(open, at, end);
        map.set(at, end);
        if (own !== map) own.set(at, end);
        this.preservedBlocks += end - at;
        at = end;
      }
      block = stop;
    }
  }

  /** Those blocks of [from, to) that the area lacks; `read` undefined: they are zeroes. */
  #stampMissing(open: OpenArea, from: number, to: number, read: OldBlocksRead | undefined): void {
    const { map, own, area } = open;
    const end = Math.min(to, map.blocks);
    for (let block = from; block < end; ) {
      const start = map.next(false, block, end);
      const stop = map.next(true, start, end);
      if (start < stop && read) {
        // From memory of its own: the same bytes become another record, too.
        const slab = scratchSlab(recordHeaderBytes + (stop - start) * blockBytes);
        const at = recordHeaderBytes + (start - read.from) * blockBytes;
        read.slab.bytes.copy(slab.bytes, recordHeaderBytes, at, at + (stop - start) * blockBytes);
        stampArea(this.#group, recordType.write, slab, 0, area, start, stop);
        this.recordBytes += slab.bytes.length;
      } else if (start < stop) this.#stampZeroes(open, start, stop);
      map.set(start, stop);
      if (own !== map) own.set(start, stop);
      block = stop;
    }
  }

  /** The header goes over what stands before: a block that is no record of this slab. */
  #stampData({ area }: OpenArea, from: number, to: number, read: OldBlocksRead): void {
    stampArea(
      this.#group,
      recordType.write,
      read.slab,
      (from - read.from) * blockBytes,
      area,
      from,
      to,
    );
    this.recordBytes += recordHeaderBytes + (to - from) * blockBytes;
  }

  #stampZeroes({ area }: OpenArea, from: number, to: number): void {
    stampArea(this.#group, recordType.hole, scratchSlab(recordHeaderBytes), 0, area, from, to);
    this.recordBytes += recordHeaderBytes;
  }

  #fail(error: number, volume: Volume, what: string): number {
    this.errorText = `volume ${this.#group.name}/${volume.catalog.name}: ${what}`;
    return -error;
  }
}

/** Blocks that were never written, as most of a new volume: nothing needs to be read. */
export function isHole(reader: VolumeReader, volume: Volume, from: number, to: number): boolean {
  const { file, catalog } = volume;
  const offset = from * blockBytes;
  const end = Math.min(to * blockBytes, catalog.sizeBytes);
  if (!file || reader.bytesInFile(catalog.id, offset, end - offset) < end - offset) return false;
  file.extentSync(offset, end, extent);
  return extent.storage === 'hole' && extent.end >= end;
}

/** Behind the last block of [from, end) that the area does not have; `from` is one. */
function lastMissing({ map }: OpenArea, from: number, end: number): number {
  let last = from + 1;
  for (let block = from; block < end; ) {
    last = map.next(true, block, end);
    block = map.next(false, last, end);
  }
  return last;
}

function isZeroAt(read: OldBlocksRead | undefined, block: number): boolean {
  if (!read) return true;
  const at = recordHeaderBytes + (block - read.from) * blockBytes;
  return read.slab.bytes.compare(zeroes(), 0, blockBytes, at, at + blockBytes) === 0;
}
