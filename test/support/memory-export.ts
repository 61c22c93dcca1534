import {
  type Errno,
  errno,
  type Export,
  type ExportClient,
  type ExportDirectory,
  type ExportSession,
  type ExtentList,
  type RangeEffect,
  readPending,
  type VolumeMetrics,
} from '../../src/group/apply/export.ts';
import type { ReceiveSlab, ReceiveSlabs } from '../../src/journal/receive-slab.ts';
import { assert } from '../../src/platform/assert.ts';
import type { JnbdError } from '../../src/platform/errors.ts';
import { slabBytes, slabHeadroomBytes } from '../../src/platform/limits.ts';
import { createMetrics } from './volume-metrics.ts';

const blockBytes = 4096;
const stateData = 0;
const stateZero = 2;
const stateHole = 3;

export interface MemoryExportSettings {
  readonly name?: string;
  readonly description?: string;
  readonly sizeBytes?: number;
  readonly readOnly?: boolean;
  readonly rotational?: boolean;
  /** How long after being asked for, durability arrives; 0: within the call. */
  readonly durableMilliseconds?: number;
  /** How long after a write it arrives when nobody asks. */
  readonly syncMilliseconds?: number;
  /** Bytes that may be appended and not durable before `admit` says no. */
  readonly unsyncedBytesMax?: number;
  /** Reads are answered later, as if the disk had to be asked. */
  readonly readMilliseconds?: number;
}

interface StampedRecord {
  readonly slab: ReceiveSlab;
  readonly start: number;
  readonly end: number;
  readonly apply: () => void;
}

/** What a failed sync would have to write again: it must still be there when it is durable. */
interface RetainedBytes {
  readonly slab: ReceiveSlab;
  readonly start: number;
  readonly contents: Buffer;
}

/**
 * A volume in memory with the semantics of the real one: records take effect at `commitRun` and are
 * read back from the slab, not before; they are durable later; slabs come back when they are.
 */
export class MemoryExport implements Export {
  readonly name: string;
  readonly description: string;
  readonly readOnly: boolean;
  readonly rotational: boolean;
  readonly contents: Buffer;
  /** One of the three states for each block. */
  readonly blocks: Uint8Array;
  readonly settings: MemoryExportSettings;
  readonly sessions = new Set<MemorySession>();
  readonly retired = new Set<ReceiveSlab>();
  readonly metrics = createMetrics();
  readonly slabs: ReceiveSlabs;
  newest = 0;
  durable = 0;
  unsyncedBytes = 0;
  /** Errors to come: each is taken once. */
  failNextCommit: Errno | undefined;
  failNextStamp: Errno | undefined;
  failReads: Errno | undefined;
  refusal: () => JnbdError | undefined = () => undefined;
  syncs = 0;
  pads = 0;
  readonly #retained: RetainedBytes[] = [];
  #timer: NodeJS.Timeout | undefined;
  #due = 0;

  constructor(slabs: ReceiveSlabs, settings: MemoryExportSettings = {}) {
    this.slabs = slabs;
    this.settings = settings;
    this.name = settings.name ?? 'memory';
    this.description = settings.description ?? 'a volume in memory';
    this.readOnly = settings.readOnly ?? false;
    this.rotational = settings.rotational ?? false;
    const sizeBytes = settings.sizeBytes ?? 16 * 1024 * 1024;
    this.contents = Buffer.alloc(sizeBytes);
    this.blocks = new Uint8Array(Math.ceil(sizeBytes / blockBytes)).fill(stateHole);
  }

  get sizeBytes(): number {
    return this.contents.length;
  }

  open(client: ExportClient): ExportSession {
    const refusal = this.refusal();
    if (refusal) throw refusal;
    const session = new MemorySession(this, client);
    this.sessions.add(session);
    return session;
  }

  appended(bytes: number): void {
    this.unsyncedBytes += bytes;
    this.#syncAfter(this.settings.syncMilliseconds ?? 20);
  }

  retain(slab: ReceiveSlab, start: number, end: number): void {
    this.#retained.push({ slab, start, contents: Buffer.from(slab.bytes.subarray(start, end)) });
  }

  retire(slab: ReceiveSlab): void {
    assert(!this.retired.has(slab), 'a slab is retired once');
    if (slab.retainedThrough <= this.durable) this.slabs.giveBack(slab);
    else this.retired.add(slab);
  }

  requestDurable(): void {
    const delay = this.settings.durableMilliseconds ?? 0;
    if (delay === 0) {
      this.#reach();
      setImmediate(() => this.#tell());
    } else this.#syncAfter(delay);
  }

  #syncAfter(milliseconds: number): void {
    const due = Date.now() + milliseconds;
    if (this.#timer && this.#due <= due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#reach();
      this.#tell();
    }, milliseconds);
  }

  /** Nothing that is not durable yet ever will be. */
  failDurable(error: Errno, text: string): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const session of this.sessions)
      session.client.durableFailed(this.durable + 1, error, text);
  }

  revoke(): void {
    for (const session of this.sessions) session.client.revoke('the export goes away');
  }

  #reach(): void {
    this.syncs += 1;
    for (const { slab, start, contents } of this.#retained.splice(0)) {
      const found = slab.bytes.subarray(start, start + contents.length);
      assert(found.equals(contents), 'what is not durable yet stays in its slab');
    }
    this.durable = this.newest;
    this.unsyncedBytes = 0;
    for (const slab of this.retired) {
      this.retired.delete(slab);
      this.slabs.giveBack(slab);
    }
  }

  #tell(): void {
    for (const session of this.sessions) {
      session.client.durableReached(this.durable);
      session.tellAdmitted();
    }
  }

  setRange(offset: number, length: number, state: number): void {
    const first = Math.ceil(offset / blockBytes);
    const last = Math.floor((offset + length) / blockBytes);
    if (state === stateData) {
      this.blocks.fill(
        state,
        Math.floor(offset / blockBytes),
        Math.ceil((offset + length) / blockBytes),
      );
    } else if (last > first) this.blocks.fill(state, first, last);
  }
}

export class MemorySession implements ExportSession {
  readonly volume: MemoryExport;
  readonly client: ExportClient;
  errorText = '';
  isClosed = false;
  #run: StampedRecord[] = [];
  #isRefused = false;
  #pendingReads = 0;

  constructor(volume: MemoryExport, client: ExportClient) {
    this.volume = volume;
    this.client = client;
  }

  get metrics(): VolumeMetrics {
    return this.volume.metrics;
  }
  get slabs(): ReceiveSlabs {
    return this.volume.slabs;
  }
  get sizeBytes(): number {
    return this.volume.sizeBytes;
  }
  get readOnly(): boolean {
    return this.volume.readOnly;
  }
  get answerable(): number {
    return this.volume.durable;
  }
  readonly plainThrough = Number.POSITIVE_INFINITY;
  admitsRead(): boolean {
    return true;
  }
  get newest(): number {
    return this.volume.newest;
  }
  get durable(): number {
    return this.volume.durable;
  }

  admit(bytes: number): boolean {
    const max = this.volume.settings.unsyncedBytesMax ?? Number.POSITIVE_INFINITY;
    if (this.volume.unsyncedBytes === 0 || this.volume.unsyncedBytes + bytes <= max) return true;
    this.#isRefused = true;
    this.volume.requestDurable();
    return false;
  }

  tellAdmitted(): void {
    if (!this.#isRefused) return;
    this.#isRefused = false;
    this.client.admitted();
  }

  #stamp(
    slab: ReceiveSlab,
    headerStart: number,
    headerBytes: number,
    length: number,
    apply: () => void,
  ): number {
    assert(!this.isClosed, 'a closed session stamps nothing');
    const end = headerStart + headerBytes + length;
    assert(
      headerStart >= slabHeadroomBytes - 32 && end <= slabBytes,
      `record in slab: ${headerStart}`,
    );
    assert(!this.volume.retired.has(slab), 'a retired slab is not stamped in');
    const { failNextStamp } = this.volume;
    if (failNextStamp) {
      this.volume.failNextStamp = undefined;
      this.errorText = 'the volume says no';
      return -failNextStamp;
    }
    // As the real record header does, this destroys what stood there.
    slab.bytes.fill(0xee, headerStart, headerStart + headerBytes);
    const number = ++this.volume.newest;
    slab.retainedThrough = number;
    this.#run.push({ slab, start: headerStart, end, apply });
    this.volume.appended(headerBytes + length);
    return number;
  }

  readonly isPreserving = false;

  preserveAhead(): void {}
  giveMemoryBack(): void {}

  stampWrite(
    slab: ReceiveSlab,
    headerStart: number,
    headerBytes: 28 | 32,
    offset: number,
    length: number,
  ): number {
    const start = headerStart + headerBytes;
    assert(length > 0 && offset + length <= this.sizeBytes, 'bounds were checked');
    return this.#stamp(slab, headerStart, headerBytes, length, () => {
      slab.bytes.copy(this.volume.contents, offset, start, start + length);
      this.volume.setRange(offset, length, stateData);
    });
  }

  stampRange(
    slab: ReceiveSlab,
    headerStart: number,
    headerBytes: 28 | 32,
    effect: RangeEffect,
    offset: number,
    length: number,
  ): number {
    assert(length > 0 && offset + length <= this.sizeBytes, 'bounds were checked');
    return this.#stamp(slab, headerStart, headerBytes, 0, () => {
      this.volume.contents.fill(0, offset, offset + length);
      this.volume.setRange(offset, length, effect === 'zero' ? stateZero : stateHole);
    });
  }

  stampPad(slab: ReceiveSlab, headerStart: number, headerBytes: 28 | 32): void {
    slab.bytes.fill(0xdd, headerStart, headerStart + headerBytes);
    this.volume.pads += 1;
  }

  commitRun(): number {
    const run = this.#run;
    this.#run = [];
    const { failNextCommit } = this.volume;
    if (failNextCommit) {
      this.volume.failNextCommit = undefined;
      this.errorText = 'the journal says no';
      return failNextCommit;
    }
    for (const record of run) {
      record.apply();
      this.volume.retain(record.slab, record.start, record.end);
    }
    return 0;
  }

  retire(slab: ReceiveSlab): void {
    assert(this.#run.length === 0, 'a slab is retired after its run was committed');
    this.volume.retire(slab);
  }

  requestDurable(number: number): void {
    assert(number <= this.newest, 'nobody waits for what does not exist');
    if (number > this.durable) this.volume.requestDurable();
  }

  read(offset: number, length: number, bytes: Buffer, start: number, token: number): number {
    assert(offset + length <= this.sizeBytes && start + length <= bytes.length, 'read in bounds');
    const { readMilliseconds } = this.volume.settings;
    const finish = (): number => {
      if (this.volume.failReads) {
        this.errorText = 'the disk says no';
        return this.volume.failReads;
      }
      this.volume.contents.copy(bytes, start, offset, offset + length);
      return 0;
    };
    if (readMilliseconds === undefined) return finish();
    this.#pendingReads += 1;
    setTimeout(() => {
      this.#pendingReads -= 1;
      this.client.readCompleted(token, finish());
    }, readMilliseconds * Math.random());
    return readPending;
  }

  bytesInFile(): number {
    return 0;
  }
  readonly fileDescriptor = -1;

  extents(offset: number, length: number, out: ExtentList): number {
    out.count = 0;
    let at = offset;
    const end = offset + length;
    while (at < end && out.count < out.lengths.length) {
      const state = this.volume.blocks[Math.floor(at / blockBytes)] ?? 0;
      let next = at;
      while (next < end && this.volume.blocks[Math.floor(next / blockBytes)] === state) {
        next = Math.min((Math.floor(next / blockBytes) + 1) * blockBytes, this.sizeBytes);
      }
      out.lengths[out.count] = next - at;
      out.states[out.count] = state;
      out.count += 1;
      at = next;
    }
    return 0;
  }

  cache(): number {
    return errno.none;
  }

  close(): void {
    assert(!this.isClosed, 'a session is closed once');
    assert(this.#pendingReads === 0, 'a session is closed when its reads are done');
    this.isClosed = true;
    this.volume.sessions.delete(this);
  }
}

export function memoryDirectory(exports: readonly MemoryExport[]): ExportDirectory {
  const only = exports.length === 1 ? exports[0] : undefined;
  return {
    find: (name) => (name === '' ? only : exports.find((each) => each.name === name)),
    list: () => [...exports],
  };
}
