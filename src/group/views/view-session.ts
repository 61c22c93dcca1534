import { ViewReader } from '../../history/view-read.ts';
import type { ReceiveSlabs } from '../../journal/receive-slab.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { ReadResult } from '../../volume/volume-read.ts';
import type { ExportClient, ExtentList } from '../apply/export.ts';
import { ReadOnlySession } from '../apply/read-only-session.ts';
import type { View, ViewVolume } from './view.ts';
import { listViewExtents } from './view-extents.ts';

/** What reading a view needs of its group. */
export interface ViewReadGroup {
  readonly name: string;
  readonly slabs: ReceiveSlabs;
  readonly chain: SegmentChain;
  readonly watermarks: { readonly durable: number };
}

/** One connection to a volume of a view: nothing is ever written, and nothing changes. */
export class ViewSession extends ReadOnlySession {
  readonly #view: View;
  readonly #volume: ViewVolume;
  readonly #reader: ViewReader;

  constructor(group: ViewReadGroup, view: View, volume: ViewVolume, client: ExportClient) {
    const { metrics, entry } = volume;
    const { name, number } = view.entry;
    super(group, {
      name: `${group.name}/${entry.name}@${name || number}`,
      client,
      metrics,
      sizeBytes: entry.sizeBytes,
    });
    this.#view = view;
    this.#volume = volume;
    this.#reader = new ViewReader(group.chain);
  }

  get answerable(): number {
    return this.#view.entry.number;
  }

  /** What it shows was answered before it was made. */
  admitsRead(): boolean {
    return true;
  }

  protected readInto(
    offset: number,
    length: number,
    bytes: Buffer,
    start: number,
    token: number,
  ): ReadResult {
    this.#checkOpen();
    return this.#reader.read(this.#volume, offset, length, bytes, start, this, token);
  }

  protected listExtents(offset: number, length: number, out: ExtentList): void {
    this.#checkOpen();
    listViewExtents(this.#volume, this.sizeBytes, offset, length, out);
  }

  protected closed(): void {
    this.#volume.sessions.delete(this);
  }

  #checkOpen(): void {
    if (this.#view.state !== 'open') throw new Error(this.#view.reason);
  }
}
