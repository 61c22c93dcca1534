import { PreservedMap } from '../../history/preserved-map.ts';
import type { Journal } from '../../journal/journal.ts';
import { scratchSlab } from '../../journal/receive-slab.ts';
import { recordHeaderBytes, recordType } from '../../journal/record.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { Watermarks } from '../../journal/watermarks.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { systemErrorCode } from '../../platform/errors.ts';
import { blockBytes, recordPayloadBytesMax } from '../../platform/limits.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import { BlockTable } from '../../volume/block-table.ts';
import type { CatalogSnapshot } from '../catalog/snapshots.ts';
import { stampArea } from './area-record.ts';
import type { SnapshotRecords } from './snapshot-records.ts';

/** What giving back needs of the group. */
export interface ReturningGroup {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly chain: SegmentChain;
  readonly index: BlockIndex;
  readonly watermarks: Watermarks;
  readonly snapshots: SnapshotRecords;
  readonly refusesWrites: boolean;
  readonly hosts: { readonly isHeld: boolean };
  appended(): void;
}

/** Blocks [from, to) of an area. */
interface Superseded {
  readonly area: number;
  readonly from: number;
  readonly to: number;
}

const recordsAtOnce = 64;
const turnMilliseconds = 20;
const waitMilliseconds = 1000;
const nodesMax = BlockTable.nodesFor(recordPayloadBytesMax, false);

/**
 * Gives back what areas of deleted snapshots keep though an older area has it too: nobody looks for it there any
 * more (SAFETY 29). By records, so that it is given back everywhere, a few at a time, in the background. After a
 * crash, or by another primary, it is begun again, and passes over what is a hole already.
 */
export class SpaceReturn {
  readonly #group: ReturningGroup;
  #list: readonly CatalogSnapshot[] = [];
  #parts: Generator<Superseded> | undefined;
  /** Before this is applied, files do not have all that areas keep. */
  #through = 0;
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(group: ReturningGroup) {
    this.#group = group;
  }

  /** There may be something to give back: a snapshot was deleted, or this system is the primary from now on. */
  begin(): void {
    const { snapshots, watermarks } = this.#group;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#parts = undefined;
    this.#list = snapshots.list;
    if (!this.#list.some(({ isDeleted }) => isDeleted === true)) return;
    this.#through = watermarks.newest;
    this.#goOn(turnMilliseconds);
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #goOn(milliseconds: number): void {
    this.#timer = this.#group.clock.after(milliseconds, () => this.#turn());
  }

  #turn(): void {
    const { refusesWrites, hosts, watermarks, snapshots } = this.#group;
    // Whoever is the primary then begins again.
    if (this.#isClosed || refusesWrites) return;
    if (snapshots.list !== this.#list) {
      this.begin();
    } else if (hosts.isHeld || watermarks.applied < this.#through) {
      this.#goOn(waitMilliseconds);
    } else {
      try {
        if (this.#stampSome()) this.#goOn(turnMilliseconds);
      } catch (error) {
        // An area that cannot be read is told of by whoever needs it.
        if (systemErrorCode(error) === undefined) throw error;
      }
    }
  }

  /** False: that was all. */
  #stampSome(): boolean {
    const { journal, chain, index } = this.#group;
    this.#parts ??= supersededIn(this.#group.snapshots, this.#list);
    const slab = scratchSlab(recordsAtOnce * recordHeaderBytes);
    let isMore = true;
    for (let at = 0; isMore && at < slab.bytes.length; at += recordHeaderBytes) {
      const sequence = chain.current.header.sequence + 1;
      if (!journal.admits(recordHeaderBytes) || !index.admits(nodesMax, sequence)) break;
      const next = this.#parts.next();
      isMore = next.done !== true;
      if (next.done === true) break;
      const { area, from, to } = next.value;
      stampArea(this.#group, recordType.hole, slab, at, area, from, to);
    }
    journal.commitRun();
    this.#group.appended();
    return isMore;
  }
}

/** What areas of deleted snapshots have in their files, and areas from the next older living one on have too. */
function* supersededIn(
  records: SnapshotRecords,
  list: readonly CatalogSnapshot[],
): Generator<Superseded> {
  for (const { number, isDeleted, areas } of list) {
    if (isDeleted !== true) continue;
    const older = list.filter((snapshot) => snapshot.number < number);
    const living = older.findLastIndex((snapshot) => snapshot.isDeleted !== true);
    for (const { volume, area } of areas) {
      const { map, file } = records.areaOf(area);
      const covered = new PreservedMap(map.blocks * blockBytes);
      for (const link of older.slice(Math.max(0, living))) {
        const before = link.areas.find((each) => each.volume === volume);
        if (before) covered.addAll(records.areaOf(before.area).map);
      }
      for (let at = 0; at < map.blocks; ) {
        const start = covered.next(true, map.next(true, at, map.blocks), map.blocks);
        if (!map.has(start)) {
          at = start;
          continue;
        }
        const end = Math.min(
          map.next(false, start, map.blocks),
          covered.next(false, start, map.blocks),
        );
        const data = Math.floor(file.nextDataSync(start * blockBytes) / blockBytes);
        if (data < end) yield { area, from: Math.max(start, data), to: end };
        at = end;
      }
    }
  }
}
