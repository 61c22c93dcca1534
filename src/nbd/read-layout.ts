import { type ExportSession, readPending } from '../group/apply/export.ts';
import { blockBytes, KiB } from '../platform/limits.ts';
import { createExtentList } from './extents.ts';
import type { RequestIdentity } from './reply-codec.ts';
import { replyBufferBytes } from './reply-buffers.ts';
import type { ReplyWriter } from './reply-writer.ts';
import {
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
const chunkBytesMax = 44;
/** What is sent from the backing file itself: less is copied as quickly. */
const fileBytesMin = 64 * KiB;
/**
 * A page that leaves the cache between the look and `sendfile` makes that call wait for the device, and
 * the event loop with it. No flag keeps it from that. It is acceptable because it is rare and short:
 * both are in one turn, some microseconds apart, and this is all that one call can wait for.
 */
const fileBytesMax = 256 * KiB;
/** Longest read that is answered from one buffer; also the longest that is never fragmented. */
export const wholeReadBytesMax = replyBufferBytes - 8 * KiB;

/** What a read takes at most in the reply buffer. */
export function readReplyBytes(length: number, isSimple: boolean): number {
  if (isSimple) return simpleReplyHeaderBytes + length;
  return length + (length < sparseBytesMin ? 2 : sparseExtentsMax + 2) * chunkBytesMax;
}

/**
 * Writes the answer to a read into the reply buffer, its data read straight to where it is sent from.
 * `error` and `pending` tell how that went for the last `whole` or `piece`.
 */
export class ReadLayout {
  readonly #session: ExportSession;
  readonly #writer: ReplyWriter;
  readonly #extents = createExtentList(sparseExtentsMax);
  #token = 0;
  /** The error number of the first read that failed. */
  error = 0;
  /** Reads that complete later. */
  pending = 0;

  constructor(session: ExportSession, writer: ReplyWriter) {
    this.#session = session;
    this.#writer = writer;
  }

  /** All of a read of at most `wholeReadBytesMax`. `isFragmented`: holes may be left out. */
  whole(
    request: RequestIdentity,
    offset: number,
    length: number,
    isFragmented: boolean,
    token: number,
  ): void {
    this.#begin(token);
    const writer = this.#writer;
    if (length === 0) {
      if (writer.form === 'simple') writer.simpleHeader(request);
      else writer.chunk(request, NBD_REPLY_TYPE_NONE, 0, true);
    } else if (writer.form === 'simple') {
      writer.simpleHeader(request);
      this.#data(offset, length);
    } else if (!isFragmented || length < sparseBytesMin) {
      this.#dataChunk(request, offset, length, true);
    } else {
      const covered = this.#chunks(request, offset, length);
      if (covered < length && this.error === 0) {
        // More extents than were asked for: what is left is sent as data.
        this.#dataChunk(request, offset + covered, length - covered, true);
      }
    }
  }

  /**
   * A part of a long read, in an empty buffer; no more than `shownBytes` are looked at. Returns how much of
   * it: all when `error` is set.
   */
  piece(
    request: RequestIdentity,
    offset: number,
    length: number,
    shownBytes: number,
    isFirst: boolean,
    token: number,
  ): number {
    this.#begin(token);
    if (this.#writer.form !== 'simple') {
      const covered = this.#chunks(request, offset, length, shownBytes);
      return this.error === 0 ? covered : length;
    }
    const fits = Math.min(length, wholeReadBytesMax);
    if (isFirst) this.#writer.simpleHeader(request);
    this.#data(offset, fits);
    return fits;
  }

  /** More of the data of a chunk whose header is out already. */
  rest(offset: number, length: number, token: number): number {
    this.#begin(token);
    const fits = Math.min(length, wholeReadBytesMax);
    this.#data(offset, fits);
    return fits;
  }

  /**
   * How many bytes from `offset` on may be sent from the backing file itself, as data; 0 also where
   * that is not worth it. `isPromised`: a header said that data follows, holes or not.
   */
  fileBytes(offset: number, length: number, isPromised: boolean): number {
    if (!this.#writer.sendsFiles || length < fileBytesMin) return 0;
    const bytes = this.#session.bytesInFile(offset, Math.min(length, fileBytesMax));
    if (bytes < fileBytesMin) return 0;
    return isPromised || this.#writer.form === 'simple' ? bytes : this.#dataBytes(offset, bytes);
  }

  /** How much of the range there is before the first hole. */
  #dataBytes(offset: number, length: number): number {
    const extents = this.#extents;
    if (this.#session.extents(offset, length, extents) !== 0) return 0;
    let data = 0;
    for (let index = 0; index < extents.count && !this.#isWorthAHole(index); index += 1) {
      data += extents.lengths[index] ?? 0;
    }
    return data < fileBytesMin ? 0 : Math.min(data, length);
  }

  #begin(token: number): void {
    this.#token = token;
    this.error = 0;
    this.pending = 0;
  }

  #data(offset: number, length: number): void {
    const writer = this.#writer;
    const { bytes } = writer.buffer;
    const result = this.#session.read(offset, length, bytes, writer.at, this.#token);
    writer.advance(length);
    if (result === readPending) this.pending += 1;
    else if (result !== 0 && this.error === 0) this.error = result;
  }

  /** The header of a chunk of data. */
  dataHeader(request: RequestIdentity, offset: number, length: number, isLast: boolean): void {
    const writer = this.#writer;
    writer.chunk(request, NBD_REPLY_TYPE_OFFSET_DATA, 8 + length, isLast);
    writeUint64(writer.buffer.view, writer.at, offset);
    writer.advance(8);
  }

  #dataChunk(request: RequestIdentity, offset: number, length: number, isLast: boolean): void {
    this.dataHeader(request, offset, length, isLast);
    this.#data(offset, length);
  }

  #holeChunk(request: RequestIdentity, offset: number, length: number, isLast: boolean): void {
    const writer = this.#writer;
    writer.chunk(request, NBD_REPLY_TYPE_OFFSET_HOLE, 12, isLast);
    writeUint64(writer.buffer.view, writer.at, offset);
    writer.buffer.view.setUint32(writer.at + 8, length);
    writer.advance(12);
  }

  /**
   * The range as data and holes, as far as the known extents and room for data go; the chunk that ends
   * it is the last of the answer. Returns the bytes covered.
   */
  #chunks(request: RequestIdentity, offset: number, length: number, shownBytes = length): number {
    const extents = this.#extents;
    const error = this.#session.extents(offset, shownBytes, extents);
    if (error !== 0) {
      this.error = error;
      return 0;
    }
    if (extents.count === 0) {
      const fits = Math.min(length, wholeReadBytesMax);
      this.#dataChunk(request, offset, fits, fits === length);
      return fits;
    }
    let covered = 0;
    let dataBytes = 0;
    let index = 0;
    while (index < extents.count && covered < length) {
      const isHole = this.#isWorthAHole(index);
      let run = 0;
      // Neighbours of the same kind, and holes too small to mention, are one chunk.
      do run += extents.lengths[index++] ?? 0;
      while (index < extents.count && this.#isWorthAHole(index) === isHole);
      run = Math.min(run, length - covered);
      if (isHole) {
        this.#holeChunk(request, offset + covered, run, covered + run === length);
        covered += run;
        continue;
      }
      const fits = Math.min(run, wholeReadBytesMax - dataBytes);
      if (fits === 0) break;
      this.#dataChunk(request, offset + covered, fits, covered + fits === length);
      covered += fits;
      dataBytes += fits;
      if (this.error !== 0 || fits < run) break;
    }
    return covered;
  }

  #isWorthAHole(index: number): boolean {
    const { lengths, states } = this.#extents;
    return ((states[index] ?? 0) & NBD_STATE_ZERO) !== 0 && (lengths[index] ?? 0) >= blockBytes;
  }
}
