/**
 * How requests and answers travel between systems. HTTP/2 is one implementation (`http2-*.ts`), a
 * simulation brings another. Whoever uses a transport is called back, never from within a call of its
 * own.
 */
import type { CertificateRights } from '../../platform/certificate-rights.ts';
import type { JnbdError } from '../../platform/errors.ts';
import type { ListenAddress, TlsCredentials } from '../../platform/network.ts';
import type { WireHeaders } from '../protocol/wire.ts';

export interface Transport {
  /** Connects nothing yet: the first request does. */
  connect(target: TransportTarget): TransportClient;
  /** Throws JnbdError (address_in_use, address_not_allowed, certificate_invalid). */
  listen(options: TransportListenOptions, handler: TransportHandler): Promise<TransportServer>;
}

/** What proves a client to its source. PEM texts as they stand in the files. */
export interface ClientCredentials {
  /** Who must have signed the source's certificate. */
  readonly authority: string;
  readonly own: string;
  readonly key: string;
}

export interface TransportTarget {
  /** `http://HOST:PORT`, or `https://HOST:PORT`, which needs `credentials`. */
  readonly url: string;
  readonly credentials?: ClientCredentials;
  /** Connections used in parallel, from 1. A request takes the one with the fewest under way. */
  readonly connections: number;
  /**
   * How much may be on its way to us over one connection, and so how much an answer that is not read
   * can hold in memory, for each connection. Throughput is at most this per round trip.
   */
  readonly windowBytes: number;
}

export interface TransportRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly headers: WireHeaders;
  readonly body?: Uint8Array;
  /** The body is what `Exchange.write` is given, for as long as the answer lasts, which has no length. */
  readonly isStream?: boolean;
}

export interface RequestLimits {
  /** From the request to the answer's head: more than the source is asked to wait. */
  readonly headMilliseconds: number;
  /** With no byte of the body arriving, though it is read. */
  readonly silenceMilliseconds: number;
}

/** Who asked. After `ended` or `failed` nothing else is called. */
export interface AnswerReceiver {
  head(status: number, headers: WireHeaders): void;
  /** The next bytes of the body. They are the receiver's to keep: nobody writes to them any more. */
  body(bytes: Uint8Array): void;
  /** The whole answer has arrived, as long as it said it would be. */
  ended(): void;
  /** peer_unreachable, peer_silent, connection_lost, certificate_refused, protocol_violated, request_aborted. */
  failed(error: JnbdError): void;
}

/** A request under way. */
export interface Exchange {
  /** Stops and resumes the body; what has arrived already may still be given. */
  pause(): void;
  resume(): void;
  /**
   * Of a request that is a stream: the next bytes of its body, which must not change until `taken` is
   * called. That is not called any more once the exchange is over.
   */
  write(bytes: Uint8Array, taken: () => void): void;
  /** `failed` with request_aborted follows, unless it is over. */
  abort(): void;
}

export interface ConnectionStatus {
  readonly state: 'idle' | 'connecting' | 'connected';
  /** Requests under way. */
  readonly exchanges: number;
  readonly receivedBytes: number;
}

export interface TransportClient {
  /** Connects where needed. What it cannot do it tells by `failed`. */
  request(request: TransportRequest, limits: RequestLimits, receiver: AnswerReceiver): Exchange;
  /** One for each of the target's connections. */
  connections(): ConnectionStatus[];
  /** Fails what is under way with request_aborted and closes. */
  close(): void;
}

/** A certificate that our authority signed. */
export interface PeerCertificate {
  /** The common name. */
  readonly subject: string;
  /** SHA-256, lower-case hexadecimal digits. */
  readonly fingerprint: string;
  /** DER. */
  readonly raw: Uint8Array;
}

export type PeerIdentity =
  /** Cleartext, from this machine. */
  | { readonly kind: 'loopback' }
  /** Cleartext from elsewhere (only where that is allowed), or TLS without a certificate. */
  | { readonly kind: 'anonymous' }
  | {
      readonly kind: 'certificate';
      readonly certificate: PeerCertificate;
      readonly rights: CertificateRights;
    };

export interface TransportListenOptions {
  readonly address: Extract<ListenAddress, { kind: 'tcp' }>;
  /** With it the port speaks TLS too. Its clients' certificates must be signed by its authority. */
  readonly tls?: TlsCredentials;
  /** Whose cleartext is taken: of this machine alone, or everybody's. */
  readonly cleartext: 'loopback' | 'anywhere';
  /**
   * By default what stands in the certificate. `undefined`: it is of this authority, but for something
   * else; it is refused.
   */
  readonly rightsOf?: (certificate: PeerCertificate) => CertificateRights | undefined;
  /** Somebody was not let in, and why: for the log. `peer` is address and port. */
  readonly refused?: (peer: string, why: string) => void;
  readonly connectionsMax?: number;
  /** Whose bodies are given as they come, over HTTP/2: they are part of no bound, and have no end. */
  readonly isStream?: (method: string, path: string) => boolean;
}

/** The body of a request as it comes. */
export interface RequestStream {
  /** Once, from within the handler. Nothing is called after the answer ended or its client is gone. */
  receive(received: (bytes: Uint8Array) => void): void;
}

export interface IncomingRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** Behind the `?`, or empty. */
  readonly query: string;
  /** `host` is there for every protocol. Of a header that came twice, both with a comma between. */
  readonly headers: WireHeaders;
  /** All of it; at most `jsonBytesMax`. */
  readonly body: Uint8Array;
  /** Instead of a body. */
  readonly stream?: RequestStream;
  readonly identity: PeerIdentity;
  /** For people: address and port. */
  readonly peer: string;
}

/** The answer to one request. After `end`, `abort` or `gone` the other calls do nothing. */
export interface Answer {
  /** Once, and first. At once on its way, also when the body is long in coming. */
  head(status: number, headers: WireHeaders): void;
  /**
   * Sends `bytes`, which must not change until `taken` is called: once in any case, also when the
   * client goes away. That is the back pressure: who always waits for it never has more than one
   * piece in memory. Long pieces are best.
   */
  send(bytes: Uint8Array, taken: () => void): void;
  /** The body is complete. */
  end(): void;
  /** Breaks off: the client sees a cut answer, and never takes it for a whole one. */
  abort(): void;
  /** `gone` is called once if the client goes away, or is cut off, before all was sent. */
  whenGone(gone: () => void): void;
}

/** Is called for every request once it has arrived whole. Must not throw. */
export type TransportHandler = (request: IncomingRequest, answer: Answer) => void;

export interface TransportServer {
  /** As bound. */
  readonly address: Extract<ListenAddress, { kind: 'tcp' }>;
  /** Connections, also those that have not said anything yet. */
  readonly connectionCount: number;
  /** Accepts nobody any more; answers under way have so long to end. */
  close(milliseconds: number): Promise<void>;
}
