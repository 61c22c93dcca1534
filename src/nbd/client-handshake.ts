import { JnbdError } from '../platform/errors.ts';
import { payloadAdvertisedBytesMax } from '../platform/limits.ts';
import type { ListenAddress } from '../platform/network.ts';
import { ClientStream } from './client-stream.ts';
import type { ClientTls } from './client-tls.ts';
import type { BlockSizes } from './option-codec.ts';
import { encodeInfoRequest, encodeMetaContextRequest, encodeOption } from './option-codec.ts';
import type { ReplyForm } from './negotiation.ts';
import {
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_IHAVEOPT,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_EXPORT,
  NBD_INFO_NAME,
  NBD_MAGIC,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_LIST_META_CONTEXT,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STARTTLS,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ACK,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_FLAG_ERROR,
  NBD_REP_MAGIC,
  clientFlagsBytes,
  exportNamePaddingBytes,
  exportNameReplyBytes,
  greetingBytes,
  optionReplyHeaderBytes,
  readUint64,
  viewOf,
} from './wire.ts';

/** Longest reply to an option that is accepted. */
const optionReplyBytesMax = 1024 * 1024;

export interface OptionReply {
  readonly type: number;
  readonly data: Buffer;
}

export interface ExportInfo {
  readonly sizeBytes: number;
  readonly flags: number;
  readonly name: string | undefined;
  readonly description: string | undefined;
  readonly blockSizes: BlockSizes | undefined;
}

export interface ListedExport {
  readonly name: string;
  readonly description: string;
}

function protocolError(text: string): JnbdError {
  return new JnbdError('source_unreadable', `the NBD server breaks the protocol: ${text}`);
}

export function isErrorReply(reply: OptionReply): boolean {
  return reply.type >= NBD_REP_FLAG_ERROR;
}

/** The client's side of the handshake, one option at a time. */
export class ClientHandshake {
  readonly stream: ClientStream;
  replyForm: ReplyForm = 'simple';
  /** By the server's number. */
  metaContexts = new Map<number, string>();
  isSecure = false;
  readonly #isPadded: boolean;

  private constructor(stream: ClientStream, isPadded: boolean) {
    this.stream = stream;
    this.#isPadded = isPadded;
  }

  /** Connects and exchanges flags. */
  static async connect(address: ListenAddress): Promise<ClientHandshake> {
    const stream = await ClientStream.connect(address);
    try {
      const greeting = await stream.read(greetingBytes);
      if (
        greeting.readBigUInt64BE(0) !== NBD_MAGIC ||
        greeting.readBigUInt64BE(8) !== NBD_IHAVEOPT
      ) {
        throw protocolError('it does not greet as a newstyle server does');
      }
      const offered = greeting.readUInt16BE(16);
      if ((offered & NBD_FLAG_FIXED_NEWSTYLE) === 0) {
        throw protocolError('it does not speak fixed newstyle');
      }
      const isPadded = (offered & NBD_FLAG_NO_ZEROES) === 0;
      const flags = Buffer.alloc(clientFlagsBytes);
      flags.writeUInt32BE(NBD_FLAG_C_FIXED_NEWSTYLE | (isPadded ? 0 : NBD_FLAG_C_NO_ZEROES));
      await stream.write(flags);
      return new ClientHandshake(stream, isPadded);
    } catch (error) {
      stream.destroy();
      throw error;
    }
  }

  /** Sends an option and collects its replies; the last is an ACK or an error. */
  async option(option: number, data?: Uint8Array): Promise<OptionReply[]> {
    await this.stream.write(encodeOption(option, data));
    return this.replies(option);
  }

  async replies(option: number): Promise<OptionReply[]> {
    const replies: OptionReply[] = [];
    for (;;) {
      const header = await this.stream.read(optionReplyHeaderBytes);
      if (header.readBigUInt64BE(0) !== NBD_REP_MAGIC) throw protocolError('wrong reply magic');
      if (header.readUInt32BE(8) !== option) throw protocolError('a reply to another option');
      const type = header.readUInt32BE(12);
      const length = header.readUInt32BE(16);
      if (length > optionReplyBytesMax) throw protocolError(`a reply of ${length} bytes`);
      const reply = { type, data: await this.stream.read(length) };
      replies.push(reply);
      if (type === NBD_REP_ACK || isErrorReply(reply)) return replies;
    }
  }

  /** The replies before the ACK; an error reply is thrown as JnbdError. */
  async #acknowledged(option: number, what: string, data?: Uint8Array): Promise<OptionReply[]> {
    const replies = await this.option(option, data);
    const last = replies.pop();
    if (last && isErrorReply(last)) {
      const text = last.data.toString() || `error ${last.type - NBD_REP_FLAG_ERROR}`;
      const code = last.type === NBD_REP_ERR_UNKNOWN ? 'export_not_found' : 'source_unreadable';
      throw new JnbdError(code, `the NBD server refuses ${what}: ${text}`);
    }
    return replies;
  }

  /** Everything negotiated before is forgotten. */
  async startTls(credentials: ClientTls): Promise<void> {
    await this.#acknowledged(NBD_OPT_STARTTLS, 'TLS');
    await this.stream.secure(credentials);
    this.isSecure = true;
    this.replyForm = 'simple';
    this.metaContexts.clear();
  }

  /** The best form that both sides know, up to `wanted`. */
  async negotiateReplyForm(wanted: ReplyForm): Promise<ReplyForm> {
    if (wanted === 'extended' && (await this.#isGranted(NBD_OPT_EXTENDED_HEADERS))) {
      this.replyForm = 'extended';
    } else if (wanted !== 'simple' && (await this.#isGranted(NBD_OPT_STRUCTURED_REPLY))) {
      this.replyForm = 'structured';
    }
    return this.replyForm;
  }

  async #isGranted(option: number): Promise<boolean> {
    const replies = await this.option(option);
    return replies.at(-1)?.type === NBD_REP_ACK;
  }

  async list(): Promise<ListedExport[]> {
    const replies = await this.#acknowledged(NBD_OPT_LIST, 'a list of exports');
    return replies.map(({ data }) => {
      const end = 4 + data.readUInt32BE(0);
      return {
        name: data.subarray(4, end).toString(),
        description: data.subarray(end).toString(),
      };
    });
  }

  async listMetaContexts(exportName: string, queries: readonly string[] = []): Promise<string[]> {
    const data = encodeMetaContextRequest({ exportName, queries });
    const replies = await this.#acknowledged(NBD_OPT_LIST_META_CONTEXT, 'metadata contexts', data);
    return replies.map((reply) => reply.data.subarray(4).toString());
  }

  /** Returns the names that were selected. */
  async setMetaContexts(exportName: string, queries: readonly string[]): Promise<string[]> {
    this.metaContexts.clear();
    const data = encodeMetaContextRequest({ exportName, queries });
    const replies = await this.#acknowledged(NBD_OPT_SET_META_CONTEXT, 'metadata contexts', data);
    for (const reply of replies) {
      this.metaContexts.set(reply.data.readUInt32BE(0), reply.data.subarray(4).toString());
    }
    return [...this.metaContexts.values()];
  }

  async info(name: string): Promise<ExportInfo> {
    return this.#infoOrGo(NBD_OPT_INFO, name);
  }

  /** After this the connection is in transmission. */
  async go(name: string): Promise<ExportInfo> {
    return this.#infoOrGo(NBD_OPT_GO, name);
  }

  async #infoOrGo(option: number, name: string): Promise<ExportInfo> {
    const information = [NBD_INFO_NAME, NBD_INFO_DESCRIPTION, NBD_INFO_BLOCK_SIZE];
    const data = encodeInfoRequest({ name, information });
    return decodeInfoReplies(await this.#acknowledged(option, `the export ${name}`, data));
  }

  /** The way of old clients; the server closes the connection when it does not like the name. */
  async exportName(name: string): Promise<ExportInfo> {
    await this.stream.write(encodeOption(NBD_OPT_EXPORT_NAME, Buffer.from(name)));
    const reply = await this.stream.read(
      exportNameReplyBytes + (this.#isPadded ? exportNamePaddingBytes : 0),
    );
    return {
      sizeBytes: readUint64(viewOf(reply), 0),
      flags: reply.readUInt16BE(8),
      name: undefined,
      description: undefined,
      blockSizes: undefined,
    };
  }

  async abort(): Promise<void> {
    await this.option(NBD_OPT_ABORT);
    this.stream.destroy();
  }
}

function decodeInfoReplies(replies: readonly OptionReply[]): ExportInfo {
  let exported: { sizeBytes: number; flags: number } | undefined;
  let name: string | undefined;
  let description: string | undefined;
  let blockSizes: BlockSizes | undefined;
  for (const { data } of replies) {
    if (data.length < 2) throw protocolError('an INFO reply without a type');
    const type = data.readUInt16BE(0);
    if (type === NBD_INFO_EXPORT && data.length === 12) {
      exported = { sizeBytes: readUint64(viewOf(data), 2), flags: data.readUInt16BE(10) };
    } else if (type === NBD_INFO_NAME) name = data.subarray(2).toString();
    else if (type === NBD_INFO_DESCRIPTION) description = data.subarray(2).toString();
    else if (type === NBD_INFO_BLOCK_SIZE && data.length === 14) {
      blockSizes = {
        minimum: data.readUInt32BE(2),
        preferred: data.readUInt32BE(6),
        maximumPayload: data.readUInt32BE(10),
      };
    }
  }
  if (!exported) throw protocolError('no INFO_EXPORT reply');
  return { ...exported, name, description, blockSizes };
}

/** The largest READ or WRITE that the server takes in one request. */
export function payloadBytesMax(info: ExportInfo): number {
  return Math.min(
    info.blockSizes?.maximumPayload ?? payloadAdvertisedBytesMax,
    payloadAdvertisedBytesMax,
  );
}
