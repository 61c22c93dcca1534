import type { ReceiveSlab, ReceiveSlabs } from '../../journal/receive-slab.ts';
import { messageOf } from '../../platform/errors.ts';
import type { ReadOwner, ReadResult } from '../../volume/volume-read.ts';
import {
  errno,
  type ExportClient,
  type ExportSession,
  type ExtentList,
  readPending,
  type VolumeMetrics,
} from './export.ts';
import type { OpenSession } from './volume.ts';

/** What is shown, and to whom. */
export interface Shown {
  /** `GROUP/VOLUME@NAME`. */
  readonly name: string;
  readonly client: ExportClient;
  readonly metrics: VolumeMetrics;
  readonly sizeBytes: number;
}

interface ReadOnlyGroup {
  readonly slabs: ReceiveSlabs;
  readonly watermarks: { readonly durable: number };
}

/** One connection to what is nobody's to write to: volumes as they were. */
export abstract class ReadOnlySession implements ExportSession, OpenSession, ReadOwner {
  readonly readOnly = true;
  /** What stands in a file may be elsewhere, or overwritten, at any time. */
  readonly fileDescriptor = -1;
  readonly plainThrough = Number.POSITIVE_INFINITY;
  readonly isPreserving = false;
  readonly client: ExportClient;
  readonly metrics: VolumeMetrics;
  readonly sizeBytes: number;
  readonly #group: ReadOnlyGroup;
  readonly #name: string;
  waitsFor = 0;
  errorText = '';
  #isOpen = true;

  constructor(group: ReadOnlyGroup, { name, client, metrics, sizeBytes }: Shown) {
    this.#group = group;
    this.#name = name;
    this.client = client;
    this.metrics = metrics;
    this.sizeBytes = sizeBytes;
  }

  abstract get answerable(): number;
  abstract admitsRead(): boolean;
  /** As `VolumeReader.read`; what it throws is told to the client. */
  protected abstract readInto(
    offset: number,
    length: number,
    bytes: Buffer,
    start: number,
    token: number,
  ): ReadResult;
  /** Adds what fits; what it throws is told to the client. */
  protected abstract listExtents(offset: number, length: number, out: ExtentList): void;
  /** Once. */
  protected abstract closed(): void;

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

  admit(): boolean {
    return true;
  }

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

  read(offset: number, length: number, bytes: Buffer, start: number, token: number): number {
    try {
      return this.readInto(offset, length, bytes, start, token) === 'done' ? 0 : readPending;
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
    try {
      this.listExtents(offset, length, out);
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
    this.closed();
  }

  #failed(error: unknown): number {
    this.errorText = `reading ${this.#name}: ${messageOf(error)}`;
    return errno.EIO;
  }
}
