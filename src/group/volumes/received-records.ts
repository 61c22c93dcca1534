import { type CutRecord, decodeCutRecord, isCutRecord } from '../../journal/cut-record.ts';
import { decodePoint, type PointSums } from '../../journal/point-record.ts';
import type { ReceiveSlab } from '../../journal/receive-slab.ts';
import type { RecordHeader, RecordSegment } from '../../journal/record.ts';
import {
  changesVolume,
  checksumHolds,
  decodeHeader,
  emptyRecordHeader,
  isNumbered,
  recordHeaderBytes,
  recordType,
  wideRecordHeaderBytes,
} from '../../journal/record.ts';
import { JnbdError } from '../../platform/errors.ts';
import { slabBytes } from '../../platform/limits.ts';
import { BlockTable } from '../../volume/block-table.ts';
import { indexRecord } from '../../volume/index-record.ts';
import { type CatalogChange, decodeChange } from '../catalog/catalog.ts';
import type { Group } from '../order/group.ts';
import type { VolumeAdoption } from './volume-adoption.ts';
import type { Parked } from '../order/waiting-hosts.ts';

const slabNodes = BlockTable.nodesFor(slabBytes, true);

/**
 * The write path of a group that follows: records that its source numbered are proved, appended to the
 * journal and indexed, as a host's are. A record is taken at the number after the newest only
 * (invariant 2); what is wrong with one is wrong with all behind it.
 */
export class ReceivedRecords implements Parked {
  readonly client: Parked['client'];
  readonly #group: Group;
  readonly #adoption: VolumeAdoption;
  readonly #header: RecordHeader = emptyRecordHeader();

  /** `admitted`: what `admits` refused may be asked again. */
  constructor(group: Group, adoption: VolumeAdoption, admitted: () => void) {
    this.#group = group;
    this.#adoption = adoption;
    this.client = { admitted };
  }

  /** Whether so much more may be appended now. False: `admitted` will be called. */
  admits(bytes: number): boolean {
    const { journal, chain } = this.#group;
    const sequence = chain.current.header.sequence + 1;
    if (journal.admits(bytes) && this.#indexAdmits(sequence)) return true;
    this.#group.park(this);
    return false;
  }

  #indexAdmits(sequence: number): boolean {
    const { index, cuts } = this.#group;
    const hasRoom = index.admits(slabNodes, sequence);
    if (!cuts.admitsReceived(hasRoom)) return false;
    if (!hasRoom) index.makeRoom(slabBytes, sequence);
    return true;
  }

  /**
   * Takes the records in `slab.bytes[start, end)`, stamped for the source's segment. Throws JnbdError
   * (protocol_violated) at the first that is not right; those before it are appended all the same.
   */
  append(slab: ReceiveSlab, start: number, end: number, from: RecordSegment): void {
    const header = this.#header;
    try {
      for (let at = start; at < end; at += header.headerBytes + header.payloadBytes) {
        this.#prove(slab, at, end, from);
        if (isNumbered(header.type)) this.#take(slab, at, from);
        else this.#pad(slab, at);
      }
    } finally {
      this.#group.journal.commitRun();
      this.#group.appended();
    }
  }

  /** No more is received into this slab. */
  retire(slab: ReceiveSlab): void {
    this.#group.retained.retire(slab, this.#group.watermarks.durable);
  }

  close(): void {
    this.#group.sessionClosed(this);
  }

  #prove(slab: ReceiveSlab, at: number, end: number, { salt }: RecordSegment): void {
    const header = this.#header;
    const next = this.#group.watermarks.newest + 1;
    if (decodeHeader(slab.view, at, end, header) !== 'header') this.#refuse(next, 'is no record');
    if (at + header.headerBytes + header.payloadBytes > end) this.#refuse(next, 'is cut off');
    if (!checksumHolds(slab.bytes, slab.view, at, header, salt)) {
      this.#refuse(next, 'does not have the checksum that it says');
    }
    if (isNumbered(header.type) && header.number !== next) {
      this.#refuse(next, `is number ${header.number}`);
    }
  }

  #take(slab: ReceiveSlab, at: number, from: RecordSegment): void {
    const header = this.#header;
    const { journal, index, replies } = this.#group;
    const isChange = header.type === recordType.catalog;
    const change = isChange ? this.#decodeChange(this.#payload(slab, at)) : undefined;
    const cut = isCutRecord(header.type) ? this.#decodeCut(this.#payload(slab, at)) : undefined;
    const isPoint = header.type === recordType.point;
    const point = isPoint ? this.#decodePoint(this.#payload(slab, at)) : undefined;
    if (changesVolume(header.type)) this.#checkPlace();
    if (change?.change === 'snapshot_deleted' && header.number > this.#group.catalog.number)
      this.#group.snapshots.clones.checkDeletable(change.number);
    journal.stampReceived(slab, at, header, from);
    const { segment, payloadOffset } = journal.place;
    const { sequence } = segment.header;
    if (change) {
      index.active.note(header.number, sequence, payloadOffset + header.payloadBytes);
      // It is not sent before it is durable there, with everything before it.
      replies.confirmThrough(header.number);
      this.#adoption.received(header.number, change);
      return;
    }
    if (cut) {
      index.active.note(header.number, sequence, payloadOffset + header.payloadBytes);
      replies.confirmThrough(header.number);
      this.#group.cuts.received(header.number, cut);
      return;
    }
    const { number, volume, offset, length, headerBytes, payloadBytes } = header;
    replies.received(number, volume, offset, length, headerBytes + payloadBytes);
    if (point) {
      index.active.note(number, sequence, payloadOffset + payloadBytes);
      this.#group.checksums.received(number, point);
      return;
    }
    const changesBlocks = this.#group.storing.has(volume);
    this.#group.snapshots.received(volume, offset, length);
    // A slab was admitted: of ranges it has more than of writes.
    index.makeRoom(length, sequence);
    indexRecord(index.active, header, sequence, payloadOffset, !changesBlocks);
  }

  /** What the source's marks say of its journal is not true of this one. */
  #pad(slab: ReceiveSlab, at: number): void {
    const { type, headerBytes, payloadBytes } = this.#header;
    const isKnown = type === recordType.pad || type === recordType.mark;
    if (!isKnown || payloadBytes > 0) {
      this.#refuse(this.#group.watermarks.newest + 1, `has type ${type}, which is not sent`);
    }
    const isWide = headerBytes === wideRecordHeaderBytes;
    const bytes = isWide ? wideRecordHeaderBytes : recordHeaderBytes;
    this.#group.journal.stampPad(slab, at, bytes);
  }

  #payload({ bytes }: ReceiveSlab, at: number): Uint8Array {
    const { headerBytes, payloadBytes } = this.#header;
    return bytes.subarray(at + headerBytes, at + headerBytes + payloadBytes);
  }

  #decodeChange(payload: Uint8Array): CatalogChange {
    try {
      return decodeChange(payload, this.#group.catalog);
    } catch (cause) {
      throw new JnbdError('protocol_violated', 'a change of the catalog cannot be read', { cause });
    }
  }

  #decodeCut(payload: Uint8Array): CutRecord {
    const { type, number } = this.#header;
    return decodeCutRecord(type, payload) ?? this.#refuse(number, 'is no marker, and no commit');
  }

  #decodePoint(payload: Uint8Array): PointSums {
    const { number } = this.#header;
    return decodePoint(payload) ?? this.#refuse(number, 'is no point of checksums');
  }

  #checkPlace(): void {
    const { volume, offset, length, number } = this.#header;
    // The catalog that following began with is of a later time: the volume may be gone from it.
    if (number <= this.#group.catalog.number) return;
    const sizeBytes = this.#adoption.sizeBytes(volume);
    if (sizeBytes === undefined)
      this.#refuse(number, `is for volume ${volume}, which is not there`);
    if (offset + length <= sizeBytes) return;
    this.#refuse(
      number,
      `reaches to ${offset + length} of volume ${volume}, of ${sizeBytes} bytes`,
    );
  }

  #refuse(number: number, what: string): never {
    throw new JnbdError(
      'protocol_violated',
      `what the source of group ${this.#group.name} sent as update ${number} ${what}`,
    );
  }
}
