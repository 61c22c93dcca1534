import net from 'node:net';
import { must } from './assert.ts';
import { pollBusily } from './busy-poll.ts';
import {
  type Connection,
  type ConnectionOwner,
  formatAddress,
  type TlsCredentials,
} from './network.ts';
import { TlsUpgrade } from './node-tls.ts';
import { cannotSend, peerState, sendFile, sendMore } from './system-calls.ts';

/** After `end` the other side has this long to close too, then it is cut off. */
const lingerMilliseconds = 2_000;
/**
 * Each renewal of a receive buffer leaves a few dozen bytes behind until the connection closes; past
 * this many the connection keeps the buffer it has.
 */
const renewalsMax = 1_000;

/** A socket that is not read says nothing of its other side: so it is asked, this often. */
const watchMilliseconds = 1_000;
/** Who sends nothing more may still wait for answers: for so long. */
const endedMillisecondsMax = 60_000;

/** What Node received is handed over at once when it is so much. */
const gatheredBytesMax = 256 * 1024;

const discarded = Buffer.allocUnsafeSlow(16 * 1024);

/** The parts of Node's stream handle that are used here; none of it is documented. */
interface StreamHandle {
  readonly writeQueueSize?: number;
  readonly fd?: number;
  useUserBuffer?(buffer: Uint8Array): void;
}

export class NodeConnection implements Connection {
  readonly peer: string;
  #socket: net.Socket;
  /** The plain socket's handle, also under TLS. */
  readonly #handle: StreamHandle | undefined;
  #owner: ConnectionOwner | undefined;
  #receivesInPlace = false;
  #renewals = 0;
  #isPaused = false;
  #watch: NodeJS.Timeout | undefined;
  #endedMilliseconds = 0;
  #sendsFiles: boolean;
  #isPending = false;
  #isEnding = false;
  #isClosed = false;
  /** What came as events and was not handed over. */
  #chunks: Uint8Array[] = [];
  #chunkBytes = 0;
  #isHandingOver = false;
  /** The other side has ended, behind what is not handed over. */
  #isEndPending = false;
  readonly #written = (error?: Error | null): void => {
    if (error || !this.#isPending || this.#socket.writableLength > 0 || this.#isClosed) return;
    this.#isPending = false;
    this.#owner?.drained();
  };

  constructor(accepted: net.Socket, path: string | undefined) {
    this.#socket = accepted;
    this.#handle = handleOf(accepted);
    // Without the size of its queue there is no telling whether the handle still holds something.
    this.#sendsFiles = this.#handle?.writeQueueSize === 0;
    const { remoteAddress: host = 'unknown', remotePort: port = 0 } = accepted;
    this.peer = path ?? formatAddress({ kind: 'tcp', host, port });
    accepted.on('error', () => undefined);
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  get untakenBytes(): number {
    return this.#handle?.writeQueueSize ?? this.#socket.writableLength;
  }

  start(owner: ConnectionOwner): void {
    this.#owner = owner;
    const inPlace = this.#receivingInPlace(this.#socket);
    this.#receivesInPlace = inPlace !== undefined;
    if (inPlace) this.#socket = inPlace;
    this.#listen();
    this.#socket.resume();
  }

  /**
   * A socket that receives straight into the owner's buffers. An accepted socket can be given that
   * only by wrapping its handle anew; `undefined` where this Node does not allow it.
   */
  #receivingInPlace(accepted: net.Socket): net.Socket | undefined {
    const handle = this.#handle;
    if (!handle || typeof handle.useUserBuffer !== 'function') return undefined;
    // The old wrapper must not close the handle when it is collected or destroyed.
    Reflect.set(accepted, '_handle', null);
    const options: net.SocketConstructorOpts & { handle: unknown; onread: net.OnReadOpts } = {
      handle,
      allowHalfOpen: true,
      onread: {
        buffer: () => this.#receiveBuffer(),
        callback: (count) => {
          pollBusily();
          if (!this.#isEnding && !this.#isClosed) must(this.#owner, 'started').received(count);
          return true;
        },
      },
    };
    return new net.Socket(options);
  }

  #receiveBuffer(): Uint8Array {
    if (this.#isEnding || this.#isClosed) return discarded;
    return must(this.#owner, 'a started connection has an owner').receiveBuffer();
  }

  #listen(): void {
    const socket = this.#socket;
    const isCurrent = (): boolean => socket === this.#socket && !this.#isClosed;
    socket.on('error', () => undefined);
    socket.on('end', () => {
      if (!isCurrent()) return;
      if (this.#isEnding) {
        socket.destroy();
        return;
      }
      this.#isEndPending = true;
      this.#handOver();
    });
    socket.on('close', () => {
      if (!isCurrent()) return;
      this.#isClosed = true;
      clearInterval(this.#watch);
      this.#owner?.closed();
    });
    if (!this.#receivesInPlace) socket.on('data', (chunk) => this.#receivedChunk(chunk));
  }

  /**
   * Under TLS Node tells of each record by itself, a request's header and its payload apart. What comes
   * in one turn of the event loop is handed over together, so that it is journaled and answered together.
   */
  #receivedChunk(chunk: Uint8Array): void {
    pollBusily();
    if (this.#isEnding) return;
    this.#chunks.push(chunk);
    this.#chunkBytes += chunk.length;
    if (this.#chunkBytes >= gatheredBytesMax) {
      this.#handOver();
    } else if (!this.#isHandingOver) {
      this.#isHandingOver = true;
      setImmediate(() => {
        this.#isHandingOver = false;
        this.#handOver();
      });
    }
  }

  /** As much at a time as the owner has room for. */
  #handOver(): void {
    while (this.#chunkBytes > 0) {
      if (this.#isPaused || this.#isEnding || this.#isClosed) return;
      const count = this.#gather(this.#receiveBuffer());
      this.#chunkBytes -= count;
      must(this.#owner, 'started').received(count);
    }
    if (!this.#isEndPending || this.#isPaused || this.#isEnding || this.#isClosed) return;
    this.#isEndPending = false;
    this.#owner?.ended();
  }

  #gather(buffer: Uint8Array): number {
    let count = 0;
    let taken = 0;
    for (const chunk of this.#chunks) {
      const room = buffer.length - count;
      if (chunk.length > room) {
        buffer.set(chunk.subarray(0, room), count);
        this.#chunks[taken] = chunk.subarray(room);
        count = buffer.length;
        break;
      }
      buffer.set(chunk, count);
      count += chunk.length;
      taken += 1;
    }
    this.#chunks.splice(0, taken);
    return count;
  }

  send(bytes: Uint8Array): number {
    if (this.#isEnding || this.#isClosed || this.#socket.destroyed) return 0;
    this.#socket.write(bytes, this.#written);
    const pending = this.#socket.writableLength;
    if (pending > 0) this.#isPending = true;
    return pending;
  }

  get sendsFiles(): boolean {
    return this.#sendsFiles;
  }

  sendFile(
    bytes: Uint8Array,
    start: number,
    end: number,
    descriptor: number,
    position: number,
    length: number,
  ): number {
    if (!this.#sendsFiles || this.#isEnding || this.#isClosed || this.#socket.destroyed) return 0;
    // Straight to the socket: nothing of what was sent before may still be on its way there.
    if (this.#socket.writableLength > 0 || this.#handle?.writeQueueSize !== 0) return 0;
    const socket = this.#handle.fd ?? -1;
    if (socket < 0 || descriptor < 0) return 0;
    const head = end > start ? sendMore(socket, bytes, start, end) : 0;
    if (head === cannotSend) this.#sendsFiles = false;
    if (head < end - start) return Math.max(0, head);
    const count = sendFile(socket, descriptor, position, length);
    if (count === cannotSend) this.#sendsFiles = false;
    return head + Math.max(0, count);
  }

  secure(credentials: TlsCredentials): void {
    this.#sendsFiles = false;
    const plain = this.#socket;
    const upgrade = new TlsUpgrade(plain, credentials, (failure) => {
      if (failure) this.destroy();
      else this.#owner?.secured();
    });
    this.#socket = upgrade.socket;
    this.#receivesInPlace = false;
    this.#listen();
    // Errors of the plain socket end the secure one; its own events are not for the owner.
    plain.once('close', () => this.#socket.destroy());
  }

  pause(): void {
    if (this.#isPaused || this.#isEnding) return;
    this.#isPaused = true;
    this.#socket.pause();
    this.#endedMilliseconds = 0;
    this.#watch ??= setInterval(() => this.#look(), watchMilliseconds).unref();
  }

  /** Whether a paused connection has still somebody at its other side. */
  #look(): void {
    const state = this.#isPaused && !this.#isClosed ? peerState(this.#handle?.fd ?? -1) : undefined;
    if (state === undefined) {
      clearInterval(this.#watch);
      this.#watch = undefined;
      return;
    }
    this.#endedMilliseconds = state === 'ended' ? this.#endedMilliseconds + watchMilliseconds : 0;
    if (state === 'gone' || this.#endedMilliseconds >= endedMillisecondsMax) this.destroy();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#chunkBytes === 0 && !this.#isEndPending) {
      this.#socket.resume();
      return;
    }
    // Not from within the owner's call; and before anything newer.
    process.nextTick(() => {
      this.#handOver();
      if (!this.#isPaused && !this.#isClosed) this.#socket.resume();
    });
  }

  renewReceiveBuffer(): boolean {
    if (!this.#receivesInPlace || this.#isClosed) return true;
    if (this.#renewals >= renewalsMax || this.#socket.destroyed) return false;
    this.#renewals += 1;
    this.#handle?.useUserBuffer?.(this.#receiveBuffer());
    return true;
  }

  end(): void {
    if (this.#isEnding || this.#isClosed) return;
    this.#isEnding = true;
    this.#chunks = [];
    this.#chunkBytes = 0;
    // The owner's last buffer is the owner's again.
    if (this.#receivesInPlace) this.#handle?.useUserBuffer?.(discarded);
    this.#socket.end();
    // What still arrives is read and dropped: closing with bytes unread would reset the connection
    // and could take the last replies away from the other side.
    this.#socket.resume();
    setTimeout(() => this.#socket.destroy(), lingerMilliseconds).unref();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

function handleOf(socket: net.Socket): StreamHandle | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  return typeof handle === 'object' && handle !== null ? handle : undefined;
}
