import { assert } from '../platform/assert.ts';
import type { Connection } from '../platform/network.ts';
import {
  putChunkHeader,
  putDone,
  putError,
  putSimpleReply,
  type RequestIdentity,
} from './reply-codec.ts';
import { type ReplyBuffer, type ReplyBufferPool, replyBufferBytes } from './reply-buffers.ts';
import {
  NBD_REPLY_FLAG_DONE,
  extendedReplyHeaderBytes,
  simpleReplyHeaderBytes,
  structuredReplyHeaderBytes,
} from './wire.ts';
import type { ReplyForm } from './negotiation.ts';

/** Longest sentence sent with an error, and what an answer without data takes at most. */
const errorTextBytesMax = 240;
export const answerBytesMax = extendedReplyHeaderBytes + 6 + errorTextBytesMax;

/**
 * Puts the replies of one connection together, in one buffer for as many as fit, and sends them. What
 * the kernel did not take at once stays referenced until the connection has drained.
 */
export class ReplyWriter {
  readonly form: ReplyForm;
  readonly #connection: Connection;
  readonly #pool: ReplyBufferPool;
  readonly #undrained: ReplyBuffer[] = [];
  #current: ReplyBuffer | undefined;
  #sentTo = 0;
  #at = 0;
  #held = 0;
  #isClosed = false;

  constructor(connection: Connection, pool: ReplyBufferPool, form: ReplyForm) {
    this.#connection = connection;
    this.#pool = pool;
    this.form = form;
  }

  /** Buffers that this connection keeps from others. */
  get held(): number {
    return this.#held;
  }

  get isOpen(): boolean {
    return this.#current !== undefined;
  }

  /** Bytes that still fit the buffer. */
  get room(): number {
    return replyBufferBytes - this.#at;
  }

  get at(): number {
    return this.#at;
  }

  get buffer(): ReplyBuffer {
    const buffer = this.#current;
    assert(buffer !== undefined, 'replies are written into an open buffer');
    return buffer;
  }

  get dataHeaderBytes(): number {
    if (this.form === 'simple') return simpleReplyHeaderBytes;
    return this.chunkHeaderBytes + 8;
  }

  get chunkHeaderBytes(): number {
    return this.form === 'extended' ? extendedReplyHeaderBytes : structuredReplyHeaderBytes;
  }

  /**
   * Takes a buffer to write into. False: none may be had now. `isUrgent`: what this connection holds
   * already is not counted against it.
   */
  open(isUrgent = false): boolean {
    if (this.#current) return true;
    const buffer = this.#pool.take(isUrgent ? 0 : this.#held);
    if (!buffer) return false;
    this.#held += 1;
    this.#current = buffer;
    this.#sentTo = this.#at = 0;
    return true;
  }

  success(request: RequestIdentity): void {
    const { view } = this.buffer;
    if (this.form === 'simple') this.#at = putSimpleReply(view, this.#at, 0, request);
    else this.#at = putDone(view, this.#at, this.form === 'extended', request);
  }

  failure(request: RequestIdentity, error: number, text: string): void {
    this.#at = this.#putFailure(this.buffer, this.#at, errorTextBytesMax, request, error, text);
  }

  /**
   * Puts a failure in the place of a detached reply; the sentence is cut to the room there. Returns
   * where it ends.
   */
  replaceWithFailure(
    buffer: ReplyBuffer,
    start: number,
    end: number,
    request: RequestIdentity,
    error: number,
    text: string,
  ): number {
    const textBytesMax = Math.min(errorTextBytesMax, end - start - this.chunkHeaderBytes - 6);
    return this.#putFailure(buffer, start, Math.max(0, textBytesMax), request, error, text);
  }

  #putFailure(
    buffer: ReplyBuffer,
    at: number,
    textBytesMax: number,
    request: RequestIdentity,
    error: number,
    text: string,
  ): number {
    const { bytes, view } = buffer;
    if (this.form === 'simple') return putSimpleReply(view, at, error, request);
    const encoded = Buffer.from(text);
    const fits = Math.min(encoded.length, textBytesMax);
    const sentence = fits < encoded.length ? cutAtCharacter(encoded, fits) : encoded;
    const isExtended = this.form === 'extended';
    return putError(bytes, view, at, isExtended, request, error, sentence);
  }

  /** A chunk's header; its payload is then written at `at` by the caller, who calls `advance`. */
  chunk(request: RequestIdentity, type: number, payloadBytes: number, isLast: boolean): void {
    const isExtended = this.form === 'extended';
    const flags = isLast ? NBD_REPLY_FLAG_DONE : 0;
    const { view } = this.buffer;
    this.#at = putChunkHeader(view, this.#at, isExtended, flags, type, request, payloadBytes);
  }

  simpleHeader(request: RequestIdentity): void {
    this.#at = putSimpleReply(this.buffer.view, this.#at, 0, request);
  }

  advance(bytes: number): void {
    this.#at += bytes;
  }

  /** Takes back what was written behind `at`. */
  rewind(at: number): void {
    this.#at = at;
  }

  /**
   * Everything from `start` on is not complete yet: it stays in the buffer, and what precedes it is
   * sent without it. The caller owes a `sendDetached` or `release`.
   */
  detach(start: number): ReplyBuffer {
    const end = this.#at;
    this.#at = start;
    this.#sendUnsent();
    this.#at = this.#sentTo = end;
    const buffer = this.buffer;
    buffer.references += 1;
    return buffer;
  }

  sendDetached(buffer: ReplyBuffer, start: number, end: number): void {
    this.#send(buffer, start, end);
    this.release(buffer);
  }

  /** Whether `sendFile` is worth trying at all. */
  get sendsFiles(): boolean {
    return this.#connection.sendsFiles;
  }

  /** Whether it is worth trying now; if not, the owner of the connection will be told when. */
  get isDrained(): boolean {
    return this.#connection.pendingBytes === 0;
  }

  /**
   * Sends all that was written, and behind it bytes of a file: as many as the socket takes at once.
   * Returns how many of the file; what was written and not taken is sent before anything else is.
   */
  sendFile(descriptor: number, position: number, length: number): number {
    if (this.#isClosed) return 0;
    const { bytes } = this.buffer;
    const start = this.#sentTo;
    const end = this.#at;
    const sent = this.#connection.sendFile(bytes, start, end, descriptor, position, length);
    this.#sentTo = Math.min(end, start + sent);
    return Math.max(0, sent - (end - start));
  }

  /** Sends what is complete. What was detached stays. */
  flush(): void {
    const buffer = this.#current;
    if (!buffer) return;
    this.#sendUnsent();
    this.#current = undefined;
    this.release(buffer);
  }

  /** All that was sent has left. */
  drained(): void {
    for (const buffer of this.#undrained) this.release(buffer);
    this.#undrained.length = 0;
  }

  /** The connection is gone: nothing will be sent any more. Detached buffers are still owed. */
  close(): void {
    this.#isClosed = true;
    const buffer = this.#current;
    this.#current = undefined;
    if (buffer) this.release(buffer);
    this.drained();
  }

  release(buffer: ReplyBuffer): void {
    buffer.references -= 1;
    if (buffer.references > 0) return;
    this.#held -= 1;
    this.#pool.giveBack(buffer);
  }

  #sendUnsent(): void {
    if (this.#at === this.#sentTo) return;
    this.#send(this.buffer, this.#sentTo, this.#at);
    this.#sentTo = this.#at;
  }

  #send(buffer: ReplyBuffer, start: number, end: number): void {
    if (this.#isClosed) return;
    const pending = this.#connection.send(buffer.bytes.subarray(start, end));
    if (pending === 0 || this.#undrained.at(-1) === buffer) return;
    buffer.references += 1;
    this.#undrained.push(buffer);
  }
}

/** Cuts before a character that would not fit whole. */
function cutAtCharacter(bytes: Uint8Array, length: number): Uint8Array {
  let end = length;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end);
}
