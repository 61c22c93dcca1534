import net from 'node:net';
import { JnbdError, messageOf } from '../platform/errors.ts';
import { formatAddress, type ListenAddress } from '../platform/network.ts';
import { type ClientTls, secureSocket, tlsFailure } from './client-tls.ts';

/** A client's byte stream: reads of exactly so many bytes, one after the other. */
export class ClientStream {
  readonly #address: ListenAddress;
  #socket: net.Socket;
  #chunks: Buffer[] = [];
  #available = 0;
  #failure: JnbdError | undefined;
  #wanted = 0;
  #wake: (() => void) | undefined;
  #draining: Promise<void> | undefined;

  private constructor(address: ListenAddress, socket: net.Socket) {
    this.#address = address;
    this.#socket = socket;
    this.#listen(socket);
  }

  /** Throws JnbdError daemon_unreachable. */
  static connect(address: ListenAddress): Promise<ClientStream> {
    return new Promise((resolve, reject) => {
      const socket =
        address.kind === 'unix'
          ? net.connect({ path: address.path })
          : net.connect({ host: address.host, port: address.port });
      socket.setNoDelay(true);
      const failed = (cause: unknown): void => {
        const text = `cannot connect to ${formatAddress(address)}: ${messageOf(cause)}`;
        reject(new JnbdError('daemon_unreachable', text, { cause }));
      };
      socket.once('error', failed);
      socket.once('connect', () => {
        socket.off('error', failed);
        resolve(new ClientStream(address, socket));
      });
    });
  }

  /** `tls`: before the server has said anything under TLS 1.3, it may still refuse the client. */
  #listen(socket: net.Socket, tls?: ClientTls): void {
    let isHeard = false;
    socket.on('data', (chunk: Buffer) => {
      if (socket !== this.#socket) return;
      isHeard = true;
      this.#chunks.push(chunk);
      this.#available += chunk.length;
      if (this.#available >= this.#wanted) this.#wake?.();
    });
    const ended = (text: string, cause?: unknown): void => {
      if (socket !== this.#socket) return;
      const peer = formatAddress(this.#address);
      this.#failure ??=
        tls && !isHeard
          ? tlsFailure(this.#address, tls, cause)
          : new JnbdError('daemon_unreachable', `${peer} ${text}`, { cause });
      this.#wake?.();
    };
    socket.on('end', () => ended('closed the connection'));
    socket.on('close', () => ended('closed the connection'));
    socket.on('error', (error) => ended(`cannot be reached: ${error.message}`, error));
  }

  get isOpen(): boolean {
    return this.#failure === undefined;
  }

  /** Exactly `count` bytes. Throws JnbdError daemon_unreachable when the stream ends before. */
  async read(count: number): Promise<Buffer> {
    while (this.#available < count) {
      if (this.#failure) throw this.#failure;
      this.#wanted = count;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    this.#available -= count;
    const first = this.#chunks[0];
    if (first && first.length >= count) {
      if (first.length === count) this.#chunks.shift();
      else this.#chunks[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    const all = Buffer.concat(this.#chunks);
    this.#chunks = count < all.length ? [all.subarray(count)] : [];
    return all.subarray(0, count);
  }

  /** Resolves when the bytes have left this process or the connection is gone. */
  async write(...parts: Uint8Array[]): Promise<void> {
    if (this.#failure) throw this.#failure;
    let isTaken = true;
    this.#socket.cork();
    for (const part of parts) if (part.length > 0) isTaken = this.#socket.write(part);
    this.#socket.uncork();
    if (isTaken) return;
    const socket = this.#socket;
    this.#draining ??= new Promise<void>((resolve) => {
      const done = (): void => {
        this.#draining = undefined;
        socket.off('drain', done).off('close', done);
        resolve();
      };
      socket.once('drain', done).once('close', done);
    });
    await this.#draining;
  }

  /** Continues inside TLS. Throws JnbdError certificate_invalid. */
  async secure(credentials: ClientTls): Promise<void> {
    const plain = this.#socket;
    plain.removeAllListeners('data');
    this.#socket = await secureSocket(plain, this.#address, credentials);
    this.#failure = undefined;
    this.#listen(this.#socket, credentials);
  }

  /** Sends the end of the stream; what the other side still sends can be read. */
  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
