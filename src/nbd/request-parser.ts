import type { ExportSession } from '../group/apply/export.ts';
import { payloadAcceptedBytesMax, slabBytes } from '../platform/limits.ts';
import { type Payload, PayloadParts, type PayloadProgress, writePayload } from './payload-parts.ts';
import type { LongRead } from './read-answers.ts';
import { readReplyBytes, wholeReadBytesMax } from './read-layout.ts';
import type { ReceiveWindow } from './receive-window.ts';
import { identityAt } from './reply-codec.ts';
import { answerBytesMax } from './reply-writer.ts';
import { batchKind, RequestBatch } from './request-batch.ts';
import {
  type CheckFacts,
  checkRequest,
  type Refusal,
  rangeEffect,
  refusal,
  refusalErrno,
  refusalText,
} from './request-check.ts';
import { unknownCommand } from './request-metrics.ts';
import { parked, RunStamper } from './run-stamper.ts';
import { decodeStatusPayload, statusReplyBytesMax } from './status-answers.ts';
import { preserveAhead } from './writes-ahead.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_REQUEST_MAGIC,
  extendedRequestHeaderBytes,
  readUint64,
  requestHeaderBytes,
} from './wire.ts';

/** A payload that tells what BLOCK_STATUS is to tell is far shorter. */
const statusPayloadBytesMax = 4096;

/**
 * Turns received bytes into entries of the batch, and stamps writes in place: the request's own header
 * becomes the record's.
 *
 * `parse` stops when it needs more bytes (then `window.wanted` is more than there is), when the batch
 * or its reply buffer is full, at a long read, or parked: the journal takes nothing more now, or what is
 * asked for may not be shown yet.
 */
export class RequestParser {
  readonly #session: ExportSession;
  readonly #window: ReceiveWindow;
  readonly #batch: RequestBatch;
  readonly #facts: CheckFacts;
  readonly #headerBytes: 28 | 32;
  readonly #magic: number;
  readonly #stamper: RunStamper;
  readonly #parts: PayloadParts;
  #longRead: LongRead | undefined;
  #isRefusing = false;
  /** Bytes of the reply buffer that no entry of the batch has a claim to. */
  #room = 0;
  /** The batch has requests that show what is there. */
  #isShowing = false;
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
    this.#stamper = new RunStamper(session, this.#headerBytes);
    this.#parts = new PayloadParts(session, window, this.#stamper);
  }

  get isParked(): boolean {
    return this.#stamper.isParked;
  }

  /** Fills the batch. The answers to it take at most `replyRoom`. */
  parse(replyRoom: number): void {
    this.#stamper.isParked = false;
    this.#isShowing = false;
    if (!this.#window.slab) return;
    const batch = this.#batch;
    this.#room = replyRoom - answerBytesMax;
    if (this.#session.isPreserving && !this.#isRefusing && !this.#parts.current) {
      preserveAhead(this.#session, this.#window, this.#facts);
    }
    while (batch.count < RequestBatch.capacity && !this.#longRead && !this.isOver) {
      const payload = this.#parts.current;
      if (!(payload ? this.#parsePayload(payload) : this.#parseRequest())) return;
    }
  }

  /** Hands the run to the journal. Returns 0, or the error number for every update of the batch. */
  commit(): number {
    const error = this.#stamper.commit();
    this.#parts.runCommitted(error);
    return error;
  }

  /** The long read that parsing stopped at. */
  takeLongRead(): LongRead | undefined {
    const longRead = this.#longRead;
    this.#longRead = undefined;
    return longRead;
  }

  /** From now on every request is answered with ESHUTDOWN. */
  refuseAll(): void {
    this.#isRefusing = true;
  }

  /** Makes what waits for more bytes small enough to be kept beside the slab. False: not now. */
  spill(): boolean {
    const window = this.#window;
    if (this.#parts.current || window.available < this.#headerBytes) {
      return this.#parts.spill(undefined);
    }
    const { view } = window.held;
    const { start } = window;
    const isWrite = view.getUint16(start + 6) === NBD_CMD_WRITE;
    return this.#parts.spill(isWrite ? this.#writeAt(view, start) : undefined);
  }

  #writeAt(view: DataView, start: number): Payload {
    const length = this.#lengthAt(view, start);
    const offset = readUint64(view, start + 16);
    return writePayload(view.getUint16(start + 4), offset, length, identityAt(view, start));
  }

  #lengthAt(view: DataView, start: number): number {
    return this.#facts.isExtended ? readUint64(view, start + 24) : view.getUint32(start + 24);
  }

  /** False when parked: then the entry, the newest, is taken back. */
  #noteUpdate(index: number, number: number): boolean {
    const batch = this.#batch;
    if (number === parked) {
      batch.count = index;
      return false;
    }
    if (number > 0) batch.numbers[index] = number;
    else {
      batch.errors[index] = -number;
      batch.setText(index, this.#session.errorText);
    }
    this.#room -= answerBytesMax;
    return true;
  }

  /** One request. False: stop parsing. */
  #parseRequest(): boolean {
    const window = this.#window;
    const headerBytes = this.#headerBytes;
    const { start } = window;
    window.wanted = headerBytes;
    if (window.available < headerBytes) {
      if (start + headerBytes > slabBytes) window.mustMove = true;
      return false;
    }
    const { view } = window.held;
    if (view.getUint32(start) !== this.#magic) {
      this.isOver = true;
      return false;
    }
    const flags = view.getUint16(start + 4);
    const type = view.getUint16(start + 6);
    const offset = readUint64(view, start + 16);
    const length = this.#lengthAt(view, start);
    if (type === NBD_CMD_WRITE) return this.#parseWrite(view, flags, offset, length);
    if (type === NBD_CMD_DISC) {
      window.start += headerBytes;
      this.isOver = true;
      return false;
    }
    if (this.#facts.isExtended && (flags & NBD_CMD_FLAG_PAYLOAD_LEN) !== 0) {
      return this.#parseWithPayload(view, type, flags, offset, length);
    }
    return this.#parsePlain(view, type, flags, offset, length);
  }

  #check(type: number, flags: number, offset: number, length: number): Refusal {
    if (this.#isRefusing) return refusal.shutdown;
    return checkRequest(type, flags, offset, length, this.#session.sizeBytes, this.#facts);
  }

  #parseWrite(view: DataView, flags: number, offset: number, length: number): boolean {
    const window = this.#window;
    const { start } = window;
    if (this.#room < answerBytesMax || this.#mustEnd) return false;
    if (length > payloadAcceptedBytesMax) {
      this.isOver = true;
      return false;
    }
    const code = this.#check(NBD_CMD_WRITE, flags, offset, length);
    if (code !== refusal.none || length === 0) {
      return this.#refuseWithPayload(view, NBD_CMD_WRITE, code, length);
    }
    const whole = this.#headerBytes + length;
    if (window.available < whole) {
      if (start + whole > slabBytes) {
        return this.#goOn(this.#parts.beginWrite(this.#writeAt(view, start)));
      }
      window.wanted = whole;
      return false;
    }
    // The stamp destroys the request's header: what the answer needs is taken first.
    const batch = this.#batch;
    const index = batch.add(batchKind.update, NBD_CMD_WRITE, flags, offset, length, view, start);
    const number = this.#stamper.write(window.held, start, offset, length);
    if (!this.#noteUpdate(index, number)) return false;
    window.start = start + whole;
    return true;
  }

  #parsePayload(payload: Payload): boolean {
    if (this.#room < answerBytesMax) return false;
    return this.#goOn(this.#parts.advance(payload));
  }

  #goOn(progress: PayloadProgress): boolean {
    const payload = this.#parts.current;
    if (progress !== 'complete' || !payload) return false;
    this.#parts.end();
    this.#batch.addPayload(payload);
    this.#room -= answerBytesMax;
    return true;
  }

  /** The payload is read over, then the request is answered. */
  #refuseWithPayload(view: DataView, type: number, code: Refusal, length: number): boolean {
    const identity = identityAt(view, this.#window.start);
    return this.#goOn(this.#parts.beginRefused(type, code, length, identity));
  }

  /** Extended headers: a command other than WRITE that brings a payload. */
  #parseWithPayload(
    view: DataView,
    type: number,
    flags: number,
    offset: number,
    length: number,
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
      return this.#refuseWithPayload(view, Math.min(type, unknownCommand), answered, length);
    }
    const whole = this.#headerBytes + length;
    if (window.available < whole) {
      window.wanted = whole;
      if (window.start + whole > slabBytes) window.mustMove = true;
      return false;
    }
    const payloadStart = window.start + this.#headerBytes;
    const payload = window.held.bytes.subarray(payloadStart, payloadStart + length);
    const asked = decodeStatusPayload(payload);
    const code = asked ? this.#check(type, flags, offset, asked.length) : refusal.statusPayload;
    if (asked && code === refusal.none && !this.#mayShow(type, offset, asked.length)) return false;
    if (asked && code === refusal.none) {
      this.#batch.add(batchKind.blockStatus, type, flags, offset, asked.length, view, window.start);
    } else this.#refuse(view, type, code);
    this.#room -= statusReplyBytesMax;
    window.start += whole;
    return true;
  }

  #refuse(view: DataView, type: number, code: Refusal): void {
    const { start } = this.#window;
    const index = this.#batch.add(
      batchKind.answer,
      Math.min(type, unknownCommand),
      0,
      0,
      0,
      view,
      start,
    );
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
    let code = this.#check(type, flags, offset, length);
    if (code === refusal.none && !this.#mayShow(type, offset, length)) return false;
    const isLong = type === NBD_CMD_READ && length > wholeReadBytesMax;
    if (isLong && code === refusal.none && (flags & NBD_CMD_FLAG_DF) !== 0) {
      code = refusal.fragmentsNeeded;
    }
    if (code !== refusal.none) {
      if (this.#room < answerBytesMax) return false;
      this.#refuse(view, type, code);
      this.#room -= answerBytesMax;
    } else if (isLong) {
      this.#longRead = { request: identityAt(view, start), offset, length };
    } else {
      const replyBytes = this.#replyBytes(type, length);
      if (this.#room < replyBytes) return false;
      if (type === NBD_CMD_READ) {
        this.#batch.add(batchKind.read, type, flags, offset, length, view, start);
      } else if (type === NBD_CMD_FLUSH) {
        this.#batch.add(batchKind.flush, type, flags, 0, 0, view, start);
      } else if (type === NBD_CMD_BLOCK_STATUS) {
        this.#batch.add(batchKind.blockStatus, type, flags, offset, length, view, start);
      } else if (type === NBD_CMD_CACHE) {
        this.#cache(view, flags, offset, length);
      } else return this.#parseRange(view, type, flags, offset, length);
      this.#room -= replyBytes;
    }
    this.#stamper.pad(window.held, start);
    window.start = start + this.#headerBytes;
    return true;
  }

  #mayShow(type: number, offset: number, length: number): boolean {
    if (type !== NBD_CMD_READ && type !== NBD_CMD_BLOCK_STATUS) return true;
    this.#isShowing = true;
    return this.#stamper.admitsRead(offset, length);
  }

  /** It would show what is stamped behind it: while updates wait for others, they make a batch of their own. */
  get #mustEnd(): boolean {
    return this.#isShowing && this.#session.plainThrough !== Number.POSITIVE_INFINITY;
  }

  #replyBytes(type: number, length: number): number {
    if (type === NBD_CMD_READ) return readReplyBytes(length, !this.#facts.isStructured);
    return type === NBD_CMD_BLOCK_STATUS ? statusReplyBytesMax : answerBytesMax;
  }

  #cache(view: DataView, flags: number, offset: number, length: number): void {
    const error = length === 0 ? 0 : this.#session.cache(offset, length);
    const index = this.#batch.add(
      batchKind.answer,
      NBD_CMD_CACHE,
      flags,
      offset,
      length,
      view,
      this.#window.start,
    );
    this.#batch.errors[index] = error;
    if (error !== 0) this.#batch.setText(index, this.#session.errorText);
  }

  /** TRIM and WRITE_ZEROES. */
  #parseRange(
    view: DataView,
    type: number,
    flags: number,
    offset: number,
    length: number,
  ): boolean {
    if (this.#mustEnd) return false;
    const window = this.#window;
    const { start } = window;
    if (length === 0) {
      this.#batch.add(batchKind.answer, type, flags, offset, 0, view, start);
      this.#room -= answerBytesMax;
    } else {
      const effect = rangeEffect(type, flags);
      const index = this.#batch.add(batchKind.update, type, flags, offset, length, view, start);
      const number = this.#stamper.range(window.held, start, effect, offset, length);
      if (!this.#noteUpdate(index, number)) return false;
    }
    window.start = start + this.#headerBytes;
    return true;
  }
}
