import {
  checksumHolds,
  decodeHeader,
  emptyRecordHeader,
  isNumbered,
  recordType,
  wideRecordHeaderBytes,
} from '../../src/journal/record.ts';
import { decodeSegmentHeader, type SegmentHeader } from '../../src/journal/segment.ts';
import { recordPayloadBytesMax, segmentHeaderBytes } from '../../src/platform/limits.ts';
import type { EngineView } from './engine-view.ts';
import { GroupModel, type ModelRecord, type RecordKind } from './group-model.ts';
import { RollbackWatch } from './rollback-watch.ts';
import type { RequestLedger } from './request-ledger.ts';
import type { DiskObserver } from './simulated-disk.ts';
import type { SimulatedFile } from './simulated-file.ts';
import type { SyncTracker } from './sync-tracker.ts';

/** One use of a segment file. */
interface SegmentUse {
  readonly id: number;
  readonly header: SegmentHeader;
  readonly file: SimulatedFile;
  /** Highest number of a record in it. */
  lastNumber: number;
  /** Marks in it: what was said to be durable, and where. */
  readonly marks: { readonly number: number; readonly position: number }[];
}

type Written = Parameters<DiskObserver['written']>[1];

const kinds: Readonly<Record<number, RecordKind>> = {
  [recordType.write]: 'write',
  [recordType.zero]: 'zero',
  [recordType.hole]: 'hole',
  [recordType.catalog]: 'catalog',
};

/** Reads every record as it goes into a journal, and holds it against what hosts asked for. */
export class SegmentTap {
  readonly #models: Map<string, GroupModel>;
  readonly #ledger: RequestLedger;
  readonly #syncs: SyncTracker;
  readonly #checkpoints: ReadonlyMap<string, number>;
  readonly #engine: EngineView;
  readonly #report: (text: string) => void;
  readonly #rollbacks: RollbackWatch;
  readonly #uses = new Map<string, SegmentUse>();
  /** Records that move to another area are written before the header of their segment. */
  readonly #headless = new Map<string, { file: SimulatedFile; write: Written }[]>();
  readonly #header = emptyRecordHeader();
  #nextUse = 1;
  /** How often a journal went on in its next segment. */
  rolls = 0;
  recordBytes = 0;
  records = 0;

  constructor(
    parts: {
      readonly models: Map<string, GroupModel>;
      readonly ledger: RequestLedger;
      readonly syncs: SyncTracker;
      /** By the path of a group's directory: what its checkpoint on the device says. */
      readonly checkpoints: ReadonlyMap<string, number>;
    },
    engine: EngineView,
    report: (text: string) => void,
  ) {
    this.#models = parts.models;
    this.#ledger = parts.ledger;
    this.#syncs = parts.syncs;
    this.#checkpoints = parts.checkpoints;
    this.#engine = engine;
    this.#report = report;
    this.#rollbacks = new RollbackWatch(report);
  }

  /** The highest number that something in the journal says was durable. */
  evidence(groupId: string): number {
    let highest = 0;
    for (const { header, marks } of this.#uses.values()) {
      if (header.groupId !== groupId) continue;
      highest = Math.max(highest, header.durable, ...marks.map(({ number }) => number));
    }
    return highest;
  }

  written(file: SimulatedFile, write: Written): void {
    if (write.position === 0) this.#begin(file, write);
    else this.#append(file, write);
  }

  processEnded(): void {
    this.#headless.clear();
    const salts = new Map<SimulatedFile, number | undefined>();
    for (const model of this.#models.values()) {
      model.newestAtEnd = model.newest;
      for (const record of model.recordsAfter(model.base.number)) this.#undoMoves(record, salts);
    }
  }

  /** What moved to a segment whose header did not reach the device still stands where it was. */
  #undoMoves(record: ModelRecord, salts: Map<SimulatedFile, number | undefined>): void {
    for (let before = record.earlier.at(-1); before; before = record.earlier.at(-1)) {
      const { file } = record;
      if (!salts.has(file)) salts.set(file, headerIn(file, true)?.salt);
      if (salts.get(file) === record.salt) return;
      record.earlier.pop();
      Object.assign(record, before);
    }
  }

  #begin(file: SimulatedFile, write: Written): void {
    const { path } = write;
    this.#checkReuse(path);
    // One of the two copies of a header may be whole where the write was cut short.
    const header = headerIn(file, false);
    if (!header) {
      this.#uses.delete(path);
      return;
    }
    if (this.#uses.get(path)?.header.salt === header.salt) return;
    this.#checkSequence(path, header);
    if (!this.#models.has(header.groupId)) {
      this.#models.set(header.groupId, new GroupModel(header.groupId, this.#syncs, this.#report));
    }
    this.#uses.set(path, { id: this.#nextUse, header, file, lastNumber: 0, marks: [] });
    this.#nextUse += 1;
    const early = this.#headless.get(write.path) ?? [];
    this.#headless.delete(write.path);
    for (const before of early) this.#append(before.file, before.write);
  }

  /** Sequences order the segments of a group: two with the same have no order. */
  #checkSequence(path: string, { groupId, sequence }: SegmentHeader): void {
    for (const [other, { header, file }] of this.#uses) {
      if (other === path || header.groupId !== groupId || header.sequence !== sequence) continue;
      // What a power loss or a failed sync took from the device was never seen.
      if (headerIn(file, true)?.salt !== header.salt) continue;
      this.#report(`${path} and ${other} both have sequence ${sequence}`);
    }
  }

  /** A segment file is used again: nothing may be in it that anybody needs (SAFETY 2, 6, 7). */
  #checkReuse(path: string): void {
    const use = this.#uses.get(path);
    const model = use && this.#models.get(use.header.groupId);
    if (!use || !model || use.lastNumber === 0 || model.isForgotten) return;
    const journalOnly = model.hasJournalOnly;
    const applied = this.#checkpoints.get(`/data/groups/${model.name}`) ?? 0;
    const needed = journalOnly ? model.base.number : applied;
    const through = this.#engine.needed(model.groupId);
    for (const record of model.recordsAfter(needed)) {
      if (record.number > through) return;
      if (record.path !== path || record.use !== use.id) continue;
      this.#report(
        journalOnly
          ? `${path} is used again, but update ${record.number} of a journal-only group is in it`
          : `${path} is used again, but update ${record.number} is in it, and the checkpoint on the device says ${applied}`,
      );
      return;
    }
  }

  #append(file: SimulatedFile, write: Written): void {
    const use = this.#uses.get(write.path);
    const model = use && this.#models.get(use.header.groupId);
    if (this.#isHeadless(write, use)) {
      const early = this.#headless.get(write.path) ?? [];
      if (early.length === 0) this.#checkReuse(write.path);
      this.#uses.delete(write.path);
      // The bytes are the engine's, and change.
      early.push({ file, write: { ...write, bytes: Buffer.from(write.bytes) } });
      this.#headless.set(write.path, early);
      return;
    }
    if (!use || !model) {
      this.#report(`${write.path}: records are written to a segment without a header`);
      return;
    }
    const { bytes, start } = write.isWhole ? write : foundIn(file, write);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const end = start + write.length;
    const limit = write.isWhole ? end : bytes.length;
    const header = this.#header;
    for (let at = start; at < end; ) {
      if (decodeHeader(view, at, limit, header) !== 'header') {
        if (write.isWhole)
          this.#report(`${write.path}: no record at ${write.position + at - start}`);
        return;
      }
      const next = at + header.headerBytes + header.payloadBytes;
      if (next > limit) {
        if (write.isWhole) this.#report(`${write.path}: the write ends inside a record`);
        return;
      }
      if (!checksumHolds(bytes, view, at, header, use.header.salt)) {
        if (next > end) return;
        this.#report(`${write.path}: wrong checksum at ${write.position + at - start}`);
        return;
      }
      const position = write.position + at - start;
      if (header.type === recordType.roll) this.rolls += 1;
      if (header.type === recordType.mark) use.marks.push({ number: header.number, position });
      if (isNumbered(header.type)) {
        this.#record(
          model,
          use,
          file,
          write,
          position,
          bytes.subarray(at + header.headerBytes, next),
        );
      }
      at = next;
    }
  }

  #isHeadless(write: Written, use: SegmentUse | undefined): boolean {
    if (this.#headless.has(write.path)) return true;
    if (write.position !== segmentHeaderBytes) return false;
    if (!use) return true;
    const { bytes, start } = write;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const header = this.#header;
    const end = start + write.length;
    if (decodeHeader(view, start, end, header) !== 'header') return false;
    const next = start + header.headerBytes + header.payloadBytes;
    return next <= end && !checksumHolds(bytes, view, start, header, use.header.salt);
  }

  #record(
    model: GroupModel,
    use: SegmentUse,
    file: SimulatedFile,
    write: Written,
    position: number,
    payload: Uint8Array,
  ): void {
    const { number, volume, offset, length, type } = this.#header;
    const kind = kinds[type] ?? 'write';
    const { path, changeNumber, isWhole } = write;
    const { salt } = use.header;
    const place = { path, use: use.id, salt, position, file, changeNumber, isWhole };
    use.lastNumber = Math.max(use.lastNumber, number);
    const known = model.record(number);
    if (known) {
      const isSame =
        known.kind === kind &&
        known.volume === volume &&
        known.offset === offset &&
        known.length === length &&
        (known.payload === undefined || Buffer.compare(known.payload, payload) === 0);
      if (!isSame) {
        this.#report(`group ${model.name}: update ${number} is written again as something else`);
        return;
      }
      if (!isWhole && known.isWhole) return;
      const { earlier, ...before } = known;
      earlier.push(before);
      Object.assign(known, place);
      return;
    }
    if (number !== model.newest + 1) {
      this.#report(`group ${model.name}: update ${number} follows ${model.newest}`);
      return;
    }
    this.records += 1;
    this.recordBytes += length;
    let kept: Uint8Array | undefined;
    if (kind === 'catalog') this.#rollbacks.changed(model, payload);
    const isArea = model.current.volumes.get(volume)?.catalog.preserves !== undefined;
    // Nobody asks for what is preserved: the model says whether it is what it must be.
    if (kind === 'catalog' || (isArea && kind === 'write')) kept = Uint8Array.from(payload);
    else if (!isArea) {
      const seen = { number, kind, volume, offset, length, payload };
      const back = this.#rollbacks.record(model, seen);
      const asked =
        back ??
        this.#ledger.record(
          number,
          model.groupId,
          volume,
          kind,
          offset,
          length,
          payload,
          model.current.snapshots.list.length > 0,
        );
      if (!asked) {
        this.#report(
          `group ${model.name}: nobody asked for update ${number} (${kind} of ${length} bytes at ${offset} of volume ${volume})`,
        );
      }
      kept = asked?.payload;
    }
    model.append({
      number,
      kind,
      volume,
      offset,
      length,
      payload: kept,
      earlier: [],
      ...place,
    });
  }
}

/** A write that was cut short: the rest of its last record may have stood there before, as zeroes do. */
function foundIn(file: SimulatedFile, { length, position }: Written) {
  const bytes = new Uint8Array(length + wideRecordHeaderBytes + recordPayloadBytesMax);
  const count = file.read(bytes, 0, bytes.length, position);
  return { bytes: bytes.subarray(0, count), start: 0 };
}

function headerIn(file: SimulatedFile, isOnDevice: boolean): SegmentHeader | undefined {
  const block = Buffer.alloc(segmentHeaderBytes);
  if (isOnDevice) file.readDirect(block, 0, block.length, 0);
  else file.read(block, 0, block.length, 0);
  const decoded = decodeSegmentHeader(block);
  return decoded.kind === 'header' ? decoded.header : undefined;
}
