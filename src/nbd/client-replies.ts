import { JnbdError } from '../platform/errors.ts';
import { payloadAcceptedBytesMax } from '../platform/limits.ts';
import type { ClientStream } from './client-stream.ts';
import type { ReplyForm } from './negotiation.ts';
import {
  NBD_EXTENDED_REPLY_MAGIC,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
  NBD_REPLY_TYPE_ERROR_OFFSET,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_REPLY_TYPE_OFFSET_HOLE,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
  extendedReplyHeaderBytes,
  readUint64,
  simpleReplyHeaderBytes,
  structuredReplyHeaderBytes,
  viewOf,
} from './wire.ts';

export interface Chunk {
  readonly kind: 'data' | 'hole';
  readonly offset: number;
  readonly length: number;
}

export interface ContextStatus {
  readonly contextId: number;
  readonly descriptors: readonly { readonly length: number; readonly status: number }[];
}

/** Everything that came back for one request. */
export interface ClientReply {
  readonly errno: number;
  /** The server's sentence, where it sent one. */
  readonly text: string;
  readonly isSimple: boolean;
  /** What a READ returned, holes filled in. */
  readonly data: Buffer;
  readonly chunks: readonly Chunk[];
  readonly statuses: readonly ContextStatus[];
}

interface Expected {
  readonly offset: number;
  readonly length: number;
  readonly data: Buffer;
  readonly chunks: Chunk[];
  readonly statuses: ContextStatus[];
  errno: number;
  text: string;
  resolve(reply: ClientReply): void;
  reject(error: Error): void;
}

function protocolError(text: string): JnbdError {
  return new JnbdError('source_unreadable', `the NBD server breaks the protocol: ${text}`);
}

/** Reads the server's side of a transmission and gives every request its answer. */
export class ReplyReader {
  readonly #stream: ClientStream;
  readonly #form: ReplyForm;
  readonly #expected = new Map<number, Expected>();
  #failure: Error | undefined;
  /** Resolves when the server has nothing more to say. */
  readonly ended: Promise<void>;

  constructor(stream: ClientStream, form: ReplyForm) {
    this.#stream = stream;
    this.#form = form;
    this.ended = this.#readAll();
  }

  /** `length` is what a READ asks for, 0 for everything else. */
  expect(cookie: number, offset: number, length: number): Promise<ClientReply> {
    return new Promise((resolve, reject) => {
      if (this.#failure) {
        reject(this.#failure);
        return;
      }
      this.#expected.set(cookie, {
        offset,
        length,
        data: Buffer.alloc(Math.min(length, payloadAcceptedBytesMax)),
        chunks: [],
        statuses: [],
        errno: 0,
        text: '',
        resolve,
        reject,
      });
    });
  }

  async #readAll(): Promise<void> {
    try {
      for (;;) await this.#readReply();
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      this.#failure = failure;
      this.#stream.destroy();
      for (const expected of this.#expected.values()) expected.reject(failure);
      this.#expected.clear();
    }
  }

  async #readReply(): Promise<void> {
    const first = await this.#stream.read(simpleReplyHeaderBytes);
    const magic = first.readUInt32BE(0);
    if (magic === NBD_SIMPLE_REPLY_MAGIC && this.#form !== 'extended') {
      return this.#readSimple(first);
    }
    if (this.#form === 'structured' && magic === NBD_STRUCTURED_REPLY_MAGIC) {
      const rest = structuredReplyHeaderBytes - simpleReplyHeaderBytes;
      const length = (await this.#stream.read(rest)).readUInt32BE(0);
      return this.#readChunk(first, length, undefined);
    }
    if (this.#form === 'extended' && magic === NBD_EXTENDED_REPLY_MAGIC) {
      const rest = await this.#stream.read(extendedReplyHeaderBytes - simpleReplyHeaderBytes);
      const view = viewOf(rest);
      return this.#readChunk(first, readUint64(view, 8), readUint64(view, 0));
    }
    throw protocolError(`reply magic ${magic.toString(16)}`);
  }

  #of(cookie: number): Expected {
    const expected = this.#expected.get(cookie);
    if (!expected) throw protocolError(`a reply to cookie ${cookie}, which is not under way`);
    return expected;
  }

  async #readSimple(header: Buffer): Promise<void> {
    const cookie = readUint64(viewOf(header), 8);
    const expected = this.#of(cookie);
    expected.errno = header.readUInt32BE(4);
    if (expected.length > 0) {
      if (this.#form !== 'simple') throw protocolError('a simple reply to READ');
      if (expected.errno === 0) {
        (await this.#stream.read(expected.length)).copy(expected.data);
        expected.chunks.push({ kind: 'data', offset: expected.offset, length: expected.length });
      }
    }
    this.#complete(cookie, expected, true);
  }

  async #readChunk(header: Buffer, length: number, offset: number | undefined): Promise<void> {
    const flags = header.readUInt16BE(4);
    const type = header.readUInt16BE(6);
    const cookie = readUint64(viewOf(header), 8);
    const expected = this.#of(cookie);
    if (offset !== undefined && expected.length > 0 && offset !== expected.offset) {
      throw protocolError(`an answer about offset ${offset} to a request for ${expected.offset}`);
    }
    if (length > payloadAcceptedBytesMax + 8) throw protocolError(`a chunk of ${length} bytes`);
    const payload = await this.#stream.read(length);
    const view = viewOf(payload);
    switch (type) {
      case NBD_REPLY_TYPE_NONE:
        break;
      case NBD_REPLY_TYPE_OFFSET_DATA:
        this.#content(expected, 'data', readUint64(view, 0), payload.subarray(8));
        break;
      case NBD_REPLY_TYPE_OFFSET_HOLE:
        this.#content(expected, 'hole', readUint64(view, 0), view.getUint32(8));
        break;
      case NBD_REPLY_TYPE_BLOCK_STATUS:
        expected.statuses.push(decodeStatuses(view, 4, 8));
        break;
      case NBD_REPLY_TYPE_BLOCK_STATUS_EXT:
        expected.statuses.push(decodeStatuses(view, 8, 16));
        break;
      default:
        if ((type & 0x8000) === 0) throw protocolError(`chunk type ${type}`);
        expected.errno = view.getUint32(0);
        expected.text = payload.subarray(6, 6 + view.getUint16(4)).toString();
        if (type === NBD_REPLY_TYPE_ERROR_OFFSET) {
          expected.text += ` (at ${readUint64(view, payload.length - 8)})`;
        }
    }
    if ((flags & NBD_REPLY_FLAG_DONE) !== 0) this.#complete(cookie, expected, false);
    else if (type === NBD_REPLY_TYPE_NONE)
      throw protocolError('an empty chunk that is not the last');
  }

  #content(
    expected: Expected,
    kind: Chunk['kind'],
    offset: number,
    contents: Uint8Array | number,
  ): void {
    const length = typeof contents === 'number' ? contents : contents.length;
    const at = offset - expected.offset;
    const isOverlapping = expected.chunks.some(
      (chunk) => offset < chunk.offset + chunk.length && chunk.offset < offset + length,
    );
    if (length === 0 || at < 0 || at + length > expected.length || isOverlapping) {
      throw protocolError(`a chunk for ${length} bytes at ${offset} that was not asked for`);
    }
    if (typeof contents !== 'number') expected.data.set(contents, at);
    expected.chunks.push({ kind, offset, length });
  }

  #complete(cookie: number, expected: Expected, isSimple: boolean): void {
    const { errno, text, data, chunks, statuses } = expected;
    const covered = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    if (errno === 0 && covered !== expected.length) {
      throw protocolError(`${covered} bytes came of ${expected.length}`);
    }
    this.#expected.delete(cookie);
    expected.resolve({ errno, text, isSimple, data, chunks, statuses });
  }
}

function decodeStatuses(view: DataView, headBytes: number, descriptorBytes: 8 | 16): ContextStatus {
  const descriptors: { length: number; status: number }[] = [];
  for (let at = headBytes; at < view.byteLength; at += descriptorBytes) {
    descriptors.push(
      descriptorBytes === 16
        ? { length: readUint64(view, at), status: readUint64(view, at + 8) }
        : { length: view.getUint32(at), status: view.getUint32(at + 4) },
    );
  }
  return { contextId: view.getUint32(0), descriptors };
}
