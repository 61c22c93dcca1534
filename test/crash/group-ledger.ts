import { decodeChange } from '../../src/group/catalog/catalog.ts';
import type { RecordHeader } from '../../src/journal/record.ts';
import { recordType } from '../../src/journal/record.ts';
import type { Finding } from './findings.ts';
import { JournalFollower, OrderBroken } from './journal-follower.ts';
import { sectorBytes, type Stamp, type UpdateContents } from './update-contents.ts';
import { VolumeModel } from './volume-model.ts';

export type OperationKind = 'write' | 'zero' | 'hole';

/** Something sent that changes a volume. */
export interface Operation {
  readonly id: number;
  readonly kind: OperationKind;
  readonly volume: VolumeModel;
  readonly offset: number;
  readonly length: number;
  readonly payload: Buffer | undefined;
  /** Steps of a clock that ticks with each request and each answer. */
  sentAt: number;
  /** Infinity: not answered, or refused. */
  acknowledgedAt: number;
  /** How much of it, from its beginning, was seen in the journal. A long write is several records. */
  seenBytes: number;
}

const kinds: Readonly<Record<number, OperationKind>> = {
  [recordType.write]: 'write',
  [recordType.zero]: 'zero',
  [recordType.hole]: 'hole',
};

/** What the operations of one life came to, for the report. */
export interface LifeCounts {
  readonly updates: number;
  readonly bytes: number;
  /** Not answered when the daemon died: in the journal, in part, not at all. */
  readonly unansweredKept: number;
  readonly unansweredCut: number;
  readonly unansweredLost: number;
}

/**
 * One group as its clients and its journal know it. The journal gives the order, the payloads say which
 * operation each record is from, and the model is what the volumes are after them. Each record has to
 * be from an operation that was sent in this life and was not there before; everything acknowledged
 * has to be there; and what was sent after an answer has to have a higher number than what was answered.
 */
export class GroupLedger {
  readonly name: string;
  readonly follower: JournalFollower;
  /** By name. */
  readonly volumes = new Map<string, VolumeModel>();
  readonly findings: Finding[] = [];
  readonly #contents: UpdateContents;
  readonly #nextKey: () => number;
  readonly #volumesById = new Map<number, VolumeModel>();
  /** Sent in this life and not wholly seen, in the order of sending. */
  readonly #open = new Map<number, Operation>();
  /** What this life added, in the order of the journal. */
  #life: { readonly number: number; readonly operation: Operation }[] = [];
  #updates = 0;
  #bytes = 0;
  #openBytes = 0;
  /** The last life is over; what it added is known until the next one adds something. */
  #isOver = false;
  /** The journal shows what it must not: nothing behind it can be told. */
  #isBroken = false;
  /** The updates that each operation became, by its id, with where each begins. */
  readonly #updatesOf = new Map<number, { readonly number: number; readonly offset: number }[]>();

  constructor(
    name: string,
    directories: readonly string[],
    contents: UpdateContents,
    nextKey: () => number,
  ) {
    this.name = name;
    this.#contents = contents;
    this.#nextKey = nextKey;
    this.follower = new JournalFollower(directories, (header, payload) =>
      this.#record(header, payload),
    );
  }

  /** The last update in the journal. */
  get number(): number {
    return this.follower.number;
  }

  /** Sent and not seen in the journal. */
  get openBytes(): number {
    return this.#openBytes;
  }

  sent(operation: Operation): void {
    this.#beginLife();
    this.#open.set(operation.id, operation);
    this.#openBytes += operation.length;
  }

  /** A range just like this one was sent and is not in the journal. Writes are told by their payload. */
  hasOpenRange(kind: OperationKind, volume: VolumeModel, offset: number, length: number): boolean {
    if (kind === 'write') return false;
    for (const each of this.#open.values()) {
      const isSamePlace = each.offset === offset && each.length === length;
      if (each.kind === kind && each.volume === volume && isSamePlace) return true;
    }
    return false;
  }

  poll(): void {
    if (this.#isBroken) return;
    try {
      this.follower.poll();
    } catch (error) {
      if (!(error instanceof OrderBroken)) throw error;
      this.#isBroken = true;
      this.findings.push({ what: 'the order is broken', subject: this.name, found: error.message });
    }
  }

  /** The daemon is dead: what it has not journaled by now it never will. */
  endLife(): LifeCounts {
    this.poll();
    const unanswered = this.#life
      .map(({ operation }) => operation)
      .filter((each) => each.acknowledgedAt === Infinity && each.seenBytes === each.length);
    const kept = this.#isOver ? 0 : new Set(unanswered).size;
    let cut = 0;
    let lost = 0;
    for (const operation of this.#open.values()) {
      if (operation.acknowledgedAt < Infinity) this.#reportMissing(operation);
      else if (operation.seenBytes > 0) cut += 1;
      else lost += 1;
    }
    this.#checkOrder();
    this.#open.clear();
    this.#openBytes = 0;
    const counts = {
      updates: this.#updates,
      bytes: this.#bytes,
      unansweredKept: kept,
      unansweredCut: cut,
      unansweredLost: lost,
    };
    this.#isOver = true;
    this.#updates = 0;
    this.#bytes = 0;
    return counts;
  }

  #beginLife(): void {
    if (!this.#isOver) return;
    this.#isOver = false;
    this.#life = [];
  }

  /** The update, and what of it is known. */
  describe(number: number): string {
    if (number === 0) return 'nothing ever written';
    const entry = this.#life[this.#life.findIndex((each) => each.number >= number)];
    if (entry?.number !== number) return `update ${number}`;
    const { kind, offset, length, acknowledgedAt } = entry.operation;
    const state = acknowledgedAt < Infinity ? 'acknowledged' : 'not answered';
    return `update ${number} (${kind} of ${length} bytes at ${offset}, ${state})`;
  }

  /** What a sector holds, whatever that is. */
  identify(bytes: Buffer, at: number, volume: VolumeModel, sector: number): string {
    if (isZero(bytes, at)) return 'zeroes';
    const stamp = this.#contents.stampAt(bytes, at);
    if (!stamp) return 'bytes that no update wrote';
    const number = this.#numberOf(stamp);
    const update = number > 0 ? `update ${number}` : 'a write of no update';
    if (stamp.volume !== volume.key || stamp.sector !== sector) {
      const place = `${stamp.sector * sectorBytes} of ${this.#nameOfKey(stamp.volume)}`;
      return `${stamp.volume === volume.key ? update : 'a write'} that was for ${place}`;
    }
    return this.#contents.isWhole(bytes, at, stamp) ? update : `${update}, not whole`;
  }

  /**
   * What a client read while it was served: each sector was written to this place, and is not older
   * than the update that was `known` for it when it was asked for. Reports the first that is not so.
   */
  checkRead(volume: VolumeModel, offset: number, bytes: Buffer, known: Float64Array): void {
    this.poll();
    for (let at = 0; at < bytes.length; at += sectorBytes) {
      const sector = (offset + at) / sectorBytes;
      const least = known[at / sectorBytes] ?? 0;
      if (this.#isAsNew(volume, sector, bytes, at, least)) continue;
      this.findings.push({
        what: 'a read shows what is not there, or not any more',
        subject: this.#subject(volume),
        offset: offset + at,
        length: sectorBytes,
        expected: `${this.describe(least)}, or a newer one`,
        found: this.identify(bytes, at, volume, sector),
      });
      return;
    }
  }

  #isAsNew(volume: VolumeModel, sector: number, bytes: Buffer, at: number, least: number): boolean {
    const start = sector * sectorBytes;
    const end = start + sectorBytes;
    if (volume.contents.compare(bytes, at, at + sectorBytes, start, end) === 0) return true;
    const stamp = this.#contents.stampAt(bytes, at);
    if (stamp && this.#contents.isWhole(bytes, at, stamp)) {
      if (stamp.volume !== volume.key || stamp.sector !== sector) return false;
      const number = this.#numberOf(stamp);
      return number > 0 ? number >= least : this.#open.has(stamp.operation);
    }
    // Zeroes do not say whose they are, and a long write is cut anywhere while it arrives.
    return volume.updateAt(sector) > least || this.#isOpen(volume, start, end);
  }

  /** Something was sent for these bytes and is not wholly seen. */
  #isOpen(volume: VolumeModel, start: number, end: number): boolean {
    for (const operation of this.#open.values()) {
      const { offset, length } = operation;
      if (operation.volume === volume && offset < end && start < offset + length) return true;
    }
    return false;
  }

  /** The update that wrote a sector; 0: none that was seen. */
  #numberOf({ operation, sector }: Stamp): number {
    const end = (sector + 1) * sectorBytes;
    const pieces = this.#updatesOf.get(operation);
    return pieces?.findLast(({ offset }) => offset < end)?.number ?? 0;
  }

  /** What this life wrote under the numbers from `from` to `through`. */
  *updatesOfLife(from: number, through: number): Generator<Finding & { readonly number: number }> {
    for (const { number, operation } of this.#life) {
      if (number < from || number > through) continue;
      yield {
        number,
        what: 'an update is lost',
        subject: this.#subject(operation.volume),
        offset: operation.offset,
        length: operation.length,
        expected: this.describe(number),
      };
    }
  }

  #nameOfKey(key: number): string {
    for (const volume of this.volumes.values())
      if (volume.key === key) return this.#subject(volume);
    return 'another volume';
  }

  #subject(volume: VolumeModel): string {
    return `${this.name}/${volume.name}`;
  }

  #reportMissing(operation: Operation): void {
    const { kind, volume, offset, length, seenBytes } = operation;
    const sector = (offset + seenBytes) / sectorBytes;
    this.findings.push({
      what: 'an acknowledged operation is not in the journal',
      subject: this.#subject(volume),
      offset,
      length,
      expected: `the ${kind}, acknowledged, behind update ${volume.updateAt(Math.floor(sector))}`,
      found: `${seenBytes} bytes of it, and ${this.number} as the last update`,
    });
  }

  /** Whoever was sent after another was answered comes behind it. */
  #checkOrder(): void {
    let latest: { number: number; operation: Operation } | undefined;
    for (const entry of this.#life) {
      const { operation, number } = entry;
      if (latest && operation.acknowledgedAt < latest.operation.sentAt) {
        this.findings.push({
          what: 'the order of two operations is not that of their clients',
          subject: this.#subject(operation.volume),
          offset: operation.offset,
          length: operation.length,
          expected: `update ${number} (${operation.kind}) below ${latest.number}, which was sent after its answer`,
          found: this.describe(latest.number),
        });
      }
      if (!latest || operation.sentAt > latest.operation.sentAt) latest = entry;
    }
  }

  #record(header: RecordHeader, payload: Buffer): void {
    const { type, number } = header;
    this.#beginLife();
    this.#updates += 1;
    if (type === recordType.catalog) this.#change(payload);
    if (type === recordType.catalog || type === recordType.point) return;
    const volume = this.#volumesById.get(header.volume);
    const kind = kinds[type];
    if (!volume || kind === undefined) {
      throw new OrderBroken(`update ${number} is of volume ${header.volume}, which is not there`);
    }
    const { offset, length } = header;
    const operation = this.#operationOf(kind, volume, offset, length, payload);
    if (!operation) {
      throw new OrderBroken(
        `update ${number} (${kind} of ${length} bytes at ${offset} of ${volume.name}) is nothing that was sent and not journaled yet`,
      );
    }
    if (kind === 'write') volume.write(number, offset, payload);
    else volume.zero(number, offset, length);
    this.#life.push({ number, operation });
    this.#bytes += length;
    const pieces = this.#updatesOf.get(operation.id);
    if (pieces) pieces.push({ number, offset });
    else this.#updatesOf.set(operation.id, [{ number, offset }]);
    operation.seenBytes += length;
    this.#openBytes -= length;
    if (operation.seenBytes === operation.length) this.#open.delete(operation.id);
  }

  /** The pieces of a write come in their order, and none comes twice; a range comes whole. */
  #operationOf(
    kind: OperationKind,
    volume: VolumeModel,
    offset: number,
    length: number,
    payload: Buffer,
  ): Operation | undefined {
    const isIt = (operation: Operation | undefined): operation is Operation =>
      operation?.kind === kind &&
      operation.volume === volume &&
      operation.offset + operation.seenBytes === offset &&
      (operation.payload
        ? operation.seenBytes + length <= operation.length &&
          operation.payload.compare(
            payload,
            0,
            length,
            operation.seenBytes,
            operation.seenBytes + length,
          ) === 0
        : length === operation.length);
    if (kind === 'write') {
      const firstWhole = (sectorBytes - (offset % sectorBytes)) % sectorBytes;
      const stamp = this.#contents.stampAt(payload, firstWhole);
      const stamped = stamp && this.#open.get(stamp.operation);
      if (isIt(stamped)) return stamped;
    }
    // A piece without the beginning of a sector, or zeroes: the first sent that it can be from.
    for (const operation of this.#open.values()) if (isIt(operation)) return operation;
    return undefined;
  }

  #change(payload: Buffer): void {
    const change = decodeChange(payload);
    switch (change.change) {
      case 'volume_created': {
        const { id, name, sizeBytes } = change.volume;
        const volume = new VolumeModel(id, name, this.#nextKey(), sizeBytes);
        this.volumes.set(name, volume);
        this.#volumesById.set(id, volume);
        return;
      }
      case 'volume_changed': {
        const volume = this.#volumesById.get(change.volume.id);
        if (volume && volume.sizeBytes !== change.volume.sizeBytes) {
          volume.resize(change.volume.sizeBytes);
        }
        return;
      }
      case 'volume_deleted': {
        const volume = this.#volumesById.get(change.id);
        if (volume) this.volumes.delete(volume.name);
        this.#volumesById.delete(change.id);
        return;
      }
      case 'snapshot_created':
      case 'snapshot_deleted':
      case 'snapshots_scheduled':
        throw new Error('nobody makes snapshots of this group');
      case 'rollback_begun':
      case 'rollback_ended':
        throw new Error('nobody rolls this group back');
      case 'protection_changed':
        throw new Error('nobody follows this group');
      case 'handed_over':
        throw new Error('nobody hands this group over');
    }
  }
}

const zeroes = Buffer.alloc(sectorBytes);

function isZero(bytes: Buffer, at: number): boolean {
  return zeroes.compare(bytes, at, at + sectorBytes) === 0;
}
