import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { assert, must } from '../../platform/assert.ts';
import type { JnbdError } from '../../platform/errors.ts';
import { MiB } from '../../platform/limits.ts';
import { connectionError, type ConnectionPhase, notOurs, silentError } from './http2-errors.ts';
import type { Http2Exchange } from './http2-exchange.ts';
import type { TransportTarget } from './transport.ts';
import { headersBytesMax } from '../protocol/wire.ts';

export interface ClientTimes {
  /** From the first packet to the source's first HTTP/2 frame. */
  readonly connectMilliseconds: number;
  /** A ping is sent when nothing was heard for so long. */
  readonly pingMilliseconds: number;
  /** The source is given up when nothing was heard for so long. */
  readonly silenceMilliseconds: number;
}

/** Bytes that may come beside an answer that is not read: it must not stop the others. */
const besideBytes = 1 * MiB;
const frameBytesMax = 64 * 1024;
const keepAliveMilliseconds = 30_000;

/** `leaving`: the source takes no more requests over it, and answers those it has. */
type ConnectionState = 'connecting' | 'connected' | 'leaving' | 'closed';

const transitions: Record<ConnectionState, readonly ConnectionState[]> = {
  connecting: ['connected', 'closed'],
  connected: ['leaving', 'closed'],
  leaving: ['closed'],
  closed: [],
};

/** One connection to a source, from the first packet to its end, with the requests that it carries. */
export class Http2Connection {
  readonly #target: TransportTarget;
  readonly #times: ClientTimes;
  readonly #useless: (connection: Http2Connection) => void;
  readonly #closed: (connection: Http2Connection) => void;
  readonly #exchanges = new Set<Http2Exchange>();
  readonly #socket: net.Socket;
  /** What HTTP/2 goes through: the socket, or TLS over it. */
  #channel: net.Socket;
  #session: http2.ClientHttp2Session | undefined;
  #state: ConnectionState = 'connecting';
  #phase: ConnectionPhase = 'connecting';
  #late: NodeJS.Timeout | undefined;
  #watch: NodeJS.Timeout | undefined;
  /** What the socket said before it closed. */
  #cause: unknown;

  /** `useless`: it takes no more requests; `closed`: it is gone. Both are called once, in this order. */
  constructor(
    target: TransportTarget,
    times: ClientTimes,
    useless: (connection: Http2Connection) => void,
    closed: (connection: Http2Connection) => void,
  ) {
    this.#target = target;
    this.#times = times;
    this.#useless = useless;
    this.#closed = closed;
    const { hostname, port, protocol } = new URL(target.url);
    const host = hostname.replace(/^\[(.*)\]$/, '$1');
    const isSecure = protocol === 'https:';
    const socket = net.connect({
      host,
      port: Number(port || (isSecure ? 443 : 80)),
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMilliseconds,
    });
    this.#socket = this.#channel = socket;
    socket.on('error', (error) => {
      this.#cause ??= error;
    });
    socket.once('close', () => this.#broke(undefined));
    socket.once('connect', () => {
      if (isSecure) this.#secure(host);
      else this.#greet();
    });
    const { connectMilliseconds } = times;
    this.#late = setTimeout(() => {
      this.close(silentError(target.url, 'did not take up a connection', connectMilliseconds));
    }, connectMilliseconds);
  }

  get isConnected(): boolean {
    return this.#state === 'connected';
  }

  get receivedBytes(): number {
    return this.#socket.bytesRead;
  }

  /** `exchange` says itself, by `over`, when it needs the connection no more. */
  carry(exchange: Http2Exchange): void {
    assert(
      this.#state === 'connecting' || this.#state === 'connected',
      `a connection that is ${this.#state} carries nothing more`,
    );
    this.#exchanges.add(exchange);
    const session = this.#session;
    // Not from within the caller's own call.
    if (session && this.#state === 'connected') process.nextTick(() => exchange.begin(session));
  }

  over(exchange: Http2Exchange): void {
    this.#exchanges.delete(exchange);
  }

  /** At once: what is under way fails with `error`. */
  close(error: JnbdError): void {
    if (this.#state === 'closed') return;
    const wasUseful = this.#state !== 'leaving';
    this.#become('closed');
    clearTimeout(this.#late);
    clearInterval(this.#watch);
    this.#channel.destroy();
    this.#socket.destroy();
    for (const exchange of this.#exchanges) exchange.fail(error);
    if (wasUseful) this.#useless(this);
    this.#closed(this);
  }

  #become(state: ConnectionState): void {
    assert(transitions[this.#state].includes(state), `connection ${this.#state} -> ${state}`);
    this.#state = state;
  }

  #broke(error: unknown): void {
    this.#cause ??= error;
    this.close(connectionError(this.#target.url, this.#phase, this.#cause));
  }

  #secure(host: string): void {
    this.#phase = 'shaking';
    const { url, credentials } = this.#target;
    const { authority, own, key } = must(credentials, 'TLS has credentials');
    const channel = tls.connect({
      socket: this.#socket,
      ...(net.isIP(host) === 0 ? { servername: host } : { host }),
      ca: authority,
      cert: own,
      key,
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.3',
    });
    this.#channel = channel;
    channel.on('error', (error) => this.#broke(error));
    channel.once('close', () => this.#broke(undefined));
    channel.once('secureConnect', () => {
      if (channel.alpnProtocol === 'h2') this.#greet();
      else this.close(notOurs(url, 'over TLS it offers something else'));
    });
  }

  /** The connection counts once the source said its first word. */
  #greet(): void {
    if (this.#state !== 'connecting') return;
    this.#phase = 'greeting';
    const { url, windowBytes } = this.#target;
    const window = windowBytes + besideBytes;
    const session = http2.connect(url, {
      createConnection: () => this.#channel,
      settings: {
        enablePush: false,
        initialWindowSize: windowBytes,
        maxFrameSize: frameBytesMax,
        maxHeaderListSize: headersBytesMax,
      },
      // Megabytes; past it the session refuses what comes.
      maxSessionMemory: Math.ceil((4 * window) / 1e6) + 10,
      maxHeaderListPairs: 64,
      maxSendHeaderBlockLength: 2 * headersBytesMax,
    });
    this.#session = session;
    session.on('error', (error) => this.#broke(error));
    session.once('close', () => this.#broke(undefined));
    // The source is about to end: it answers what it was asked, and is asked nothing more here.
    session.once('goaway', () => {
      if (this.#state !== 'connected') return;
      this.#become('leaving');
      this.#useless(this);
    });
    session.once('remoteSettings', () => {
      if (this.#state !== 'connecting') return;
      this.#phase = 'open';
      clearTimeout(this.#late);
      session.setLocalWindowSize(window);
      this.#become('connected');
      this.#listen(session);
      for (const exchange of this.#exchanges) exchange.begin(session);
    });
  }

  /** A source that went away without a word is noticed by its silence. */
  #listen(session: http2.ClientHttp2Session): void {
    const { pingMilliseconds, silenceMilliseconds } = this.#times;
    const socket = this.#socket;
    let heardBytes = socket.bytesRead;
    let heardAt = performance.now();
    let pingedAt = 0;
    const look = (): void => {
      const now = performance.now();
      if (socket.bytesRead !== heardBytes) {
        heardBytes = socket.bytesRead;
        heardAt = now;
      }
      const silent = now - heardAt;
      if (silent > silenceMilliseconds) {
        this.close(silentError(this.#target.url, 'said nothing', silent));
      } else if (silent >= pingMilliseconds && now - pingedAt >= pingMilliseconds) {
        pingedAt = now;
        if (!session.destroyed) session.ping(() => undefined);
      }
    };
    this.#watch = setInterval(look, pingMilliseconds / 4).unref();
  }
}
