import type { ExportSession } from '../group/apply/export.ts';
import { assert, must } from '../platform/assert.ts';
import { KiB } from '../platform/limits.ts';
import { ReadLayout, wholeReadBytesMax } from './read-layout.ts';
import type { RequestIdentity } from './reply-codec.ts';
import type { ReplyBuffer } from './reply-buffers.ts';
import type { ReplyWriter } from './reply-writer.ts';
import type { RequestMetrics } from './request-metrics.ts';
import { NBD_CMD_READ } from './wire.ts';

/** Pieces of one long read that are under way at a time. */
const piecesMax = 4;
/**
 * A socket that took less of a file than it was offered is full. So much is then copied and left to
 * the connection, which tells when it has gone.
 */
const copiedBytesWhenFull = 16 * KiB;

/** So much of a long read is looked at before it is asked again whether all of it may be shown. */
const shownBytesMax = 512 * KiB;

/** A part of a reply that waits for the disk, or for its turn. */
interface Piece extends RequestIdentity {
  readonly token: number;
  buffer: ReplyBuffer | undefined;
  start: number;
  end: number;
  /** Reads of it that are not done. */
  pending: number;
  error: number;
  length: number;
  startedAt: number;
  isOfStream: boolean;
}

export interface LongRead {
  readonly request: RequestIdentity;
  readonly offset: number;
  readonly length: number;
}

interface Stream extends LongRead {
  readonly startedAt: number;
  next: number;
  /** Whether anything of the answer was sent. */
  isBegun: boolean;
  /** Data up to here was promised by a header that went out ahead of it; and what of it is unsent. */
  promisedEnd: number;
  owed: number;
  readonly pieces: Piece[];
  error: number;
}

/** `waiting`: for the disk or the socket; `yielded`: there is more to do at once. */
export type PumpResult = 'done' | 'waiting' | 'yielded' | 'needs buffer' | 'broken';

/**
 * Answers READ. A read that fits a buffer is answered whole: laid out behind the other replies of its
 * batch, and detached from them when the disk must be asked. A longer one is streamed in order,
 * piece after piece, as the socket drains; nothing else is parsed meanwhile. What is in the page
 * cache of the backing file is not copied: the kernel is told to send it from there.
 */
export class ReadAnswers {
  readonly #session: ExportSession;
  readonly #writer: ReplyWriter;
  readonly #metrics: RequestMetrics;
  readonly #layout: ReadLayout;
  /** By token. */
  readonly #pieces: Piece[] = [];
  readonly #freePieces: Piece[] = [];
  /** Pieces that became ready while a stream was inside a simple reply, or a chunk. */
  readonly #deferred: Piece[] = [];
  #stream: Stream | undefined;
  #pending = 0;
  #streamedBytes = 0;
  #isClosed = false;

  constructor(session: ExportSession, writer: ReplyWriter, metrics: RequestMetrics) {
    this.#session = session;
    this.#writer = writer;
    this.#metrics = metrics;
    this.#layout = new ReadLayout(session, writer);
  }

  /** Reads of the disk that are not done; their buffers must stay. */
  get pending(): number {
    return this.#pending;
  }

  get isIdle(): boolean {
    return this.#pending === 0 && !this.#stream && this.#deferred.length === 0;
  }

  get isStreaming(): boolean {
    return this.#stream !== undefined;
  }

  /** Bytes of long reads since the last call. */
  takeStreamedBytes(): number {
    const bytes = this.#streamedBytes;
    this.#streamedBytes = 0;
    return bytes;
  }

  /** Whether other replies must wait: the data behind a header cannot be interrupted. */
  get isInsideReply(): boolean {
    const stream = this.#stream;
    return stream !== undefined && (this.#writer.form === 'simple' || stream.owed > 0);
  }

  /**
   * Complete replies wait, with their buffers, for a stream that nothing under way brings on: their
   * buffers must not be what keeps it from a buffer of its own.
   */
  get isUrgent(): boolean {
    if (this.#deferred.length === 0 || !this.#writer.isDrained) return false;
    return this.#stream?.pieces.length === 0;
  }

  /** Answers a read of at most `wholeReadBytesMax`; the caller has seen to room in the buffer. */
  answerWhole(
    request: RequestIdentity,
    offset: number,
    length: number,
    isFragmented: boolean,
    startedAt: number,
  ): void {
    const writer = this.#writer;
    const layout = this.#layout;
    const start = writer.at;
    const piece = this.#claim();
    layout.whole(request, offset, length, isFragmented, piece.token);
    if (layout.pending > 0) {
      this.#detach(piece, request, start, length, startedAt, false);
      return;
    }
    this.#freePieces.push(piece);
    if (layout.error !== 0) {
      writer.rewind(start);
      writer.failure(request, layout.error, this.#session.errorText);
    }
    this.#metrics.count(NBD_CMD_READ, length, layout.error !== 0, startedAt);
  }

  /** Begins a read that does not fit a buffer; `pump` carries it on. */
  beginStream(read: LongRead, startedAt: number): void {
    assert(this.#stream === undefined, 'one long read at a time');
    this.#stream = {
      ...read,
      startedAt,
      next: read.offset,
      isBegun: false,
      promisedEnd: read.offset,
      owed: 0,
      pieces: [],
      error: 0,
    };
  }

  /** Sends what is ready of the stream and lays out what may follow, about `bytesMax` of it. */
  pump(bytesMax: number): PumpResult {
    const stream = must(this.#stream, 'a stream');
    const end = stream.offset + stream.length;
    const { pieces } = stream;
    let laidOut = 0;
    for (;;) {
      while (pieces[0]?.pending === 0) this.#sendFirst(stream);
      this.#sendDeferred();
      if (pieces.length === 0 && stream.error !== 0) return this.#failStream(stream);
      if (pieces.length === 0 && stream.next === end) return this.#endStream(stream);
      if (stream.next === end || stream.error !== 0 || pieces.length >= piecesMax) return 'waiting';
      if (laidOut >= bytesMax) return 'yielded';
      // Others write meanwhile: what they were not answered yet is not shown. `admitted` brings us back.
      const shownBytes = Math.min(end - stream.next, shownBytesMax);
      if (!this.#session.admitsRead(stream.next, shownBytes)) return 'waiting';
      const fileBytes = pieces.length === 0 ? this.#fileBytes(stream, end) : 0;
      // Not copied for want of room in the socket: `drained` brings us back.
      if (fileBytes > 0 && !this.#writer.isDrained) return 'waiting';
      if (!this.#writer.open(this.isUrgent)) return 'needs buffer';
      if (fileBytes > 0) laidOut += this.#sendFile(stream, end, fileBytes);
      else laidOut += this.#layOutNext(stream, end - stream.next, wholeReadBytesMax);
    }
  }

  /** A read that was pending is done. */
  completed(token: number, error: number): void {
    const piece = must(this.#pieces[token], 'the read is known', token);
    assert(piece.pending > 0, 'the read was pending', token);
    this.#pending -= 1;
    piece.pending -= 1;
    if (error !== 0) piece.error = error;
    if (piece.pending > 0) return;
    if (this.#isClosed) this.#drop(piece);
    else if (piece.isOfStream) return;
    else if (this.isInsideReply) this.#deferred.push(piece);
    else this.#finish(piece);
  }

  /** The connection is gone; memory that the disk still reads into goes back when it is done. */
  close(): void {
    this.#isClosed = true;
    for (const piece of this.#stream?.pieces ?? []) if (piece.pending === 0) this.#drop(piece);
    for (const piece of this.#deferred.splice(0)) this.#drop(piece);
    this.#stream = undefined;
  }

  /** A piece whose token the next layout's reads go by. */
  #claim(): Piece {
    const free = this.#freePieces.pop();
    if (free) return free;
    const piece: Piece = {
      token: this.#pieces.length,
      buffer: undefined,
      start: 0,
      end: 0,
      pending: 0,
      error: 0,
      length: 0,
      startedAt: 0,
      isOfStream: false,
      cookieHigh: 0,
      cookieLow: 0,
      offsetHigh: 0,
      offsetLow: 0,
    };
    this.#pieces.push(piece);
    return piece;
  }

  /** Takes what was just laid out from `start` on out of the stream of replies. */
  #detach(
    piece: Piece,
    request: RequestIdentity,
    start: number,
    length: number,
    startedAt: number,
    isOfStream: boolean,
  ): void {
    piece.cookieHigh = request.cookieHigh;
    piece.cookieLow = request.cookieLow;
    piece.offsetHigh = request.offsetHigh;
    piece.offsetLow = request.offsetLow;
    piece.length = length;
    piece.startedAt = startedAt;
    piece.isOfStream = isOfStream;
    piece.pending = this.#layout.pending;
    piece.error = this.#layout.error;
    piece.start = start;
    piece.end = this.#writer.at;
    piece.buffer = this.#writer.detach(start);
    this.#pending += this.#layout.pending;
  }

  /** How much of what is next may be sent from the backing file itself. */
  #fileBytes(stream: Stream, end: number): number {
    const { next, promisedEnd } = stream;
    const isPromised = promisedEnd > next;
    return this.#layout.fileBytes(next, (isPromised ? promisedEnd : end) - next, isPromised);
  }

  /** The header that such data needs, and as much of it as the socket takes. */
  #sendFile(stream: Stream, end: number, bytes: number): number {
    const writer = this.#writer;
    const { request, next } = stream;
    if (next >= stream.promisedEnd) {
      if (writer.form !== 'simple') {
        this.#layout.dataHeader(request, next, bytes, next + bytes === end);
      } else if (next === stream.offset) writer.simpleHeader(request);
      stream.promisedEnd = next + bytes;
      stream.owed = bytes;
      stream.isBegun = true;
    }
    const sent = writer.sendFile(this.#session.fileDescriptor, next, bytes);
    stream.next += sent;
    stream.owed -= sent;
    this.#streamedBytes += sent;
    if (sent < bytes) {
      return sent + this.#layOutNext(stream, bytes - sent, copiedBytesWhenFull);
    }
    writer.flush();
    return sent;
  }

  #layOutNext(stream: Stream, left: number, copiedBytesMax: number): number {
    const { request, next, promisedEnd, startedAt } = stream;
    const isGated = this.#session.plainThrough !== Number.POSITIVE_INFINITY;
    const shownBytes = isGated ? Math.min(left, shownBytesMax) : left;
    const start = this.#writer.at;
    const piece = this.#claim();
    const { token } = piece;
    const covered =
      promisedEnd > next
        ? this.#layout.rest(next, Math.min(promisedEnd - next, copiedBytesMax), token)
        : this.#layout.piece(request, next, left, shownBytes, next === stream.offset, token);
    stream.next += covered;
    this.#detach(piece, request, start, covered, startedAt, true);
    this.#writer.flush();
    stream.pieces.push(piece);
    const bytes = piece.end - piece.start;
    this.#streamedBytes += bytes;
    return bytes;
  }

  #sendFirst(stream: Stream): void {
    const piece = must(stream.pieces.shift(), 'a piece');
    if (stream.error === 0) stream.error = piece.error;
    if (stream.error !== 0) {
      this.#drop(piece);
      return;
    }
    stream.isBegun = true;
    if (stream.owed > 0) stream.owed -= piece.length;
    this.#writer.sendDetached(must(piece.buffer, 'its buffer'), piece.start, piece.end);
    this.#free(piece);
  }

  #endStream(stream: Stream): PumpResult {
    this.#stream = undefined;
    this.#metrics.count(NBD_CMD_READ, stream.length, false, stream.startedAt);
    this.#sendDeferred();
    return 'done';
  }

  #failStream(stream: Stream): PumpResult {
    const writer = this.#writer;
    // The header said that all is well, and there is no way to take that back.
    if (stream.owed > 0 || (writer.form === 'simple' && stream.isBegun)) return 'broken';
    if (!writer.open(this.isUrgent)) return 'needs buffer';
    writer.failure(stream.request, stream.error, this.#session.errorText);
    writer.flush();
    this.#stream = undefined;
    this.#metrics.count(NBD_CMD_READ, 0, true, stream.startedAt);
    this.#sendDeferred();
    return 'done';
  }

  #sendDeferred(): void {
    if (this.#deferred.length === 0 || this.isInsideReply) return;
    for (const piece of this.#deferred.splice(0)) this.#finish(piece);
  }

  /** A whole read is complete: it goes out, or what went wrong goes in its place. */
  #finish(piece: Piece): void {
    const writer = this.#writer;
    const buffer = must(piece.buffer, 'a piece has its buffer');
    if (piece.error !== 0) {
      const { start, end } = piece;
      const text = this.#session.errorText;
      piece.end = writer.replaceWithFailure(buffer, start, end, piece, piece.error, text);
    }
    writer.sendDetached(buffer, piece.start, piece.end);
    this.#metrics.count(NBD_CMD_READ, piece.length, piece.error !== 0, piece.startedAt);
    this.#free(piece);
  }

  #drop(piece: Piece): void {
    if (piece.buffer) this.#writer.release(piece.buffer);
    this.#free(piece);
  }

  #free(piece: Piece): void {
    piece.buffer = undefined;
    this.#freePieces.push(piece);
  }
}
