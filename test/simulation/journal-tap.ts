import {
  checksumHolds,
  decodeHeader,
  emptyRecordHeader,
  isNumbered,
  recordType,
} from '../../src/journal/record.ts';
import { decodeSegmentHeader, type SegmentHeader } from '../../src/journal/segment.ts';
import { crc32 } from '../../src/platform/checksum.ts';
import { segmentHeaderBytes } from '../../src/platform/limits.ts';
import type { FileRole } from '../../src/platform/disk.ts';
import { GroupModel, type RecordKind } from './group-model.ts';
import { RequestLedger } from './request-ledger.ts';
import type { DiskObserver, SimulatedDisk } from './simulated-disk.ts';
import type { SimulatedFile } from './simulated-file.ts';
import { SyncTracker } from './sync-tracker.ts';

/** One use of a segment file. */
interface SegmentUse {
  readonly id: number;
  readonly header: SegmentHeader;
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

/** What the engine says of itself, where the disk does not show it. */
export interface EngineView {
  /** The last number of the batch being applied; `undefined` while the group is being opened. */
  batch(group: string): number | undefined;
  durable(group: string): number | undefined;
  /** Up to this records must be there: all of them, unless the group is still being recovered. */
  needed(groupId: string): number;
  /** Whether the file still has its name. */
  hasName(path: string, file: SimulatedFile): boolean;
}

/**
 * Watches the disk below a daemon: reads every record as it goes into a journal, every byte as it
 * goes into a volume and every checkpoint, and holds them against each other and against what hosts
 * asked for.
 */
export class JournalTap implements DiskObserver {
  readonly models = new Map<string, GroupModel>();
  readonly ledger = new RequestLedger();
  readonly syncs = new SyncTracker();
  readonly #uses = new Map<string, SegmentUse>();
  /** By the path of a group's directory: what its checkpoint on the device says. */
  readonly checkpoints = new Map<string, number>();
  /** By volume file: of each batch the last change that it made. */
  readonly #batchEnds = new Map<
    SimulatedFile,
    { batch: number; changeNumber: number; path: string }[]
  >();
  /** Records that move to another area are written before the header of their segment. */
  readonly #headless = new Map<string, { file: SimulatedFile; write: Written }[]>();
  readonly #header = emptyRecordHeader();
  readonly #report: (text: string) => void;
  readonly #engine: EngineView;
  #nextUse = 1;
  /** How often a journal went on in its next segment. */
  rolls = 0;
  recordBytes = 0;
  records = 0;

  constructor(engine: EngineView, report: (text: string) => void) {
    this.#engine = engine;
    this.#report = report;
  }

  model(group: string): GroupModel | undefined {
    return [...this.models.values()].find(({ name }) => name === group);
  }

  use(path: string): SegmentUse | undefined {
    return this.#uses.get(path);
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
    if (write.length === 0) return;
    switch (write.role) {
      case 'segment':
        if (write.position === 0) this.#begin(write);
        else this.#append(file, write);
        return;
      case 'volume':
        this.#applied(file, write);
        return;
      case 'checkpoint':
        if (isCheckpoint(write.path)) this.#checkpoint(write);
        return;
      default:
    }
  }

  synced(
    file: SimulatedFile,
    path: string,
    role: FileRole,
    changeNumber: number,
    ok: boolean,
  ): void {
    this.syncs.ended(file, changeNumber, ok);
    if (role !== 'checkpoint' || !ok || !isCheckpoint(path)) return;
    const applied = newestCheckpoint(file);
    if (applied !== undefined) this.checkpoints.set(groupDirectory(path), applied);
  }

  cleared(
    file: SimulatedFile,
    path: string,
    role: FileRole,
    position: number,
    length: number,
  ): void {
    if (role !== 'volume') return;
    const found = this.#batchOf(path);
    if (!found) return;
    this.#noteBatch(file, path, found.batch);
    const { contents } = found;
    if (!contents) return;
    const part = contents.subarray(position, position + length);
    if (part.every((byte) => byte === 0)) return;
    this.#report(
      `${path}: apply cleared ${length} bytes at ${position}, which are not all zero after update ${found.batch}`,
    );
  }

  /** What is on the device is all there is. */
  powerLost(): void {
    this.syncs.powerLost();
  }

  /** What the last life applied and made no checkpoint of, the next one applies again. */
  processEnded(): void {
    this.#headless.clear();
    this.ledger.clear();
    this.#batchEnds.clear();
  }

  // --- segments

  #begin(write: Written): void {
    this.#checkReuse(write.path);
    const block = write.bytes.subarray(write.start, write.start + write.length);
    const decoded =
      write.length >= segmentHeaderBytes ? decodeSegmentHeader(block) : { kind: 'bad' as const };
    if (decoded.kind !== 'header') {
      this.#uses.delete(write.path);
      return;
    }
    const { header } = decoded;
    if (!this.models.has(header.groupId)) {
      this.models.set(header.groupId, new GroupModel(header.groupId, this.syncs, this.#report));
    }
    this.#uses.set(write.path, { id: this.#nextUse, header, lastNumber: 0, marks: [] });
    this.#nextUse += 1;
    const early = this.#headless.get(write.path) ?? [];
    this.#headless.delete(write.path);
    for (const before of early) this.#append(before.file, before.write);
  }

  /** A segment file is used again: nothing may be in it that anybody needs (SAFETY 2, 6, 7). */
  #checkReuse(path: string): void {
    const use = this.#uses.get(path);
    const model = use && this.models.get(use.header.groupId);
    if (!use || !model || use.lastNumber === 0) return;
    const journalOnly = [...model.current.volumes.values()].some(
      ({ catalog }) => catalog.journalOnly,
    );
    const applied = this.checkpoints.get(`/data/groups/${model.name}`) ?? 0;
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
    const model = use && this.models.get(use.header.groupId);
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
    const { bytes, start } = write;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const end = start + write.length;
    const header = this.#header;
    for (let at = start; at < end; ) {
      if (decodeHeader(view, at, end, header) !== 'header') {
        if (write.isWhole)
          this.#report(`${write.path}: no record at ${write.position + at - start}`);
        return;
      }
      const next = at + header.headerBytes + header.payloadBytes;
      if (next > end) {
        if (write.isWhole) this.#report(`${write.path}: the write ends inside a record`);
        return;
      }
      if (!checksumHolds(bytes, view, at, header, use.header.salt)) {
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
      Object.assign(known, { path, use: use.id, position, file, changeNumber, isWhole });
      return;
    }
    if (number !== model.newest + 1) {
      this.#report(`group ${model.name}: update ${number} follows ${model.newest}`);
      return;
    }
    this.records += 1;
    this.recordBytes += length;
    let kept: Uint8Array | undefined;
    if (kind === 'catalog') kept = Uint8Array.from(payload);
    else {
      const asked = this.ledger.record(
        number,
        model.groupId,
        volume,
        kind,
        offset,
        length,
        payload,
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
      path,
      use: use.id,
      position,
      file,
      changeNumber,
      isWhole,
    });
  }

  // --- volumes and checkpoints

  /** Which batch a change of a volume belongs to, and what the volume is after that batch. */
  #batchOf(path: string): { batch: number; contents: Buffer | undefined } | undefined {
    const { group, id } = volumeOf(path);
    const model = this.model(group);
    const batch = this.#engine.batch(group);
    if (!model || batch === undefined) return undefined;
    const durable = this.#engine.durable(group) ?? 0;
    if (batch > durable) {
      this.#report(`group ${group}: update ${batch} is applied, but only ${durable} is durable`);
    }
    model.proveDurable(batch, 'apply is at');
    model.applyThrough(batch);
    return { batch, contents: model.applied.volumes.get(id)?.contents };
  }

  #noteBatch(file: SimulatedFile, path: string, batch: number): void {
    let ends = this.#batchEnds.get(file);
    if (!ends) {
      ends = [];
      this.#batchEnds.set(file, ends);
    }
    const { changeNumber } = file;
    if (ends.at(-1)?.batch === batch) ends.pop();
    ends.push({ batch, changeNumber, path });
  }

  #applied(file: SimulatedFile, write: Written): void {
    const found = this.#batchOf(write.path);
    if (!found) return;
    this.#noteBatch(file, write.path, found.batch);
    const { contents } = found;
    if (!contents) return;
    const { bytes, start, position, length } = write;
    const expected = contents.subarray(position, position + length);
    if (expected.length === length && expected.equals(bytes.subarray(start, start + length)))
      return;
    let at = 0;
    while (at < length && expected[at] === bytes[start + at]) at += 1;
    this.#report(
      `${write.path}: apply wrote ${length} bytes at ${position}; from ${position + at} on they are not what the volume holds after update ${found.batch}`,
    );
  }

  #checkpoint(write: Written): void {
    const { bytes, start, path, isWhole } = write;
    if (!isWhole || write.length < 48) return;
    const applied = Buffer.from(bytes.buffer, bytes.byteOffset).readUIntLE(start + 40, 6);
    const group = groupDirectory(path);
    for (const [file, ends] of this.#batchEnds) {
      const mine = ends.filter((end) => end.path.startsWith(`${group}/`) && end.batch <= applied);
      const last = mine.at(-1);
      if (!last || !this.#engine.hasName(last.path, file)) continue;
      if (!this.syncs.isDurable(file, last.changeNumber)) {
        this.#report(
          `${path}: the checkpoint says ${applied}, but what batch ${last.batch} wrote to ${last.path} was not synced`,
        );
      }
      const kept = ends.filter((end) => end.batch > applied);
      this.#batchEnds.set(file, kept);
    }
  }
}

/** Not the journal's head, which is a file of the same make. */
function isCheckpoint(path: string): boolean {
  return /\/checkpoint(\.tmp)?$/.test(path);
}

function groupDirectory(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function volumeOf(path: string): { group: string; id: number } {
  const match = /^\/data\/groups\/([^/]+)\/volumes\/(\d+)\.volume$/.exec(path);
  return { group: match?.[1] ?? '', id: Number(match?.[2] ?? 0) };
}

/** The number in the newest checkpoint of a group's directory that the device can show. */
export function checkpointOnDevice(machine: SimulatedDisk, directory: string): number | undefined {
  const file = machine.tree.find(`${directory}/checkpoint`);
  return file === undefined || file.isDirectory ? undefined : newestCheckpoint(file);
}

function newestCheckpoint(file: SimulatedFile): number | undefined {
  const slots = Buffer.alloc(2 * 4096);
  file.readDirect(slots, 0, slots.length, 0);
  let newest: { counter: number; applied: number } | undefined;
  for (const slot of [slots.subarray(0, 4096), slots.subarray(4096)]) {
    if (slot.toString('latin1', 0, 8) !== 'jnbdCKP1') continue;
    if (slot.readUInt32LE(76) !== crc32(slot.subarray(0, 76))) continue;
    const counter = slot.readUIntLE(32, 6);
    if (newest === undefined || counter > newest.counter) {
      newest = { counter, applied: slot.readUIntLE(40, 6) };
    }
  }
  return newest?.applied;
}
