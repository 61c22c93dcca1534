import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import type tls from 'node:tls';
import { must } from '../../platform/assert.ts';
import { rightsOf } from '../../platform/certificate-rights.ts';
import { JnbdError, messageOf, systemErrorCode } from '../../platform/errors.ts';
import { formatAddress, type TlsCredentials } from '../../platform/network.ts';
import { secureContextOf, TlsUpgrade } from '../../platform/node-tls.ts';
import { type ConnectionSetting, type ServerTimes, ServedConnection } from './served-connection.ts';
import { BodyBudget } from './http-request.ts';
import type {
  PeerCertificate,
  PeerIdentity,
  TransportHandler,
  TransportListenOptions,
  TransportServer,
} from './transport.ts';
import { headersBytesMax } from '../protocol/wire.ts';

const connectionsMaxDefault = 256;
const timesDefault: ServerTimes = {
  requestMilliseconds: 30_000,
  stallMilliseconds: 30_000,
  idleMilliseconds: 300_000,
  pingMilliseconds: 10_000,
  silenceMilliseconds: 30_000,
};
const sweepMillisecondsMax = 1_000;
const keepAliveMilliseconds = 30_000;
const streamsMax = 64;
const headerPairsMax = 64;

/** First byte of a TLS record that begins a handshake; first bytes of HTTP/2's preface. */
const tlsHandshake = 0x16;
const preface = Buffer.from('PRI');

const sessionOptions: http2.ServerSessionOptions = {
  settings: { maxConcurrentStreams: streamsMax, maxHeaderListSize: headersBytesMax },
  maxHeaderListPairs: headerPairsMax,
  // Megabytes. What is being sent counts too.
  maxSessionMemory: 64,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
};

/**
 * One port for HTTP/2 and HTTP/1.1, each in cleartext and over TLS, told apart by what a client sends
 * first. Every client is bounded in connections, requests, sizes and times.
 */
export class HttpPort implements TransportServer {
  readonly #options: TransportListenOptions;
  readonly #setting: ConnectionSetting;
  readonly #port: net.Server;
  readonly #http1: http.Server;
  readonly #connections = new Set<ServedConnection>();
  readonly #bySocket = new WeakMap<net.Socket, ServedConnection>();
  readonly #sweep: NodeJS.Timeout;
  #address: TransportServer['address'];
  #isClosing = false;
  #whenEmpty: (() => void) | undefined;

  private constructor(
    options: TransportListenOptions,
    handler: TransportHandler,
    times: ServerTimes,
  ) {
    this.#options = options;
    this.#address = options.address;
    this.#setting = {
      handler,
      bodies: new BodyBudget(),
      isStream: options.isStream ?? (() => false),
      now: () => performance.now(),
      changed: (connection) => this.#changed(connection),
    };
    this.#port = net.createServer({
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMilliseconds,
    });
    this.#port.on('connection', (socket) => this.#accept(socket));
    this.#http1 = http.createServer({ maxHeaderSize: headersBytesMax });
    this.#http1.on('request', (message, response) => {
      const connection = this.#bySocket.get(message.socket);
      must(connection, 'a request comes over a connection').messageBegun(message, response);
    });
    const shortest = Math.min(...Object.values(times));
    const sweep = (): void => {
      for (const connection of this.#connections) connection.sweep(times);
    };
    this.#sweep = setInterval(sweep, Math.min(sweepMillisecondsMax, shortest / 4)).unref();
  }

  /** Throws JnbdError (address_in_use, address_not_allowed, certificate_invalid). */
  static async listen(
    options: TransportListenOptions,
    handler: TransportHandler,
    times: Partial<ServerTimes> = {},
  ): Promise<HttpPort> {
    if (options.tls) checkCredentials(options.tls);
    const port = new HttpPort(options, handler, { ...timesDefault, ...times });
    try {
      await port.#bind();
      return port;
    } catch (error) {
      clearInterval(port.#sweep);
      throw error;
    }
  }

  get address(): TransportServer['address'] {
    return this.#address;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  async close(milliseconds: number): Promise<void> {
    this.#isClosing = true;
    this.#port.close();
    for (const connection of this.#connections) connection.leave();
    await new Promise<void>((resolve) => {
      const late = setTimeout(() => {
        for (const connection of this.#connections) connection.destroy();
      }, milliseconds);
      this.#whenEmpty = () => {
        if (this.#connections.size > 0) return;
        clearTimeout(late);
        resolve();
      };
      this.#whenEmpty();
    });
    clearInterval(this.#sweep);
  }

  #bind(): Promise<void> {
    const { address } = this.#options;
    return new Promise((resolve, reject) => {
      this.#port.once('error', (cause) => {
        const isTaken = systemErrorCode(cause) === 'EADDRINUSE';
        const name = formatAddress(address);
        reject(
          new JnbdError(
            isTaken ? 'address_in_use' : 'address_not_allowed',
            isTaken
              ? `${name} is in use by another process; give another address or stop that process`
              : `cannot listen on ${name}: ${messageOf(cause)}`,
            { cause },
          ),
        );
      });
      this.#port.listen(address.port, address.host, () => {
        this.#port.removeAllListeners('error');
        // From here on an error is a failed accept, which concerns nobody but its client.
        this.#port.on('error', () => undefined);
        const bound = this.#port.address();
        if (typeof bound === 'object' && bound !== null) {
          this.#address = { ...address, port: bound.port };
        }
        resolve();
      });
    });
  }

  #accept(socket: net.Socket): void {
    const { remoteAddress: host = 'unknown', remotePort: port = 0 } = socket;
    const peer = formatAddress({ kind: 'tcp', host, port });
    if (this.#isClosing || !this.#makesRoom()) {
      socket.on('error', () => undefined);
      socket.destroy();
      return;
    }
    const connection = new ServedConnection(this.#setting, socket, peer);
    this.#connections.add(connection);
    this.#bySocket.set(socket, connection);
    socket.once('close', () => {
      this.#connections.delete(connection);
      this.#whenEmpty?.();
    });
    this.#readFirst(socket, connection);
  }

  /** Where there are too many, whoever asked nothing for longest makes room for the newcomer. */
  #makesRoom(): boolean {
    const max = this.#options.connectionsMax ?? connectionsMaxDefault;
    if (this.#connections.size < max) return true;
    let quietest: ServedConnection | undefined;
    for (const connection of this.#connections) {
      if (!connection.isIdle) continue;
      if (!quietest || connection.quietSince < quietest.quietSince) quietest = connection;
    }
    if (!quietest) return false;
    this.#connections.delete(quietest);
    quietest.destroy();
    return true;
  }

  #readFirst(socket: net.Socket, connection: ServedConnection): void {
    let first: Buffer | undefined;
    const received = (chunk: Buffer): void => {
      first = first ? Buffer.concat([first, chunk]) : chunk;
      const isShort = first.length < preface.length;
      if (isShort && preface.subarray(0, first.length).equals(first)) return;
      socket.off('data', received);
      socket.pause();
      // Given back for whoever reads on.
      socket.unshift(first);
      this.#begin(socket, connection, first);
    };
    socket.on('data', received);
  }

  #begin(socket: net.Socket, connection: ServedConnection, first: Buffer): void {
    const isLocal = isLoopback(socket.remoteAddress ?? '');
    if (first[0] === tlsHandshake) {
      const { tls: credentials } = this.#options;
      if (credentials) this.#secure(socket, connection, credentials);
      else this.#refuse(connection, 'speaks TLS, and there is none here');
      return;
    }
    if (!isLocal && this.#options.cleartext === 'loopback') {
      return this.#refuse(connection, 'does not speak TLS, and comes from another machine');
    }
    connection.identify(socket, { kind: isLocal ? 'loopback' : 'anonymous' });
    this.#serve(socket, connection, first.subarray(0, preface.length).equals(preface));
  }

  #serve(socket: net.Socket, connection: ServedConnection, isHttp2: boolean): void {
    if (this.#isClosing) return connection.destroy();
    if (isHttp2) {
      connection.speaksHttp2(http2.performServerHandshake(socket, sessionOptions));
      return;
    }
    connection.speaksHttp1();
    this.#bySocket.set(socket, connection);
    this.#http1.emit('connection', socket);
    socket.resume();
  }

  #secure(socket: net.Socket, connection: ServedConnection, credentials: TlsCredentials): void {
    const done = (failure: string | undefined): void => {
      if (failure === undefined) this.#secured(upgrade.socket, connection);
      else this.#refuse(connection, failure);
    };
    const upgrade = new TlsUpgrade(socket, credentials, done, ['h2', 'http/1.1']);
  }

  #secured(socket: tls.TLSSocket, connection: ServedConnection): void {
    const certificate = certificateOf(socket);
    if (certificate) {
      this.#identify(socket, connection, certificate);
    } else {
      const isLocal = isLoopback(socket.remoteAddress ?? '');
      connection.identify(socket, { kind: isLocal ? 'loopback' : 'anonymous' });
    }
    this.#serve(socket, connection, socket.alpnProtocol === 'h2');
  }

  #identify(
    socket: tls.TLSSocket,
    connection: ServedConnection,
    certificate: PeerCertificate,
  ): void {
    const rights = (this.#options.rightsOf ?? rightsOf)(certificate);
    if (rights) {
      const identity: PeerIdentity = { kind: 'certificate', certificate, rights };
      connection.identify(socket, identity);
      return;
    }
    const text = `the certificate of ${certificate.subject} gives no rights here; it needs one made for replication`;
    this.#options.refused?.(connection.peer, text);
    // Ours, so it is told in full.
    const refusal = new JnbdError('certificate_refused', text);
    connection.identify(socket, { kind: 'anonymous' }, refusal);
  }

  #refuse(connection: ServedConnection, why: string): void {
    this.#options.refused?.(connection.peer, why);
    connection.destroy();
  }

  #changed(connection: ServedConnection): void {
    if (this.#isClosing && connection.isIdle) connection.leave();
  }
}

function checkCredentials(credentials: TlsCredentials): void {
  if (!credentials.certificate) {
    throw new JnbdError('certificate_invalid', 'replication over TLS needs certificates');
  }
  try {
    secureContextOf(credentials);
  } catch (cause) {
    throw new JnbdError(
      'certificate_invalid',
      `the certificate of this system cannot be used: ${messageOf(cause)}`,
      { cause },
    );
  }
}

function certificateOf(socket: tls.TLSSocket): PeerCertificate | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (!certificate) return undefined;
  const subject = /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? '';
  const fingerprint = certificate.fingerprint256.replaceAll(':', '').toLowerCase();
  return { subject, fingerprint, raw: certificate.raw };
}

/** Also as a socket that takes both versions of IP shows it. */
function isLoopback(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127(\.\d{1,3}){3}$/i.test(address);
}
