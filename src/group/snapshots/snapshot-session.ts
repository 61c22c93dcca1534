import { SnapshotReader, emptyPlace, type SnapshotBlocks } from '../../history/snapshot-read.ts';
import type { ReceiveSlab, ReceiveSlabs } from '../../journal/receive-slab.ts';
import { messageOf } from '../../platform/errors.ts';
import { blockBytes } from '../../platform/limits.ts';
import type { VolumeExtents } from '../../volume/volume-extents.ts';
import type { ReadOwner, VolumeReader } from '../../volume/volume-read.ts';
import {
  addExtent,
  errno,
  type ExportClient,
  type ExportSession,
  type ExtentList,
  readPending,
  type VolumeMetrics,
} from '../apply/export.ts';
import type { OpenSession, Volume } from '../apply/volume.ts';
import type { SnapshotRecords } from './snapshot-records.ts';

/** What reading a snapshot needs of its group. */
export interface SnapshotReadGroup {
  readonly name: string;
  readonly slabs: ReceiveSlabs;
  readonly reader: VolumeReader;
  readonly extents: VolumeExtents;
  readonly snapshots: SnapshotRecords;
  readonly watermarks: { readonly durable: number };
  readonly replies: { readonly gate: { readonly isActive: boolean; readonly answerable: number } };
  park(session: SnapshotSession): void;
  sessionClosed(session: SnapshotSession): void;
}

/** Which snapshot of which volume, and the area that its sessions are counted at. */
export interface SnapshotOfVolume {
  readonly number: number;
  readonly name: string;
  readonly volume: Volume;
  readonly area: Volume;
}

/** One connection to a snapshot of one volume: nothing is ever written. */
export class SnapshotSession implements ExportSession, OpenSession, ReadOwner {
  readonly sizeBytes: number;
  readonly readOnly = true;
  readonly client: ExportClient;
  readonly metrics: VolumeMetrics;
  /** What stands there never goes without the journal, so that it cannot be sent from a file. */
  readonly fileDescriptor = -1;
  readonly plainThrough = Number.POSITIVE_INFINITY;
  readonly #group: SnapshotReadGroup;
  readonly #of: SnapshotOfVolume;
  readonly #blocks: SnapshotBlocks;
  readonly #reader: SnapshotReader;
  readonly #place = emptyPlace();
  waitsFor = 0;
  errorText = '';
  #isOpen = true;

  constructor(group: SnapshotReadGroup, of: SnapshotOfVolume, client: ExportClient) {
    this.#group = group;
    this.#of = of;
    this.client = client;
    this.metrics = of.area.metrics;
    this.sizeBytes = of.area.catalog.preserves?.dataBytes ?? 0;
    this.#blocks = group.snapshots.blocks(of.number, of.volume);
    this.#reader = new SnapshotReader(group.reader);
  }

  get slabs(): ReceiveSlabs {
    return this.#group.slabs;
  }

  /** Who writes nothing waits for nothing. */
  get newest(): number {
    return this.answerable;
  }

  get durable(): number {
    return this.#group.watermarks.durable;
  }

  get answerable(): number {
    return this.#group.replies.gate.answerable;
  }

  admit(): boolean {
    return true;
  }

  readonly isPreserving = false;

  preserveAhead(): void {}

  giveMemoryBack(): void {}

  stampWrite(): number {
    return -errno.EPERM;
  }

  stampRange(): number {
    return -errno.EPERM;
  }

  stampPad(): void {}

  commitRun(): number {
    return 0;
  }

  retire(slab: ReceiveSlab): void {
    this.slabs.giveBack(slab);
  }

  requestDurable(): void {}

  answerableAdvanced(): void {}

  /**
   * It shows every update before it, also those that hosts were not answered yet (SAFETY 24). Files of a later
   * snapshot that is not durable yet may not be there.
   */
  admitsRead(): boolean {
    const { replies, snapshots } = this.#group;
    const { number, volume } = this.#of;
    const { isActive, answerable } = replies.gate;
    const isShown = !isActive || number <= answerable;
    if (isShown && snapshots.isComplete(number, volume.catalog.id)) return true;
    this.#group.park(this);
    return false;
  }

  read(offset: number, length: number, bytes: Buffer, start: number, token: number): number {
    try {
      const result = this.#reader.read(this.#blocks, offset, length, bytes, start, this, token);
      return result === 'done' ? 0 : readPending;
    } catch (error) {
      return this.#failed(error);
    }
  }

  readCompleted(token: number, failure: Error | null): void {
    if (this.#isOpen) this.client.readCompleted(token, failure ? this.#failed(failure) : 0);
  }

  bytesInFile(): number {
    return 0;
  }

  extents(offset: number, length: number, out: ExtentList): number {
    out.count = 0;
    const { extents } = this.#group;
    const end = Math.min(this.sizeBytes, offset + length);
    const place = this.#place;
    try {
      for (let at = offset; at < end; ) {
        this.#blocks.find(Math.floor(at / blockBytes), Math.ceil(end / blockBytes), place);
        const stop = Math.min(end, place.end * blockBytes);
        if (!place.file) throw new Error('the file of a volume that it needs is missing');
        let told = at;
        let hasRoom = true;
        extents.list(place.volume, place.file, stop, at, stop - at, (wholeLength, state) => {
          const extentLength = Math.min(wholeLength, stop - told);
          if (extentLength === 0) return false;
          hasRoom = addExtent(out, extentLength, state);
          if (hasRoom) told += extentLength;
          return hasRoom;
        });
        // It may have looked at less than it was asked for.
        if (!hasRoom || told < stop) return 0;
        at = stop;
      }
      return 0;
    } catch (error) {
      return this.#failed(error);
    }
  }

  cache(): number {
    return 0;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#of.area.sessions.delete(this);
    this.#group.snapshots.sessionClosed();
    this.#group.sessionClosed(this);
  }

  #failed(error: unknown): number {
    const { volume, name } = this.#of;
    this.errorText = `reading ${this.#group.name}/${volume.catalog.name}@${name}: ${messageOf(error)}`;
    return errno.EIO;
  }
}
