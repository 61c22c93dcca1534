import { SnapshotReader, emptyPlace, type SnapshotBlocks } from '../../history/snapshot-read.ts';
import type { ReceiveSlabs } from '../../journal/receive-slab.ts';
import { blockBytes } from '../../platform/limits.ts';
import type { VolumeExtents } from '../../volume/volume-extents.ts';
import type { ReadResult, VolumeReader } from '../../volume/volume-read.ts';
import { addExtent, type ExportClient, type ExtentList } from '../apply/export.ts';
import { ReadOnlySession } from '../apply/read-only-session.ts';
import type { Volume } from '../apply/volume.ts';
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
export class SnapshotSession extends ReadOnlySession {
  readonly #group: SnapshotReadGroup;
  readonly #of: SnapshotOfVolume;
  readonly #blocks: SnapshotBlocks;
  readonly #reader: SnapshotReader;
  readonly #place = emptyPlace();

  constructor(group: SnapshotReadGroup, of: SnapshotOfVolume, client: ExportClient) {
    const { metrics, catalog } = of.area;
    super(group, {
      name: `${group.name}/${of.volume.catalog.name}@${of.name}`,
      client,
      metrics,
      sizeBytes: catalog.preserves?.dataBytes ?? 0,
    });
    this.#group = group;
    this.#of = of;
    this.#blocks = group.snapshots.blocks(of.number, of.volume);
    this.#reader = new SnapshotReader(group.reader);
  }

  get answerable(): number {
    return this.#group.replies.gate.answerable;
  }

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

  protected readInto(
    offset: number,
    length: number,
    bytes: Buffer,
    start: number,
    token: number,
  ): ReadResult {
    return this.#reader.read(this.#blocks, offset, length, bytes, start, this, token);
  }

  protected listExtents(offset: number, length: number, out: ExtentList): void {
    const { extents } = this.#group;
    const end = Math.min(this.sizeBytes, offset + length);
    const place = this.#place;
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
      if (!hasRoom || told < stop) return;
      at = stop;
    }
  }

  protected closed(): void {
    this.#of.area.sessions.delete(this);
    this.#group.snapshots.sessionClosed();
    this.#group.sessionClosed(this);
  }
}
