import { ViewReader } from '../../history/view-read.ts';
import type { ReceiveSlab, ReceiveSlabs } from '../../journal/receive-slab.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import { messageOf } from '../../platform/errors.ts';
import type { ReadOwner } from '../../volume/volume-read.ts';
import {
  errno,
  type ExportClient,
  type ExportSession,
  type ExtentList,
  readPending,
  type VolumeMetrics,
} from '../apply/export.ts';
import type { OpenSession } from '../apply/volume.ts';
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
export class ViewSession implements ExportSession, OpenSession, ReadOwner {
  readonly sizeBytes: number;
  readonly readOnly = true;
  readonly client: ExportClient;
  readonly metrics: VolumeMetrics;
  /** What stands in a file may be overwritten at any time. */
  readonly fileDescriptor = -1;
  readonly plainThrough = Number.POSITIVE_INFINITY;
  readonly #group: ViewReadGroup;
  readonly #view: View;
  readonly #volume: ViewVolume;
  readonly #reader: ViewReader;
  waitsFor = 0;
  errorText = '';
  #isOpen = true;

  constructor(group: ViewReadGroup, view: View, volume: ViewVolume, client: ExportClient) {
    this.#group = group;
    this.#view = view;
    this.#volume = volume;
    this.client = client;
    this.metrics = volume.metrics;
    this.sizeBytes = volume.entry.sizeBytes;
    this.#reader = new ViewReader(group.chain);
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
    return this.#view.entry.number;
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

  /** What it shows was answered before it was made. */
  admitsRead(): boolean {
    return true;
  }

  read(offset: number, length: number, bytes: Buffer, start: number, token: number): number {
    if (this.#view.state !== 'open') return this.#failed(new Error(this.#view.reason));
    try {
      const result = this.#reader.read(this.#volume, offset, length, bytes, start, this, token);
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
    if (this.#view.state !== 'open') return this.#failed(new Error(this.#view.reason));
    try {
      listViewExtents(this.#volume, this.sizeBytes, offset, length, out);
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
    this.#volume.sessions.delete(this);
  }

  #failed(error: unknown): number {
    const { entry } = this.#view;
    this.errorText = `reading ${this.#group.name}/${this.#volume.entry.name}@${entry.name}: ${messageOf(error)}`;
    return errno.EIO;
  }
}
