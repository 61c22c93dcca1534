/** Requests as they come in, of both versions of HTTP, made one. */
import type http from 'node:http';
import type http2 from 'node:http2';
import { JnbdError } from '../../platform/errors.ts';
import { MiB } from '../../platform/limits.ts';
import type { IncomingRequest, RequestStream } from './transport.ts';
import { headersBytesMax, jsonBytesMax, type WireHeaders } from '../protocol/wire.ts';

export type RequestHead = Pick<IncomingRequest, 'method' | 'path' | 'query' | 'headers'>;

/** What bodies of all requests together may take while they arrive. */
const bodiesBytesMax = 16 * MiB;

const nothing = new Uint8Array(0);
/** `NGHTTP2_NO_ERROR` */
const noErrorCode = 0;

export function headOfStream(headers: http2.IncomingHttpHeaders): RequestHead {
  const { ':method': method = '', ':path': target = '', ':authority': authority } = headers;
  return {
    method,
    ...splitTarget(target),
    headers: plainHeaders(headers, authority),
  };
}

export function headOfMessage(message: http.IncomingMessage): RequestHead {
  const { method = '', url = '', headers } = message;
  return { method, ...splitTarget(url), headers: plainHeaders(headers, headers.host) };
}

/** HTTP/1.1 has bounds of its own before this one; those of HTTP/2 are wider. */
export function refusalOf({ path, query, headers }: RequestHead): JnbdError | undefined {
  let bytes = path.length + query.length;
  for (const [name, value] of Object.entries(headers)) bytes += name.length + value.length;
  return bytes > headersBytesMax
    ? new JnbdError('argument_invalid', `headers of ${bytes} bytes; at most ${headersBytesMax}`)
    : undefined;
}

function splitTarget(target: string): { path: string; query: string } {
  const mark = target.indexOf('?');
  return mark < 0
    ? { path: target, query: '' }
    : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}

function plainHeaders(headers: http.IncomingHttpHeaders, host: string | undefined): WireHeaders {
  const plain: Record<string, string> = {};
  if (host !== undefined) plain['host'] = host;
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(':')) continue;
    plain[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return plain;
}

/** The memory for bodies of requests, shared by all connections. */
export class BodyBudget {
  #bytes = 0;

  take(bytes: number): boolean {
    if (this.#bytes + bytes > bodiesBytesMax) return false;
    this.#bytes += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/** Gives the body of one request as it comes. */
export class BodyStream implements RequestStream {
  readonly #source: http2.ServerHttp2Stream;

  constructor(source: http2.ServerHttp2Stream) {
    this.#source = source;
    // Whoever was answered to the end has nothing to say any more.
    source.once('finish', () => {
      if (!source.readableEnded) source.close(noErrorCode);
    });
  }

  /** Nobody waits for its end. */
  readonly hasArrived = true;

  receive(received: (bytes: Uint8Array) => void): void {
    this.#source.on('data', (chunk: Uint8Array) => {
      if (!this.#source.writableEnded) received(chunk);
    });
  }
}

/**
 * Gathers the body of one request. `whole` is called with it, or `refused` with why it is not taken;
 * neither when the client goes away before.
 */
export class BodyReader {
  readonly #budget: BodyBudget;
  readonly #chunks: Uint8Array[] = [];
  readonly #whole: (body: Uint8Array) => void;
  readonly #refused: (error: JnbdError) => void;
  #bytes = 0;
  #isOver = false;
  #hasArrived = false;

  constructor(
    source: http2.ServerHttp2Stream | http.IncomingMessage,
    budget: BodyBudget,
    whole: (body: Uint8Array) => void,
    refused: (error: JnbdError) => void,
  ) {
    this.#budget = budget;
    this.#whole = whole;
    this.#refused = refused;
    source.on('data', (chunk: Uint8Array) => this.#received(chunk));
    source.once('end', () => this.#ended());
    source.once('close', () => this.#finish());
  }

  get hasArrived(): boolean {
    return this.#hasArrived;
  }

  #received(chunk: Uint8Array): void {
    if (this.#isOver) return;
    if (this.#bytes + chunk.length > jsonBytesMax) {
      this.#refuse('argument_invalid', `the request is longer than ${jsonBytesMax} bytes`);
    } else if (!this.#budget.take(chunk.length)) {
      this.#refuse('memory_exhausted', 'too many long requests at once; try again');
    } else {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
    }
  }

  #refuse(code: 'argument_invalid' | 'memory_exhausted', text: string): void {
    this.#finish();
    this.#refused(new JnbdError(code, text));
  }

  #ended(): void {
    this.#hasArrived = true;
    if (this.#isOver) return;
    const body = this.#chunks.length === 0 ? nothing : Buffer.concat(this.#chunks);
    this.#finish();
    this.#whole(body);
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#chunks.length = 0;
    this.#budget.giveBack(this.#bytes);
  }
}
