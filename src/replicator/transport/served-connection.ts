import type http from 'node:http';
import type http2 from 'node:http2';
import type net from 'node:net';
import type { JnbdError } from '../../platform/errors.ts';
import { type AnswerStream, SliceSize, StreamAnswer } from './http-answer.ts';
import {
  type BodyBudget,
  BodyReader,
  BodyStream,
  headOfMessage,
  headOfStream,
  refusalOf,
  type RequestHead,
} from './http-request.ts';
import type { PeerIdentity, TransportHandler } from './transport.ts';
import type { WireHeaders } from '../protocol/wire.ts';
import { problemAnswer } from '../protocol/wire-json.ts';

/** What connections of one port have in common. */
export interface ConnectionSetting {
  readonly handler: TransportHandler;
  readonly bodies: BodyBudget;
  readonly isStream: (method: string, path: string) => boolean;
  readonly now: () => number;
  /** A request ended, or the connection did. */
  readonly changed: (connection: ServedConnection) => void;
}

export interface ServerTimes {
  /** For a whole request to arrive, counted from its head; for the first one, from the connection. */
  readonly requestMilliseconds: number;
  /** A client that takes nothing of an answer for so long loses it. */
  readonly stallMilliseconds: number;
  /** Without a request. */
  readonly idleMilliseconds: number;
  /** HTTP/2: a ping is sent when nothing was heard for so long. */
  readonly pingMilliseconds: number;
  /** HTTP/2: the client is given up when nothing was heard for so long. */
  readonly silenceMilliseconds: number;
}

interface OpenRequest {
  readonly body: { readonly hasArrived: boolean };
  readonly answer: StreamAnswer;
  readonly startedAt: number;
}

/** `opening`: nobody knows yet what it speaks. */
type ConnectionState = 'opening' | 'http1' | 'http2' | 'closed';

const pingAgainMilliseconds = 100;
const nothing = new Uint8Array(0);

/** One accepted connection, whatever it speaks, with its requests. */
export class ServedConnection {
  readonly peer: string;
  readonly #setting: ConnectionSetting;
  readonly #accepted: net.Socket;
  /** What requests come through: the accepted socket, or TLS over it. */
  #socket: net.Socket;
  #session: http2.ServerHttp2Session | undefined;
  #state: ConnectionState = 'opening';
  #identity: PeerIdentity = { kind: 'anonymous' };
  #refusal: JnbdError | undefined;
  readonly #sliceSize = new SliceSize();
  readonly #whenClosed: (() => void)[] = [];
  readonly #open = new Set<OpenRequest>();
  #hasAsked = false;
  #quietSince: number;
  #heardBytes = 0;
  #heardAt: number;
  #pingedAt = 0;

  constructor(setting: ConnectionSetting, accepted: net.Socket, peer: string) {
    this.#setting = setting;
    this.#accepted = accepted;
    this.#socket = accepted;
    this.peer = peer;
    this.#quietSince = this.#heardAt = setting.now();
    accepted.on('error', () => undefined);
    accepted.once('close', () => {
      this.#state = 'closed';
      if (this.#socket !== accepted) this.#socket.destroy();
      for (const run of this.#whenClosed.splice(0)) setImmediate(run);
      setting.changed(this);
    });
  }

  get isIdle(): boolean {
    return this.#open.size === 0;
  }

  get quietSince(): number {
    return this.#quietSince;
  }

  /** Through `socket`, who asks is known. With `refusal` every request is answered by it. */
  identify(socket: net.Socket, identity: PeerIdentity, refusal?: JnbdError): void {
    this.#socket = socket;
    this.#identity = identity;
    this.#refusal = refusal;
  }

  speaksHttp1(): void {
    if (this.#state === 'opening') this.#state = 'http1';
  }

  speaksHttp2(session: http2.ServerHttp2Session): void {
    if (this.#state !== 'opening') return;
    this.#state = 'http2';
    this.#session = session;
    session.on('error', () => this.destroy());
    session.on('stream', (stream, headers) => this.#streamBegun(stream, headers));
  }

  #streamBegun(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
    stream.on('error', () => undefined);
    // Taken back before it got here: nothing more would be heard of it but its error.
    if (stream.destroyed) return;
    const head = headOfStream(headers);
    const answer: AnswerStream = {
      out: stream,
      isHead: head.method === 'HEAD',
      sendHead(status, answerHeaders) {
        if (!stream.destroyed && !stream.closed)
          stream.respond({ ':status': status, ...answerHeaders });
      },
      breakOff: () => stream.destroy(new Error('the answer is broken off')),
      whenLeft: (run) => this.#whenLeft(run),
    };
    const { isStream } = this.#setting;
    const body = isStream(head.method, head.path) ? new BodyStream(stream) : undefined;
    this.#begin(head, stream, answer, body);
  }

  /** A request over HTTP/1.1. */
  messageBegun(message: http.IncomingMessage, response: http.ServerResponse): void {
    message.on('error', () => undefined);
    response.on('error', () => undefined);
    if (response.destroyed) return;
    const head = headOfMessage(message);
    this.#begin(head, message, {
      out: response,
      isHead: head.method === 'HEAD',
      sendHead(status, headers) {
        response.writeHead(status, headers);
        response.flushHeaders();
      },
      breakOff: () => this.destroy(),
      whenLeft: (run) => this.#whenLeft(run),
    });
  }

  #begin(
    head: RequestHead,
    source: http2.ServerHttp2Stream | http.IncomingMessage,
    stream: AnswerStream,
    bodyStream?: BodyStream,
  ): void {
    const { now, bodies } = this.#setting;
    this.#hasAsked = true;
    const answer = new StreamAnswer(stream, this.#sliceSize, now, () => {
      this.#open.delete(request);
      this.#quietSince = now();
      this.#setting.changed(this);
    });
    const handle = (body: Uint8Array): void => this.#handle({ ...head, body }, answer, bodyStream);
    const refuse = (error: JnbdError): void => this.#refuse(answer, error);
    const body = bodyStream ?? new BodyReader(source, bodies, handle, refuse);
    const request: OpenRequest = { body, answer, startedAt: now() };
    this.#open.add(request);
    if (bodyStream) handle(nothing);
  }

  #handle(
    asked: RequestHead & { readonly body: Uint8Array },
    answer: StreamAnswer,
    stream: BodyStream | undefined,
  ): void {
    const refusal = this.#refusal ?? refusalOf(asked);
    if (refusal) {
      this.#refuse(answer, refusal);
      return;
    }
    const from = { identity: this.#identity, peer: this.peer };
    this.#setting.handler({ ...asked, ...from, ...(stream ? { stream } : {}) }, answer);
  }

  /** Answers with an error and, as more of the request may come, ends what it came through. */
  #refuse(answer: StreamAnswer, error: JnbdError): void {
    const { status, headers, body } = problemAnswer(error);
    const last: WireHeaders =
      this.#state === 'http1' ? { ...headers, connection: 'close' } : headers;
    answer.head(status, last);
    answer.send(body, () => undefined);
    answer.end();
  }

  /** Asked now and then: ends what is too slow, silent or idle. */
  sweep(times: ServerTimes): void {
    if (this.#state === 'closed') return;
    const now = this.#setting.now();
    const quietMax = this.#hasAsked ? times.idleMilliseconds : times.requestMilliseconds;
    if (this.isIdle && now - this.#quietSince > quietMax) return this.destroy();
    for (const { body, answer, startedAt } of this.#open) {
      // Also one that was refused before it was there: more of it may come for ever.
      if (!body.hasArrived && now - startedAt > times.requestMilliseconds) answer.cutOff();
      else if (answer.stalledMilliseconds(now) > times.stallMilliseconds) answer.cutOff();
    }
    this.#listen(times, now);
  }

  /** Whether the other side of an HTTP/2 connection still answers. */
  #listen(times: ServerTimes, now: number): void {
    const session = this.#session;
    if (!session || session.destroyed) return;
    const heardBytes = this.#socket.bytesRead;
    if (heardBytes !== this.#heardBytes) {
      this.#heardBytes = heardBytes;
      this.#heardAt = now;
    }
    const silent = now - this.#heardAt;
    if (silent > times.silenceMilliseconds) return this.destroy();
    if (silent < times.pingMilliseconds || now - this.#pingedAt < times.pingMilliseconds) return;
    this.#pingedAt = now;
    if (!session.closed) session.ping(() => undefined);
  }

  /**
   * Frames on their way to the socket refer to what was written of a stream that is gone. What the
   * other side answers behind them proves that they have left.
   */
  #whenLeft(run: () => void): void {
    const session = this.#session;
    if (this.#accepted.destroyed || this.#state === 'closed') {
      setImmediate(run);
      return;
    }
    if (!session || session.closed || session.destroyed) {
      this.#whenClosed.push(run);
      return;
    }
    session.ping((error) => {
      if (!error) run();
      // Too many pings under way, or the session is closing.
      else setTimeout(() => this.#whenLeft(run), pingAgainMilliseconds).unref();
    });
  }

  /** Lets what is under way end; then it is closed. */
  leave(): void {
    if (this.isIdle && this.#state !== 'http2') this.destroy();
    else this.#session?.close();
  }

  /** At once: what is under way is cut. */
  destroy(): void {
    this.#socket.destroy();
    this.#accepted.destroy();
  }
}
