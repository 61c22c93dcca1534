import { type ExportSession, readPending } from '../group/export.ts';
import { assert, must } from '../platform/assert.ts';
import { blockBytes, KiB } from '../platform/limits.ts';
import { createExtentList } from './extents.ts';
import type { RequestIdentity } from './reply-codec.ts';
import { type ReplyBuffer, replyBufferBytes } from './reply-buffers.ts';
import type { ReplyWriter } from './reply-writer.ts';
import type { RequestMetrics } from './request-metrics.ts';
import {
  NBD_CMD_READ,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_REPLY_TYPE_OFFSET_HOLE,
  NBD_STATE_ZERO,
  simpleReplyHeaderBytes,
  writeUint64,
} from './wire.ts';

/** Shorter reads are not worth asking where there is nothing. */
const sparseBytesMin = 64 * KiB;
const sparseExtentsMax = 64;
/** Pieces of one long read that are under way at a time. */
const piecesMax = 4;
const chunkBytesMax = 44;
/** Longest read that is answered from one buffer; also the longest that is never fragmented. */
export const wholeReadBytesMax = replyBufferBytes - 8 * KiB;

/** What a read takes at most in the reply buffer. */
export function readReplyBytes(length: number, isSimple: boolean): number {
  if (isSimple) return simpleReplyHeaderBytes + length;
  return length + (length < sparseBytesMin ? 2 : sparseExtentsMax + 2) * chunkBytesMax;
}

/** A part of a reply that waits for the disk, or for its turn. */
interface Piece extends RequestIdentity {
  readonly token: number;
  buffer: ReplyBuffer | undefined;
  start: number;
  end: number;
  /** Reads of it that are not done. */
  outstanding: number;
  error: number;
  length: number;
  startedAt: number;
  isOfStream: boolean;
}

interface Stream extends RequestIdentity {
  next: number;
  end: number;
  length: number;
  startedAt: number;
  /** Whether anything of the answer was sent. */
  isBegun: boolean;
  pieces: Piece[];
  error: number;
}

/** `waiting`: for the disk or the socket; `yielded`: there is more to do at once. */
export type PumpResult = 'done' | 'waiting' | 'yielded' | 'needs buffer' | 'broken';

/**
 * Answers READ. A read that fits a buffer is answered whole: laid out behind the other replies of its
 * batch, and detached from them when the disk must be asked. A longer one is streamed in order,
 * piece after piece, as the socket drains; nothing else is parsed meanwhile.
 */
export class ReadAnswers {
  readonly #session: ExportSession;
  readonly #writer: ReplyWriter;
  readonly #metrics: RequestMetrics;
  readonly #extents = createExtentList(sparseExtentsMax);
  readonly #pieces: Piece[] = [];
  readonly #freePieces: Piece[] = [];
  /** Pieces that became ready while a stream was in the middle of a simple reply. */
  readonly #deferred: Piece[] = [];
  #stream: Stream | undefined;
  #outstanding = 0;
  #isDead = false;
  /** Of the piece that is being laid out. */
  #layoutError = 0;
  #layoutOutstanding = 0;

  constructor(session: ExportSession, writer: ReplyWriter, metrics: RequestMetrics) {
    this.#session = session;
    this.#writer = writer;
    this.#metrics = metrics;
  }

  /** Reads of the disk that are not done; their buffers must stay. */
  get outstanding(): number {
    return this.#outstanding;
  }

  get isIdle(): boolean {
    return this.#outstanding === 0 && !this.#stream && this.#deferred.length === 0;
  }

  get isStreaming(): boolean {
    return this.#stream !== undefined;
  }

  /** Whether other replies must wait: the body of a simple reply cannot be interrupted. */
  get isInsideReply(): boolean {
    return this.#stream !== undefined && this.#writer.form === 'simple';
  }

  /** Answers a read of at most `wholeReadBytesMax`; the caller has seen to room in the buffer. */
  answerWhole(
    request: RequestIdentity,
    offset: number,
    length: number,
    isWhole: boolean,
    startedAt: number,
  ): void {
    const writer = this.#writer;
    const start = writer.at;
    const piece = this.#claim();
    if (length === 0) this.#layoutEmpty(request);
    else if (writer.form === 'simple') {
      writer.simpleHeader(request);
      this.#data(offset, length, piece.token);
    } else if (isWhole || length < sparseBytesMin) {
      this.#dataChunk(request, offset, length, true, piece.token);
    } else {
      const covered = this.#chunks(request, offset, length, true, piece.token, replyBufferBytes);
      if (covered < length && this.#layoutError === 0) {
        // More holes than chunks: what is left is sent as data.
        this.#dataChunk(request, offset + covered, length - covered, true, piece.token);
      }
    }
    if (this.#layoutOutstanding === 0) {
      this.#freePieces.push(piece);
      const error = this.#layoutError;
      if (error !== 0) {
        writer.rewind(start);
        writer.failure(request, error, this.#session.errorText);
      }
      this.#metrics.count(NBD_CMD_READ, length, error !== 0, startedAt);
      return;
    }
    this.#describe(piece, request, length, startedAt, false);
    piece.start = start;
    piece.end = writer.at;
    piece.buffer = writer.detach(start);
  }

  /** Begins a read that does not fit a buffer; `pump` carries it on. */
  beginStream(request: RequestIdentity, offset: number, length: number, startedAt: number): void {
    assert(this.#stream === undefined, 'one long read at a time');
    this.#stream = {
      cookieHigh: request.cookieHigh,
      cookieLow: request.cookieLow,
      offsetHigh: request.offsetHigh,
      offsetLow: request.offsetLow,
      next: offset,
      end: offset + length,
      length,
      startedAt,
      isBegun: false,
      pieces: [],
      error: 0,
    };
  }

  /** Sends what is ready of the stream and lays out what may follow. */
  pump(bytesMax: number): PumpResult {
    const stream = must(this.#stream, 'a stream');
    const writer = this.#writer;
    let laidOut = 0;
    for (;;) {
      while (stream.pieces[0]?.outstanding === 0)
        this.#sendPiece(stream, must(stream.pieces.shift(), 'piece'));
      if (stream.error !== 0 && stream.pieces.length === 0) return this.#failStream(stream);
      if (stream.next === stream.end && stream.pieces.length === 0) return this.#endStream(stream);
      const mayLayOut =
        stream.next < stream.end && stream.error === 0 && stream.pieces.length < piecesMax;
      if (!mayLayOut) return 'waiting';
      if (laidOut >= bytesMax) return 'yielded';
      if (!writer.open()) return 'needs buffer';
      laidOut += this.#layoutPiece(stream);
    }
  }

  /** A read that was pending is done. */
  completed(token: number, error: number): void {
    const piece = must(this.#pieces[token], `read ${token}`);
    assert(piece.outstanding > 0, `read ${token} was pending`);
    this.#outstanding -= 1;
    piece.outstanding -= 1;
    if (error !== 0) piece.error = error;
    if (piece.outstanding > 0 || piece.isOfStream) {
      if (this.#isDead && piece.outstanding === 0) this.#drop(piece);
      return;
    }
    if (this.#isDead) this.#drop(piece);
    else if (this.isInsideReply) this.#deferred.push(piece);
    else this.#finish(piece);
  }

  /** The connection is gone; memory that the disk still reads into goes back when it is done. */
  close(): void {
    this.#isDead = true;
    for (const piece of this.#stream?.pieces ?? []) {
      if (piece.outstanding === 0) this.#drop(piece);
    }
    this.#stream = undefined;
    for (const piece of this.#deferred.splice(0)) this.#drop(piece);
  }

  /** Reserves the token that the next layout's reads go by. */
  #claim(): Piece {
    this.#layoutError = 0;
    this.#layoutOutstanding = 0;
    const free = this.#freePieces.pop();
    if (free) return free;
    const piece: Piece = {
      token: this.#pieces.length,
      buffer: undefined,
      start: 0,
      end: 0,
      outstanding: 0,
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

  #describe(
    piece: Piece,
    request: RequestIdentity,
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
    piece.outstanding = this.#layoutOutstanding;
    piece.error = this.#layoutError;
  }

  #layoutEmpty(request: RequestIdentity): void {
    if (this.#writer.form === 'simple') this.#writer.simpleHeader(request);
    else this.#writer.chunk(request, NBD_REPLY_TYPE_NONE, 0, true);
  }

  #data(offset: number, length: number, token: number): void {
    const writer = this.#writer;
    const result = this.#session.read(offset, length, writer.buffer.bytes, writer.at, token);
    writer.advance(length);
    if (result === readPending) {
      this.#layoutOutstanding += 1;
      this.#outstanding += 1;
    } else if (result !== 0) this.#layoutError = result;
  }

  #dataChunk(
    request: RequestIdentity,
    offset: number,
    length: number,
    isLast: boolean,
    token: number,
  ): void {
    const writer = this.#writer;
    writer.chunk(request, NBD_REPLY_TYPE_OFFSET_DATA, 8 + length, isLast);
    writeUint64(writer.buffer.view, writer.at, offset);
    writer.advance(8);
    this.#data(offset, length, token);
  }

  /**
   * Lays out a range as data and holes, as far as extents, `dataBytesMax` and room go. Returns the
   * bytes covered: at least one, or `#layoutError` is set.
   */
  #chunks(
    request: RequestIdentity,
    offset: number,
    length: number,
    isLast: boolean,
    token: number,
    dataBytesMax: number,
  ): number {
    const extents = this.#extents;
    const error = this.#session.extents(offset, length, extents);
    if (error !== 0) {
      this.#layoutError = error;
      return 0;
    }
    if (extents.count === 0) {
      const fits = Math.min(length, dataBytesMax);
      this.#dataChunk(request, offset, fits, isLast && fits === length, token);
      return fits;
    }
    let covered = 0;
    let dataBytes = 0;
    for (let index = 0; index < extents.count && covered < length; ) {
      let run = 0;
      const isHole = this.#isWorthAHole(index);
      // Neighbours of the same kind, and holes too small to mention, are one chunk.
      do run += extents.lengths[index++] ?? 0;
      while (index < extents.count && this.#isWorthAHole(index) === isHole);
      run = Math.min(run, length - covered);
      if (isHole) {
        this.#holeChunk(request, offset + covered, run, isLast && covered + run === length);
      } else {
        const fits = Math.min(run, dataBytesMax - dataBytes);
        if (fits <= 0) break;
        const isEnd = isLast && covered + fits === length;
        this.#dataChunk(request, offset + covered, fits, isEnd, token);
        dataBytes += fits;
        if (this.#layoutError !== 0 || fits < run) return covered + fits;
      }
      covered += run;
    }
    return covered;
  }

  #isWorthAHole(index: number): boolean {
    const { lengths, states } = this.#extents;
    return ((states[index] ?? 0) & NBD_STATE_ZERO) !== 0 && (lengths[index] ?? 0) >= blockBytes;
  }

  #holeChunk(request: RequestIdentity, offset: number, length: number, isLast: boolean): void {
    const writer = this.#writer;
    writer.chunk(request, NBD_REPLY_TYPE_OFFSET_HOLE, 12, isLast);
    writeUint64(writer.buffer.view, writer.at, offset);
    writer.buffer.view.setUint32(writer.at + 8, length);
    writer.advance(12);
  }

  /** Lays out the next piece of a stream; returns how many bytes of it. */
  #layoutPiece(stream: Stream): number {
    const writer = this.#writer;
    const start = writer.at;
    const piece = this.#claim();
    const left = stream.end - stream.next;
    const fits = Math.min(left, wholeReadBytesMax);
    let covered = fits;
    if (writer.form === 'simple') {
      if (stream.next === stream.end - stream.length) writer.simpleHeader(stream);
      this.#data(stream.next, fits, piece.token);
    } else {
      covered = this.#chunks(stream, stream.next, left, true, piece.token, wholeReadBytesMax);
    }
    stream.next += covered;
    this.#describe(piece, stream, covered, stream.startedAt, true);
    piece.start = start;
    piece.end = writer.at;
    piece.buffer = writer.detach(start);
    writer.flush();
    stream.pieces.push(piece);
    return Math.max(covered, 1);
  }

  #sendPiece(stream: Stream, piece: Piece): void {
    if (piece.error !== 0 && stream.error === 0) stream.error = piece.error;
    if (stream.error !== 0) {
      this.#drop(piece);
      return;
    }
    stream.isBegun = true;
    this.#writer.sendDetached(must(piece.buffer, 'buffer'), piece.start, piece.end);
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
    if (writer.form === 'simple' && stream.isBegun) return 'broken';
    if (!writer.open()) return 'needs buffer';
    this.#stream = undefined;
    writer.failure(stream, stream.error, this.#session.errorText);
    this.#metrics.count(NBD_CMD_READ, 0, true, stream.startedAt);
    writer.flush();
    this.#sendDeferred();
    return 'done';
  }

  #sendDeferred(): void {
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
    const buffer = piece.buffer;
    if (buffer) this.#writer.release(buffer);
    this.#free(piece);
  }

  #free(piece: Piece): void {
    piece.buffer = undefined;
    this.#freePieces.push(piece);
  }
}
