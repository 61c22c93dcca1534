import { JnbdError } from '../platform/errors.ts';
import type { ListenAddress } from '../platform/network.ts';
import { ClientHandshake, type ExportInfo, payloadBytesMax } from './client-handshake.ts';
import { type Chunk, type ClientReply, ReplyReader } from './client-replies.ts';
import type { ClientStream } from './client-stream.ts';
import type { ClientTls } from './client-tls.ts';
import { baseAllocation } from './meta-context.ts';
import type { ReplyForm } from './negotiation.ts';
import { loadClientTls } from './tls.ts';
import { parseNbdUri } from './uri.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_REQUEST_MAGIC,
  NBD_STATE_HOLE,
  NBD_STATE_ZERO,
  extendedRequestHeaderBytes,
  requestHeaderBytes,
  viewOf,
  writeUint64,
} from './wire.ts';

export interface NbdClientOptions {
  readonly exportName?: string;
  /** The most that is asked for; the server may know less. `extended` unless said otherwise. */
  readonly replyForm?: ReplyForm;
  readonly tls?: ClientTls;
  /** `base:allocation` unless said otherwise. */
  readonly metaContexts?: readonly string[];
}

/** A request as it goes out; what is not given is 0. */
export interface RawRequest {
  readonly type: number;
  readonly flags?: number;
  readonly offset?: number;
  readonly length?: number;
  readonly payload?: Uint8Array;
}

export interface ClientExtent {
  readonly offset: number;
  readonly length: number;
  readonly isHole: boolean;
  readonly isZero: boolean;
}

/** The server answered with an error number of the protocol. */
export class NbdError extends JnbdError {
  readonly errno: number;

  constructor(errno: number, message: string) {
    super('source_unreadable', message);
    this.name = 'NbdError';
    this.errno = errno;
  }
}

/** A connection to one export, in transmission. Requests may be under way together. */
export class NbdClient {
  readonly info: ExportInfo;
  readonly replyForm: ReplyForm;
  readonly isSecure: boolean;
  readonly payloadBytesMax: number;
  readonly metaContexts: ReadonlyMap<number, string>;
  readonly stream: ClientStream;
  readonly #replies: ReplyReader;
  #cookie = 0;

  constructor(handshake: ClientHandshake, info: ExportInfo) {
    this.info = info;
    this.stream = handshake.stream;
    this.replyForm = handshake.replyForm;
    this.isSecure = handshake.isSecure;
    this.metaContexts = handshake.metaContexts;
    this.payloadBytesMax = payloadBytesMax(info);
    this.#replies = new ReplyReader(handshake.stream, handshake.replyForm);
  }

  /** Throws JnbdError (daemon_unreachable, export_not_found, certificate_invalid, source_unreadable). */
  static async connect(address: ListenAddress, options: NbdClientOptions = {}): Promise<NbdClient> {
    const handshake = await ClientHandshake.connect(address);
    try {
      if (options.tls) await handshake.startTls(options.tls);
      const form = await handshake.negotiateReplyForm(options.replyForm ?? 'extended');
      const exportName = options.exportName ?? '';
      if (form !== 'simple') {
        await handshake.setMetaContexts(exportName, options.metaContexts ?? [baseAllocation]);
      }
      return new NbdClient(handshake, await handshake.go(exportName));
    } catch (error) {
      handshake.stream.destroy();
      throw error;
    }
  }

  static async connectUri(text: string, options: NbdClientOptions = {}): Promise<NbdClient> {
    const uri = parseNbdUri(text);
    const { tls } = uri;
    const secured: NbdClientOptions = uri.isSecure
      ? {
          tls: {
            ...loadClientTls(tls.certificatesDirectory, tls.preSharedKeyFile, uri.userName),
            verifyPeer: tls.verifyPeer && tls.type !== 'anon',
            hostName: tls.hostName,
          },
        }
      : {};
    return NbdClient.connect(uri.address, { exportName: uri.exportName, ...secured, ...options });
  }

  get sizeBytes(): number {
    return this.info.sizeBytes;
  }

  /** Sends a request as it is and returns whatever comes back, errors included. */
  async request(request: RawRequest): Promise<ClientReply> {
    const { reply, head, body } = this.prepare(request);
    // Where it cannot be sent the answer fails too, and nobody comes to wait for that.
    reply.catch(() => undefined);
    await this.stream.write(head, body);
    return reply;
  }

  /** For who sends the bytes himself: what to send, and the answer that follows. */
  prepare(request: RawRequest): {
    readonly reply: Promise<ClientReply>;
    readonly head: Uint8Array;
    readonly body: Uint8Array;
  } {
    const cookie = ++this.#cookie;
    const length = request.payload?.length ?? request.length ?? 0;
    const isRead = request.type === NBD_CMD_READ;
    const [head, body] = this.encode(request, cookie);
    const reply = this.#replies.expect(cookie, request.offset ?? 0, isRead ? length : 0);
    return { reply, head, body };
  }

  /** Header and payload as they go out. */
  encode(request: RawRequest, cookie: number): [Uint8Array, Uint8Array] {
    const { type, flags = 0, offset = 0, payload = new Uint8Array() } = request;
    const isExtended = this.replyForm === 'extended';
    const length = request.length ?? payload.length;
    const head = Buffer.alloc(isExtended ? extendedRequestHeaderBytes : requestHeaderBytes);
    const view = viewOf(head);
    view.setUint32(0, isExtended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC);
    const hasPayload = isExtended && payload.length > 0;
    view.setUint16(4, hasPayload ? flags | NBD_CMD_FLAG_PAYLOAD_LEN : flags);
    view.setUint16(6, type);
    writeUint64(view, 8, cookie);
    writeUint64(view, 16, offset);
    if (isExtended) writeUint64(view, 24, length);
    else view.setUint32(24, length);
    return [head, payload];
  }

  async #successful(what: string, request: RawRequest): Promise<ClientReply> {
    const reply = await this.request(request);
    if (reply.errno !== 0) {
      const text = reply.text === '' ? `error ${reply.errno}` : reply.text;
      throw new NbdError(reply.errno, `${what} at ${request.offset ?? 0}: ${text}`);
    }
    return reply;
  }

  /** Throws NbdError, as all that follow. */
  async read(
    offset: number,
    length: number,
    options: { readonly df?: boolean } = {},
  ): Promise<Buffer> {
    const flags = options.df ? NBD_CMD_FLAG_DF : 0;
    return (await this.#successful('READ', { type: NBD_CMD_READ, offset, length, flags })).data;
  }

  /** The content chunks as they came. */
  async readChunks(offset: number, length: number): Promise<readonly Chunk[]> {
    return (await this.#successful('READ', { type: NBD_CMD_READ, offset, length })).chunks;
  }

  async write(
    offset: number,
    payload: Uint8Array,
    options: { readonly fua?: boolean } = {},
  ): Promise<void> {
    const flags = options.fua ? NBD_CMD_FLAG_FUA : 0;
    await this.#successful('WRITE', { type: NBD_CMD_WRITE, offset, payload, flags });
  }

  async flush(): Promise<void> {
    await this.#successful('FLUSH', { type: NBD_CMD_FLUSH });
  }

  async trim(
    offset: number,
    length: number,
    options: { readonly fua?: boolean } = {},
  ): Promise<void> {
    const flags = options.fua ? NBD_CMD_FLAG_FUA : 0;
    await this.#successful('TRIM', { type: NBD_CMD_TRIM, offset, length, flags });
  }

  async writeZeroes(
    offset: number,
    length: number,
    options: { readonly fua?: boolean; readonly noHole?: boolean; readonly fast?: boolean } = {},
  ): Promise<void> {
    const flags =
      (options.fua ? NBD_CMD_FLAG_FUA : 0) |
      (options.noHole ? NBD_CMD_FLAG_NO_HOLE : 0) |
      (options.fast ? NBD_CMD_FLAG_FAST_ZERO : 0);
    await this.#successful('WRITE_ZEROES', { type: NBD_CMD_WRITE_ZEROES, offset, length, flags });
  }

  async cache(offset: number, length: number): Promise<void> {
    await this.#successful('CACHE', { type: NBD_CMD_CACHE, offset, length });
  }

  /** Extents of `base:allocation` from `offset` on: at least one, not always all. */
  async blockStatus(
    offset: number,
    length: number,
    options: { readonly one?: boolean } = {},
  ): Promise<ClientExtent[]> {
    const flags = options.one ? NBD_CMD_FLAG_REQ_ONE : 0;
    const request = { type: NBD_CMD_BLOCK_STATUS, offset, length, flags };
    const { statuses } = await this.#successful('BLOCK_STATUS', request);
    let at = offset;
    return (statuses[0]?.descriptors ?? []).map((descriptor) => {
      const extent = {
        offset: at,
        length: descriptor.length,
        isHole: (descriptor.status & NBD_STATE_HOLE) !== 0,
        isZero: (descriptor.status & NBD_STATE_ZERO) !== 0,
      };
      at += descriptor.length;
      return extent;
    });
  }

  /** Says goodbye; what is under way should be awaited before. */
  async close(): Promise<void> {
    if (this.stream.isOpen) {
      const [head] = this.encode({ type: NBD_CMD_DISC }, 0);
      await this.stream.write(head).catch(() => undefined);
    }
    this.stream.end();
    await this.#replies.ended;
    this.stream.destroy();
  }

  /** Cuts the connection. */
  destroy(): void {
    this.stream.destroy();
  }
}
