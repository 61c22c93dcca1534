import { must } from '../../src/platform/assert.ts';
import type { ListenAddress } from '../../src/platform/network.ts';
import { baseAllocation } from '../../src/nbd/meta-context.ts';
import type { ReplyForm } from '../../src/nbd/negotiation.ts';
import {
  encodeInfoRequest,
  encodeMetaContextRequest,
  encodeOption,
} from '../../src/nbd/option-codec.ts';
import {
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_READ,
  NBD_EXTENDED_REPLY_MAGIC,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_INFO_EXPORT,
  NBD_OPT_EXTENDED_HEADERS,
  NBD_OPT_GO,
  NBD_OPT_SET_META_CONTEXT,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_REPLY_TYPE_OFFSET_HOLE,
  NBD_REP_ACK,
  NBD_REP_ERR_SHUTDOWN,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_FLAG_ERROR,
  NBD_REP_INFO,
  NBD_REQUEST_MAGIC,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
  clientFlagsBytes,
  extendedReplyHeaderBytes,
  extendedRequestHeaderBytes,
  greetingBytes,
  optionReplyHeaderBytes,
  readUint64,
  requestHeaderBytes,
  simpleReplyHeaderBytes,
  structuredReplyHeaderBytes,
  viewOf,
  writeUint64,
} from '../../src/nbd/wire.ts';
import type { ClientEnd, SimulatedNetwork } from './simulated-network.ts';

/** A request of a host, from when it is sent until its answer. */
export interface HostRequest {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  readonly payload: Uint8Array | undefined;
  /** What a READ brought, complete once it was answered. */
  data: Buffer | undefined;
  /** Extents of a BLOCK_STATUS: length and state. */
  extents: { readonly length: number; readonly state: number }[];
  errno: number;
  errorText: string;
}

export interface HostRefusal {
  /** What the daemon must have meant by the type of its reply. */
  readonly code: 'volume_not_found' | 'shutting_down' | 'volume_abnormal';
  readonly text: string;
}

export interface HostOwner {
  /** The export can be used. */
  ready(sizeBytes: number): void;
  /** The server said no. */
  refused(refusal: HostRefusal): void;
  answered(request: HostRequest): void;
  /** The connection is gone, and with it the answers of `unanswered`. */
  disconnected(unanswered: readonly HostRequest[]): void;
}

const requestExtendedBytesMax = 64 * 1024 * 1024;

const refusalCodes: Readonly<Record<number, HostRefusal['code']>> = {
  [NBD_REP_ERR_UNKNOWN]: 'volume_not_found',
  [NBD_REP_ERR_SHUTDOWN]: 'shutting_down',
};

class HostProtocolError extends Error {}

/** A host with one connection to one export, without promises: all it does happens in its world's time. */
export class SimulatedHost {
  readonly exportName: string;
  readonly #form: ReplyForm;
  readonly #owner: HostOwner;
  readonly #end: ClientEnd;
  readonly #underWay = new Map<number, HostRequest>();
  #options: number[] = [];
  #awaited = 0;
  #state: 'greeting' | 'options' | 'ready' | 'closed' = 'greeting';
  #sizeBytes = 0;
  #cookie = 0;
  #received: Buffer[] = [];
  #receivedBytes = 0;

  private constructor(
    exportName: string,
    form: ReplyForm,
    owner: HostOwner,
    network: SimulatedNetwork,
    address: ListenAddress,
  ) {
    this.exportName = exportName;
    this.#form = form;
    this.#owner = owner;
    const end = network.connect(address, {
      received: (bytes) => this.#receive(bytes),
      closed: () => this.#closed(),
    });
    this.#end = must(end, `a daemon listens on ${JSON.stringify(address)}`);
  }

  static connect(
    network: SimulatedNetwork,
    address: ListenAddress,
    exportName: string,
    form: ReplyForm,
    owner: HostOwner,
  ): SimulatedHost {
    return new SimulatedHost(exportName, form, owner, network, address);
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get underWay(): number {
    return this.#underWay.size;
  }

  issue(type: number, flags: number, offset: number, length: number, payload?: Uint8Array) {
    const request: HostRequest = {
      type,
      flags,
      offset,
      length,
      payload,
      data: type === NBD_CMD_READ ? Buffer.alloc(length) : undefined,
      extents: [],
      errno: 0,
      errorText: '',
    };
    this.#cookie += 1;
    this.#underWay.set(this.#cookie, request);
    const isExtended = this.#form === 'extended';
    const head = Buffer.alloc(isExtended ? extendedRequestHeaderBytes : requestHeaderBytes);
    const view = viewOf(head);
    view.setUint32(0, isExtended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC);
    view.setUint16(4, isExtended && payload ? flags | NBD_CMD_FLAG_PAYLOAD_LEN : flags);
    view.setUint16(6, type);
    writeUint64(view, 8, this.#cookie);
    writeUint64(view, 16, offset);
    if (isExtended) writeUint64(view, 24, length);
    else view.setUint32(24, length);
    this.#end.send(head);
    if (payload) this.#end.send(payload);
    return request;
  }

  /** Leaves without a word: answers under way are lost. */
  destroy(): void {
    if (this.#state === 'closed') return;
    this.#end.destroy();
    this.#closed();
  }

  #closed(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    const unanswered = [...this.#underWay.values()];
    this.#underWay.clear();
    this.#owner.disconnected(unanswered);
  }

  #receive(bytes: Buffer): void {
    if (this.#state === 'closed') return;
    this.#received.push(bytes);
    this.#receivedBytes += bytes.length;
    while (this.#state !== ('closed' as string)) if (!this.#step()) return;
  }

  /** The next `count` bytes, not taken yet; `undefined` while they are not there. */
  #peek(count: number): Buffer | undefined {
    if (this.#receivedBytes < count) return undefined;
    let first = must(this.#received[0], 'there are bytes');
    if (first.length < count) {
      first = Buffer.concat(this.#received);
      this.#received = [first];
    }
    return first.subarray(0, count);
  }

  #take(count: number): Buffer {
    const bytes = must(this.#peek(count), 'it was looked at before');
    const first = must(this.#received[0], 'there are bytes');
    if (first.length === count) this.#received.shift();
    else this.#received[0] = first.subarray(count);
    this.#receivedBytes -= count;
    return bytes;
  }

  #step(): boolean {
    switch (this.#state) {
      case 'greeting':
        return this.#greeted();
      case 'options':
        return this.#optionReply();
      case 'ready':
        return this.#reply();
      case 'closed':
        return false;
    }
  }

  #greeted(): boolean {
    if (!this.#peek(greetingBytes)) return false;
    this.#take(greetingBytes);
    const flags = Buffer.alloc(clientFlagsBytes);
    flags.writeUInt32BE(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES);
    this.#end.send(flags);
    this.#state = 'options';
    if (this.#form === 'extended') this.#options.push(NBD_OPT_EXTENDED_HEADERS);
    if (this.#form === 'structured') this.#options.push(NBD_OPT_STRUCTURED_REPLY);
    if (this.#form !== 'simple') this.#options.push(NBD_OPT_SET_META_CONTEXT);
    this.#options.push(NBD_OPT_GO);
    this.#sendOption();
    return true;
  }

  #sendOption(): void {
    this.#awaited = must(this.#options.shift(), 'GO comes last');
    const exportName = this.exportName;
    const data =
      this.#awaited === NBD_OPT_SET_META_CONTEXT
        ? encodeMetaContextRequest({ exportName, queries: [baseAllocation] })
        : this.#awaited === NBD_OPT_GO
          ? encodeInfoRequest({ name: exportName, information: [] })
          : undefined;
    this.#end.send(encodeOption(this.#awaited, data));
  }

  #optionReply(): boolean {
    const header = this.#peek(optionReplyHeaderBytes);
    if (!header) return false;
    const length = header.readUInt32BE(16);
    const type = header.readUInt32BE(12);
    if (!this.#peek(optionReplyHeaderBytes + length)) return false;
    const data = this.#take(optionReplyHeaderBytes + length).subarray(optionReplyHeaderBytes);
    if (type >= NBD_REP_FLAG_ERROR) {
      const code = refusalCodes[type] ?? 'volume_abnormal';
      this.#owner.refused({ code, text: data.toString() });
      this.destroy();
      return false;
    }
    if (type === NBD_REP_INFO && data.readUInt16BE(0) === NBD_INFO_EXPORT) {
      this.#sizeBytes = readUint64(viewOf(data), 2);
    }
    if (type !== NBD_REP_ACK) return true;
    if (this.#awaited === NBD_OPT_GO) {
      this.#state = 'ready';
      this.#owner.ready(this.#sizeBytes);
    } else {
      this.#sendOption();
    }
    return true;
  }

  #find(cookie: number): HostRequest {
    const request = this.#underWay.get(cookie);
    if (!request)
      throw new HostProtocolError(`a reply to cookie ${cookie}, which is not under way`);
    return request;
  }

  #answered(cookie: number, request: HostRequest): void {
    this.#underWay.delete(cookie);
    this.#owner.answered(request);
  }

  #reply(): boolean {
    const head = this.#peek(simpleReplyHeaderBytes);
    if (!head) return false;
    const magic = head.readUInt32BE(0);
    if (magic === NBD_SIMPLE_REPLY_MAGIC && this.#form !== 'extended') return this.#simple(head);
    if (magic === NBD_STRUCTURED_REPLY_MAGIC && this.#form === 'structured') {
      const whole = this.#peek(structuredReplyHeaderBytes);
      if (!whole) return false;
      return this.#chunk(structuredReplyHeaderBytes, whole.readUInt32BE(16));
    }
    if (magic === NBD_EXTENDED_REPLY_MAGIC && this.#form === 'extended') {
      const whole = this.#peek(extendedReplyHeaderBytes);
      if (!whole) return false;
      return this.#chunk(extendedReplyHeaderBytes, readUint64(viewOf(whole), 24));
    }
    throw new HostProtocolError(`reply magic ${magic.toString(16)} in ${this.#form} form`);
  }

  #simple(head: Buffer): boolean {
    const cookie = readUint64(viewOf(head), 8);
    const request = this.#find(cookie);
    request.errno = head.readUInt32BE(4);
    const dataBytes = request.data && request.errno === 0 ? request.length : 0;
    if (!this.#peek(simpleReplyHeaderBytes + dataBytes)) return false;
    const all = this.#take(simpleReplyHeaderBytes + dataBytes);
    if (dataBytes > 0) request.data = all.subarray(simpleReplyHeaderBytes);
    this.#answered(cookie, request);
    return true;
  }

  #chunk(headerBytes: number, length: number): boolean {
    if (length > requestExtendedBytesMax) throw new HostProtocolError(`a chunk of ${length} bytes`);
    if (!this.#peek(headerBytes + length)) return false;
    const all = this.#take(headerBytes + length);
    const cookie = readUint64(viewOf(all), 8);
    const request = this.#find(cookie);
    const payload = all.subarray(headerBytes);
    const view = viewOf(payload);
    const type = all.readUInt16BE(6);
    switch (type) {
      case NBD_REPLY_TYPE_NONE:
        break;
      case NBD_REPLY_TYPE_OFFSET_DATA:
        request.data?.set(payload.subarray(8), readUint64(view, 0) - request.offset);
        break;
      case NBD_REPLY_TYPE_OFFSET_HOLE: {
        const at = readUint64(view, 0) - request.offset;
        request.data?.fill(0, at, at + view.getUint32(8));
        break;
      }
      case NBD_REPLY_TYPE_BLOCK_STATUS:
        for (let at = 4; at < payload.length; at += 8) {
          request.extents.push({ length: view.getUint32(at), state: view.getUint32(at + 4) });
        }
        break;
      case NBD_REPLY_TYPE_BLOCK_STATUS_EXT:
        for (let at = 8; at < payload.length; at += 16) {
          request.extents.push({ length: readUint64(view, at), state: readUint64(view, at + 8) });
        }
        break;
      default:
        request.errno = view.getUint32(0);
        request.errorText = payload.subarray(6, 6 + view.getUint16(4)).toString();
    }
    if ((all.readUInt16BE(4) & NBD_REPLY_FLAG_DONE) !== 0) this.#answered(cookie, request);
    return true;
  }
}
