import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import type { CertificateRights } from '../../../src/platform/certificate-rights.ts';
import type { JnbdError } from '../../../src/platform/errors.ts';
import { MiB } from '../../../src/platform/limits.ts';
import type { TlsCredentials } from '../../../src/platform/network.ts';
import type { ServerTimes } from '../../../src/replicator/transport/served-connection.ts';
import { Http2Client } from '../../../src/replicator/transport/http2-client.ts';
import type { ClientTimes } from '../../../src/replicator/transport/http2-connection.ts';
import { HttpPort } from '../../../src/replicator/transport/http-port.ts';
import type {
  AnswerReceiver,
  ClientCredentials,
  RequestLimits,
  TransportHandler,
  TransportListenOptions,
  TransportTarget,
} from '../../../src/replicator/transport/transport.ts';
import type { WireHeaders } from '../../../src/replicator/protocol/wire.ts';
import { until } from '../../support/children.ts';

/** Waits until it is so: for ten seconds. */
export function when(what: string, ask: () => boolean): Promise<void> {
  return until(() => `still not: ${what}`, 10, ask);
}

/** Test certificates say nothing of rights. */
export const anything: CertificateRights = { system: 'second', groups: 'all', access: 'change' };

export const patient: RequestLimits = { headMilliseconds: 15_000, silenceMilliseconds: 15_000 };

/** What came of a request. */
export class Gathered implements AnswerReceiver {
  status = 0;
  headers: WireHeaders = {};
  readonly chunks: Uint8Array[] = [];
  bytes = 0;
  /** Whether the bytes are kept, or only counted. */
  keeps = true;
  onHead: (() => void) | undefined;
  onBody: (() => void) | undefined;
  readonly over: Promise<JnbdError | 'ended'>;
  readonly answered: Promise<void>;
  #finish!: (result: JnbdError | 'ended') => void;
  #headed!: () => void;

  constructor() {
    this.over = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.answered = new Promise((resolve) => {
      this.#headed = resolve;
    });
  }

  get content(): Buffer {
    return Buffer.concat(this.chunks);
  }

  head(status: number, headers: WireHeaders): void {
    this.status = status;
    this.headers = headers;
    this.#headed();
    this.onHead?.();
  }
  body(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    if (this.keeps) this.chunks.push(chunk);
    this.onBody?.();
  }
  ended(): void {
    this.#finish('ended');
  }
  failed(error: JnbdError): void {
    this.#finish(error);
  }
}

/** What came of one request. */
export async function outcome(client: Http2Client, limits = patient): Promise<JnbdError | 'ended'> {
  const gathered = new Gathered();
  client.request({ method: 'GET', path: '/x', headers: {} }, limits, gathered);
  return gathered.over;
}

/** Ports and clients of one test; `close` ends all of them. */
export class Parts {
  readonly #closers: (() => Promise<void> | void)[] = [];

  async port(
    handler: TransportHandler,
    options: Partial<TransportListenOptions> = {},
    times: Partial<ServerTimes> = {},
  ): Promise<HttpPort> {
    const port = await HttpPort.listen(
      {
        address: { kind: 'tcp', host: '127.0.0.1', port: 0 },
        cleartext: 'loopback',
        rightsOf: () => anything,
        ...options,
      },
      handler,
      times,
    );
    this.#closers.push(() => port.close(0));
    return port;
  }

  client(port: number, target: Partial<TransportTarget> = {}, times?: ClientTimes): Http2Client {
    const scheme = target.credentials ? 'https' : 'http';
    const client = new Http2Client(
      { url: `${scheme}://127.0.0.1:${port}`, connections: 1, windowBytes: 1 * MiB, ...target },
      times,
    );
    this.#closers.push(() => client.close());
    return client;
  }

  /** A server of bare sockets, which says nothing by itself. */
  async bare(accept: (socket: net.Socket) => void): Promise<number> {
    const sockets = new Set<net.Socket>();
    const server = net.createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => sockets.delete(socket));
      accept(socket);
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    this.#closers.push(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    return (server.address() as net.AddressInfo).port;
  }

  /** Stands before a port and shows what passes, each way. */
  tappedWay(
    port: number,
    asked: (chunk: Buffer) => void,
    answered: (chunk: Buffer) => void,
  ): Promise<number> {
    return this.bare((socket) => {
      const beyond = net.connect(port, '127.0.0.1');
      beyond.on('error', () => undefined);
      socket.on('data', asked);
      beyond.on('data', answered);
      socket.pipe(beyond);
      beyond.pipe(socket);
      socket.once('close', () => beyond.destroy());
      beyond.once('close', () => socket.destroy());
    });
  }

  /** A connection that a test speaks over by hand. */
  socket(port: number): BareSocket {
    const socket = new BareSocket(port);
    this.#closers.push(() => socket.destroy());
    return socket;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}

export class BareSocket {
  readonly #socket: net.Socket;
  #text = '';
  readonly closed: Promise<void>;

  constructor(port: number) {
    this.#socket = net.connect(port, '127.0.0.1');
    this.#socket.on('error', () => undefined);
    this.#socket.on('data', (chunk) => {
      this.#text += chunk.toString('latin1');
    });
    this.closed = new Promise((resolve) => {
      this.#socket.once('close', () => resolve());
    });
  }

  /** All that came, as latin1. */
  get text(): string {
    return this.#text;
  }

  write(bytes: string | Uint8Array): void {
    this.#socket.write(bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Stands between a client and a port, and can stop passing anything on without closing. */
export async function freezableWay(
  parts: Parts,
  port: number,
): Promise<{ readonly port: number; freeze(): void; cut(): void }> {
  const pairs: net.Socket[] = [];
  const own = await parts.bare((socket) => {
    const beyond = net.connect(port, '127.0.0.1');
    beyond.on('error', () => undefined);
    socket.pipe(beyond);
    beyond.pipe(socket);
    socket.once('close', () => beyond.destroy());
    beyond.once('close', () => socket.destroy());
    pairs.push(socket, beyond);
  });
  return {
    port: own,
    freeze() {
      for (const socket of pairs) {
        socket.unpipe();
        socket.pause();
      }
    },
    cut() {
      for (const socket of pairs) socket.destroy();
    },
  };
}

/** Of a directory that `writeCertificates` made. */
export function serverCredentials(
  directory: string,
  clientCertificates: 'required' | 'optional' = 'required',
): TlsCredentials {
  const read = (name: string): string => readFileSync(join(directory, name), 'utf8');
  return {
    certificate: {
      authority: read('ca-cert.pem'),
      own: read('server-cert.pem'),
      key: read('server-key.pem'),
    },
    clientCertificates,
  };
}

export function clientCredentials(directory: string): ClientCredentials {
  const read = (name: string): string => readFileSync(join(directory, name), 'utf8');
  return {
    authority: read('ca-cert.pem'),
    own: read('client-cert.pem'),
    key: read('client-key.pem'),
  };
}
