import type { ExportSession } from '../group/export.ts';
import { must } from '../platform/assert.ts';
import type { Clock } from '../platform/clock.ts';
import {
  blockBytes,
  payloadAcceptedBytesMax,
  slabBytes,
  slabHeadroomBytes,
} from '../platform/limits.ts';
import { readReplyBytes, wholeReadBytesMax } from './read-answers.ts';
import type { RequestIdentity } from './reply-codec.ts';
import { answerBytesMax } from './reply-writer.ts';
import { batchKind, RequestBatch } from './request-batch.ts';
import {
  type CheckFacts,
  checkRequest,
  type Refusal,
  refusal,
  refusalErrno,
  refusalText,
} from './request-check.ts';
import { movedBytesMax, type ReceiveWindow } from './receive-window.ts';
import { decodeStatusPayload, statusReplyBytesMax } from './status-answers.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_REQUEST_MAGIC,
  extendedRequestHeaderBytes,
  readUint64,
  requestHeaderBytes,
} from './wire.ts';

/** A payload that tells what BLOCK_STATUS is to tell is far shorter. */
const statusPayloadBytesMax = 4096;
/** What a silent client has sent of a payload is journaled from this much on, and kept below. */
const spilledBytesMin = 8192;
const unknownType = 255;

export interface StreamRequest {
  readonly request: RequestIdentity;
  readonly offset: number;
  readonly length: number;
}

/** A WRITE whose payload is taken in parts, or a payload that is read over. */
interface Payload extends RequestIdentity {
  readonly kind: 'write' | 'skip';
  readonly type: number;
  readonly flags: number;
  readonly total: number;
  /** Where the rest goes. */
  offset: number;
  remaining: number;
  number: number;
  error: number;
  text: string;
}

/**
 * Turns received bytes into entries of the batch, and stamps writes in place: the request's own header
 * becomes the record's. A payload that does not fit its slab is cut at a block of the volume; each
 * part is a record, and the answer goes after the last.
 *
 * `parse` stops when it needs more bytes (then `window.wanted` is more than there is), when the batch
 * or its reply buffer is full, at a long read, or parked: the journal takes nothing more now.
 */
export class RequestParser {
  readonly #session: ExportSession;
  readonly #window: ReceiveWindow;
  readonly #batch: RequestBatch;
  readonly #facts: CheckFacts;
  readonly #headerBytes: 28 | 32;
  readonly #magic: number;
  #payload: Payload | undefined;
  #stream: StreamRequest | undefined;
  #isPartInRun = false;
  #isRefusing = false;
  #room = 0;
  /** Records stamped since the last commit. */
  hasRun = false;
  /** `admit` said no: ask again when told. */
  isParked = false;
  /** DISC, or something that is no request: nothing more is parsed. */
  isOver = false;

  constructor(
    session: ExportSession,
    window: ReceiveWindow,
    batch: RequestBatch,
    facts: CheckFacts,
  ) {
    this.#session = session;
    this.#window = window;
    this.#batch = batch;
    this.#facts = facts;
    this.#headerBytes = facts.isExtended ? extendedRequestHeaderBytes : requestHeaderBytes;
    this.#magic = facts.isExtended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC;
  }

  /** Fills the batch. The answers to it take at most `replyRoom`. */
  parse(replyRoom: number, clock: Clock): void {
    this.isParked = false;
    if (!this.#window.slab) return;
    const batch = this.#batch;
    batch.startedAt = clock.monotonicMilliseconds();
    this.#room = replyRoom - answerBytesMax;
    while (batch.count < RequestBatch.capacity && !this.#stream && !this.isOver) {
      if (!(this.#payload ? this.#parsePayload(this.#payload) : this.#parseRequest())) return;
    }
  }

  /** The run was handed to the journal, with this result. */
  runCommitted(error: number): void {
    this.hasRun = false;
    if (this.#isPartInRun && error !== 0 && this.#payload) {
      this.#payload.error = error;
      this.#payload.text = this.#session.errorText;
    }
    this.#isPartInRun = false;
  }

  /** The long read that parsing stopped at. */
  takeStream(): StreamRequest | undefined {
    const stream = this.#stream;
    this.#stream = undefined;
    return stream;
  }

  /** From now on every request is answered with ESHUTDOWN. */
  refuseAll(): void {
    this.#isRefusing = true;
  }

  /**
   * Makes what stands in the slab small enough to be kept beside it: of a payload, what is there is
   * journaled. False: not possible now.
   */
  spill(): boolean {
    const window = this.#window;
    const payload = this.#payload;
    if (this.isOver || window.available === 0 || payload?.kind === 'skip') return true;
    if (payload) {
      if (window.available < spilledBytesMin) return true;
      return this.#spillPart(payload, window.start - this.#headerBytes);
    }
    if (window.available < this.#headerBytes + spilledBytesMin) return true;
    const { view } = window.held;
    const { start } = window;
    if (view.getUint16(start + 6) !== NBD_CMD_WRITE) return true;
    const begun = this.#beginWrite(view, start, this.#lengthAt(view, start));
    window.start += this.#headerBytes;
    if (this.#spillPart(begun, start)) return true;
    window.start -= this.#headerBytes;
    return false;
  }

  #spillPart(payload: Payload, headerStart: number): boolean {
    const part = bytesToCut(payload.offset, this.#window.available);
    if (!this.#stampPart(payload, headerStart, part)) return false;
    this.#payload = payload;
    this.runCommitted(this.#session.commitRun());
    this.#aimPayload(payload);
    return true;
  }

  #lengthAt(view: DataView, start: number): number {
    return this.#facts.isExtended ? readUint64(view, start + 24) : view.getUint32(start + 24);
  }

  #push(
    kind: number,
    type: number,
    flags: number,
    offset: number,
    length: number,
    at: DataView,
    start: number,
  ): number {
    const batch = this.#batch;
    const index = batch.count++;
    batch.kinds[index] = kind;
    batch.types[index] = type;
    batch.flags[index] = flags;
    batch.errors[index] = 0;
    batch.offsets[index] = offset;
    batch.lengths[index] = length;
    batch.cookieHighs[index] = at.getUint32(start + 8);
    batch.cookieLows[index] = at.getUint32(start + 12);
    batch.offsetHighs[index] = at.getUint32(start + 16);
    batch.offsetLows[index] = at.getUint32(start + 20);
    return index;
  }

  /** One request. False: stop parsing. */
  #parseRequest(): boolean {
    const window = this.#window;
    const headerBytes = this.#headerBytes;
    const { start } = window;
    window.wanted = headerBytes;
    const available = window.end - start;
    if (available < headerBytes) {
      if (start + headerBytes > slabBytes) window.mustMove = true;
      return false;
    }
    const slab = window.held;
    const { view } = slab;
    if (view.getUint32(start) !== this.#magic) {
      this.isOver = true;
      return false;
    }
    const flags = view.getUint16(start + 4);
    const type = view.getUint16(start + 6);
    const offset = readUint64(view, start + 16);
    const length = this.#lengthAt(view, start);
    if (type === NBD_CMD_WRITE) return this.#parseWrite(view, flags, offset, length, available);
    if (type === NBD_CMD_DISC) {
      window.start += headerBytes;
      this.isOver = true;
      return false;
    }
    if ((flags & NBD_CMD_FLAG_PAYLOAD_LEN) !== 0 && this.#facts.isExtended) {
      return this.#parseWithPayload(view, type, flags, offset, length, available);
    }
    return this.#parsePlain(view, type, flags, offset, length);
  }

  #check(type: number, flags: number, offset: number, length: number): Refusal {
    if (this.#isRefusing) return refusal.shutdown;
    return checkRequest(type, flags, offset, length, this.#session.sizeBytes, this.#facts);
  }

  #parseWrite(
    view: DataView,
    flags: number,
    offset: number,
    length: number,
    available: number,
  ): boolean {
    const window = this.#window;
    const headerBytes = this.#headerBytes;
    const { start } = window;
    if (this.#room < answerBytesMax) return false;
    if (length > payloadAcceptedBytesMax) {
      this.isOver = true;
      return false;
    }
    const code = this.#check(NBD_CMD_WRITE, flags, offset, length);
    if (code !== refusal.none || length === 0) {
      return this.#refuseWithPayload(view, NBD_CMD_WRITE, code, length);
    }
    const whole = headerBytes + length;
    if (available < whole) {
      if (start + whole <= slabBytes) {
        window.wanted = whole;
        return false;
      }
      return this.#parseCutWrite(view, start, offset, length, available);
    }
    const session = this.#session;
    if (!session.admit(whole)) {
      this.isParked = true;
      return false;
    }
    const index = this.#push(batchKind.update, NBD_CMD_WRITE, flags, offset, length, view, start);
    this.#room -= answerBytesMax;
    const number = session.stampWrite(window.held, start, headerBytes, offset, length);
    this.#stamped(index, number);
    window.start = start + whole;
    return true;
  }

  #stamped(index: number, number: number): void {
    const batch = this.#batch;
    if (number > 0) {
      batch.numbers[index] = number;
      this.hasRun = true;
      return;
    }
    batch.errors[index] = -number;
    batch.setText(index, this.#session.errorText);
  }

  /** A WRITE that reaches beyond its slab. */
  #parseCutWrite(
    view: DataView,
    start: number,
    offset: number,
    length: number,
    available: number,
  ): boolean {
    const window = this.#window;
    const headerBytes = this.#headerBytes;
    if (slabBytes - start <= movedBytesMax) {
      window.mustMove = true;
      const room = slabBytes - slabHeadroomBytes - headerBytes;
      const isCut = length > room;
      window.wanted = headerBytes + (isCut ? bytesToCut(offset, room) : length);
      window.nextLimit = isCut ? slabHeadroomBytes + window.wanted : slabBytes;
      return false;
    }
    const part = bytesToCut(offset, slabBytes - start - headerBytes);
    if (available < headerBytes + part) {
      window.wanted = headerBytes + part;
      window.limit = start + window.wanted;
      return false;
    }
    const payload = this.#beginWrite(view, start, length);
    window.start += headerBytes;
    if (!this.#stampPart(payload, start, part)) {
      window.start -= headerBytes;
      return false;
    }
    this.#payload = payload;
    this.#aimPayload(payload);
    return false;
  }

  #beginWrite(view: DataView, start: number, length: number): Payload {
    return {
      kind: 'write',
      type: NBD_CMD_WRITE,
      flags: view.getUint16(start + 4),
      total: length,
      offset: readUint64(view, start + 16),
      remaining: length,
      number: 0,
      error: 0,
      text: '',
      ...identityAt(view, start),
    };
  }

  /** The next part of a payload that is under way. False: stop parsing. */
  #parsePayload(payload: Payload): boolean {
    const window = this.#window;
    if (this.#room < answerBytesMax) return false;
    if (payload.kind === 'skip' || payload.error !== 0) return this.#skipPayload(payload);
    const { start, available } = window;
    const room = slabBytes - start;
    const part = payload.remaining <= room ? payload.remaining : bytesToCut(payload.offset, room);
    if (available < part) {
      window.wanted = part;
      if (part < payload.remaining) window.limit = start + part;
      return false;
    }
    if (!this.#stampPart(payload, start - this.#headerBytes, part)) return false;
    if (payload.remaining > 0) {
      this.#aimPayload(payload);
      return false;
    }
    this.#endPayload(payload);
    return true;
  }

  /** Stamps and consumes `part` bytes at `window.start`. False: parked. */
  #stampPart(payload: Payload, headerStart: number, part: number): boolean {
    const window = this.#window;
    const session = this.#session;
    if (!session.admit(this.#headerBytes + part)) {
      this.isParked = true;
      return false;
    }
    const number = session.stampWrite(
      window.held,
      headerStart,
      this.#headerBytes,
      payload.offset,
      part,
    );
    if (number > 0) {
      payload.number = number;
      this.hasRun = true;
      this.#isPartInRun = true;
    } else {
      payload.error = -number;
      payload.text = session.errorText;
    }
    window.start += part;
    payload.offset += part;
    payload.remaining -= part;
    return true;
  }

  /** The rest of the payload begins a slab. */
  #aimPayload(payload: Payload): void {
    const window = this.#window;
    const room = slabBytes - slabHeadroomBytes;
    const isCut = payload.remaining > room;
    window.wanted = isCut ? bytesToCut(payload.offset, room) : payload.remaining;
    window.nextLimit = isCut ? slabHeadroomBytes + window.wanted : slabBytes;
    window.mustMove = true;
  }

  #skipPayload(payload: Payload): boolean {
    const window = this.#window;
    const count = Math.min(window.available, payload.remaining);
    window.start += count;
    payload.remaining -= count;
    if (payload.remaining > 0) {
      window.wanted = Math.min(payload.remaining, blockBytes);
      return false;
    }
    this.#endPayload(payload);
    return true;
  }

  #endPayload(payload: Payload): void {
    const window = this.#window;
    this.#payload = undefined;
    window.wanted = this.#headerBytes;
    window.nextLimit = slabBytes;
    const batch = this.#batch;
    const index = batch.count++;
    batch.kinds[index] = batchKind.update;
    batch.types[index] = payload.type;
    batch.flags[index] = payload.flags;
    batch.errors[index] = payload.error;
    batch.numbers[index] = payload.number;
    batch.lengths[index] = payload.total;
    batch.cookieHighs[index] = payload.cookieHigh;
    batch.cookieLows[index] = payload.cookieLow;
    batch.offsetHighs[index] = payload.offsetHigh;
    batch.offsetLows[index] = payload.offsetLow;
    if (payload.error !== 0) batch.setText(index, payload.text);
    this.#room -= answerBytesMax;
  }

  /** The payload is read over, then the request is answered. */
  #refuseWithPayload(view: DataView, type: number, code: Refusal, length: number): boolean {
    const window = this.#window;
    const payload: Payload = {
      kind: 'skip',
      type,
      flags: 0,
      total: 0,
      offset: 0,
      remaining: length,
      number: 0,
      error: refusalErrno(code),
      text: refusalText(code),
      ...identityAt(view, window.start),
    };
    window.start += this.#headerBytes;
    this.#payload = payload;
    return this.#skipPayload(payload);
  }

  /** Extended headers: a command other than WRITE that brings a payload. */
  #parseWithPayload(
    view: DataView,
    type: number,
    flags: number,
    offset: number,
    length: number,
    available: number,
  ): boolean {
    const window = this.#window;
    if (this.#room < statusReplyBytesMax) return false;
    if (length > payloadAcceptedBytesMax) {
      this.isOver = true;
      return false;
    }
    const isStatus = type === NBD_CMD_BLOCK_STATUS && this.#facts.hasAllocation;
    if (!isStatus || length > statusPayloadBytesMax) {
      const code = isStatus ? refusal.statusPayload : this.#check(type, flags, offset, 0);
      const answered = code === refusal.none ? refusal.noContext : code;
      return this.#refuseWithPayload(view, Math.min(type, unknownType), answered, length);
    }
    const whole = this.#headerBytes + length;
    if (available < whole) {
      window.wanted = whole;
      if (window.start + whole > slabBytes) window.mustMove = true;
      return false;
    }
    const payloadStart = window.start + this.#headerBytes;
    const asked = decodeStatusPayload(
      window.held.bytes.subarray(payloadStart, payloadStart + length),
    );
    let code: Refusal = asked
      ? this.#check(type, flags, offset, asked.length)
      : refusal.statusPayload;
    if (asked && code === refusal.none && !asked.hasAllocation) code = refusal.statusPayload;
    if (this.#isRefusing) code = refusal.shutdown;
    if (code !== refusal.none || !asked) this.#refuse(view, type, code);
    else this.#push(batchKind.blockStatus, type, flags, offset, asked.length, view, window.start);
    this.#room -= statusReplyBytesMax;
    window.start += whole;
    return true;
  }

  #refuse(view: DataView, type: number, code: Refusal): void {
    const { start } = this.#window;
    const index = this.#push(batchKind.answer, Math.min(type, unknownType), 0, 0, 0, view, start);
    this.#batch.errors[index] = refusalErrno(code);
    this.#batch.setText(index, refusalText(code));
  }

  /** A request of nothing but a header. */
  #parsePlain(
    view: DataView,
    type: number,
    flags: number,
    offset: number,
    length: number,
  ): boolean {
    const window = this.#window;
    const { start } = window;
    const slab = window.held;
    let code = this.#check(type, flags, offset, length);
    if (
      code === refusal.none &&
      type === NBD_CMD_READ &&
      length > wholeReadBytesMax &&
      (flags & NBD_CMD_FLAG_DF) !== 0
    ) {
      code = refusal.fragmentsNeeded;
    }
    const replyBytes = code === refusal.none ? this.#replyBytes(type, length) : answerBytesMax;
    if (replyBytes > this.#room && type !== NBD_CMD_READ) return false;
    if (code !== refusal.none) this.#refuse(view, type, code);
    else {
      switch (type) {
        case NBD_CMD_READ:
          if (length > wholeReadBytesMax) {
            this.#stream = { request: identityAt(view, start), offset, length };
          } else {
            if (replyBytes > this.#room) return false;
            this.#push(batchKind.read, type, flags, offset, length, view, start);
          }
          break;
        case NBD_CMD_FLUSH:
          this.#push(batchKind.flush, type, flags, 0, 0, view, start);
          break;
        case NBD_CMD_BLOCK_STATUS:
          this.#push(batchKind.blockStatus, type, flags, offset, length, view, start);
          break;
        case NBD_CMD_CACHE: {
          const error = this.#session.cache(offset, length);
          const index = this.#push(batchKind.answer, type, flags, offset, length, view, start);
          this.#batch.errors[index] = error;
          if (error !== 0) this.#batch.setText(index, this.#session.errorText);
          break;
        }
        default:
          return this.#parseRange(view, type, flags, offset, length);
      }
    }
    this.#room -= replyBytes;
    // Keeps the run going over a header that changes nothing.
    if (this.hasRun) this.#session.stampPad(slab, start, this.#headerBytes);
    window.start = start + this.#headerBytes;
    return true;
  }

  #replyBytes(type: number, length: number): number {
    if (type === NBD_CMD_READ) return readReplyBytes(length, !this.#facts.isStructured);
    return type === NBD_CMD_BLOCK_STATUS ? statusReplyBytesMax : answerBytesMax;
  }

  /** TRIM and WRITE_ZEROES. */
  #parseRange(
    view: DataView,
    type: number,
    flags: number,
    offset: number,
    length: number,
  ): boolean {
    const window = this.#window;
    const session = this.#session;
    const headerBytes = this.#headerBytes;
    const { start } = window;
    if (length === 0) {
      this.#push(batchKind.answer, type, flags, offset, 0, view, start);
    } else {
      if (!session.admit(headerBytes)) {
        this.isParked = true;
        return false;
      }
      const isAllocated = type === NBD_CMD_WRITE_ZEROES && (flags & NBD_CMD_FLAG_NO_HOLE) !== 0;
      const effect = isAllocated ? 'zero' : 'hole';
      const index = this.#push(batchKind.update, type, flags, offset, length, view, start);
      const slab = must(window.slab, 'a request stands in a slab');
      this.#stamped(index, session.stampRange(slab, start, headerBytes, effect, offset, length));
    }
    this.#room -= answerBytesMax;
    window.start = start + headerBytes;
    return true;
  }
}

/** How much of `available` payload bytes for `offset` ends at a block of the volume. */
function bytesToCut(offset: number, available: number): number {
  return Math.floor((offset + available) / blockBytes) * blockBytes - offset;
}

function identityAt(view: DataView, start: number): RequestIdentity {
  return {
    cookieHigh: view.getUint32(start + 8),
    cookieLow: view.getUint32(start + 12),
    offsetHigh: view.getUint32(start + 16),
    offsetLow: view.getUint32(start + 20),
  };
}
