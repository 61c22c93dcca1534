import type http2 from 'node:http2';
import { assert, must } from '../../platform/assert.ts';
import { JnbdError, messageOf } from '../../platform/errors.ts';
import { silentError } from './http2-errors.ts';
import type { AnswerReceiver, Exchange, RequestLimits, TransportRequest } from './transport.ts';
import { answerBytesMax, type WireHeaders } from '../protocol/wire.ts';

/** `waiting`: for a connection. `asked`: for the head. `answered`: the body is coming. */
type ExchangeState = 'waiting' | 'asked' | 'answered' | 'over';

const transitions: Record<ExchangeState, readonly ExchangeState[]> = {
  waiting: ['asked', 'over'],
  asked: ['answered', 'over'],
  answered: ['over'],
  over: [],
};

/** `NGHTTP2_CANCEL`: what we do not want any more. */
const cancelCode = 8;

/** One request and its answer, over a stream of HTTP/2. */
export class Http2Exchange implements Exchange {
  readonly #url: string;
  readonly #request: TransportRequest;
  readonly #limits: RequestLimits;
  readonly #receiver: AnswerReceiver;
  readonly #over: (exchange: Http2Exchange) => void;
  #state: ExchangeState = 'waiting';
  #stream: http2.ClientHttp2Stream | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isPaused = false;
  #hasEnded = false;
  #error: unknown;
  /** What the answer says of its length, or `undefined`. */
  #expectedBytes: number | undefined;
  #receivedBytes = 0;

  constructor(
    url: string,
    request: TransportRequest,
    limits: RequestLimits,
    receiver: AnswerReceiver,
    over: (exchange: Http2Exchange) => void,
  ) {
    this.#url = url;
    this.#request = request;
    this.#limits = limits;
    this.#receiver = receiver;
    this.#over = over;
    this.#setTimer(limits.headMilliseconds, 'did not answer');
  }

  pause(): void {
    if (this.#isPaused || this.#state === 'over') return;
    this.#isPaused = true;
    if (this.#state === 'answered') this.#clearTimer();
    this.#stream?.pause();
  }

  resume(): void {
    if (!this.#isPaused || this.#state === 'over') return;
    this.#isPaused = false;
    if (this.#state === 'answered') this.#expectBytes();
    this.#stream?.resume();
  }

  write(bytes: Uint8Array, taken: () => void): void {
    if (this.#state === 'over') return;
    const stream = must(this.#stream, 'the answer to a stream has begun');
    stream.write(bytes, (error) => {
      if (!error && this.#state !== 'over') taken();
    });
  }

  abort(): void {
    if (this.#state === 'over') return;
    const error = new JnbdError('request_aborted', `the request to ${this.#url} was given up`);
    this.#end();
    process.nextTick(() => this.#receiver.failed(error));
  }

  /** Sends the request over `session`, which is open. */
  begin(session: http2.ClientHttp2Session): void {
    if (this.#state !== 'waiting') return;
    const { method, path, headers, body, isStream = false } = this.#request;
    const length = body ? { 'content-length': String(body.length) } : {};
    let stream: http2.ClientHttp2Stream;
    try {
      stream = session.request(
        { ':method': method, ':path': path, ...headers, ...length },
        { endStream: body === undefined && !isStream },
      );
    } catch (cause) {
      // The session closed a moment ago.
      this.fail(this.#lost(cause));
      return;
    }
    this.#become('asked');
    this.#stream = stream;
    stream.on('error', (error) => {
      this.#error ??= error;
    });
    stream.once('response', (answered) => this.#headArrived(stream, answered));
    stream.once('end', () => {
      this.#hasEnded = true;
      if (isStream) stream.end();
    });
    stream.once('close', () => this.#closed(stream));
    if (this.#isPaused) stream.pause();
    if (body) stream.end(body);
  }

  /** Is over: nothing more comes. Tells the receiver in a turn of its own. */
  fail(error: JnbdError): void {
    if (this.#state === 'over') return;
    this.#end();
    process.nextTick(() => this.#receiver.failed(error));
  }

  #become(state: ExchangeState): void {
    assert(transitions[this.#state].includes(state), `exchange ${this.#state} -> ${state}`);
    this.#state = state;
  }

  #headArrived(
    stream: http2.ClientHttp2Stream,
    headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader,
  ): void {
    if (this.#state !== 'asked') return;
    const plain: Record<string, string> = {};
    for (const [name, value] of Object.entries(headers)) {
      if (value === undefined || name.startsWith(':')) continue;
      plain[name] = Array.isArray(value) ? value.join(', ') : String(value);
    }
    const length = Number(plain['content-length'] ?? Number.NaN);
    if (length > this.#bytesMax) {
      this.fail(this.#violated(`an answer of ${length} bytes`));
      return;
    }
    this.#expectedBytes = Number.isSafeInteger(length) ? length : undefined;
    this.#become('answered');
    this.#expectBytes();
    const told: WireHeaders = plain;
    // Not before: what arrived together with the head would come first.
    stream.on('data', (chunk: Uint8Array) => this.#bytesArrived(chunk));
    this.#receiver.head(headers[':status'] ?? 0, told);
  }

  #bytesArrived(chunk: Uint8Array): void {
    if (this.#state !== 'answered') return;
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes > this.#bytesMax) {
      this.fail(this.#violated(`more than the ${this.#bytesMax} bytes`));
      return;
    }
    this.#timer?.refresh();
    this.#receiver.body(chunk);
  }

  #closed(stream: http2.ClientHttp2Stream): void {
    if (this.#state === 'over') return;
    const isWhole =
      this.#state === 'answered' &&
      this.#hasEnded &&
      stream.rstCode === 0 &&
      !stream.aborted &&
      this.#receivedBytes === (this.#expectedBytes ?? this.#receivedBytes);
    if (!isWhole) {
      this.fail(this.#lost(this.#error));
      return;
    }
    this.#end();
    this.#receiver.ended();
  }

  get #bytesMax(): number {
    return this.#expectedBytes ?? (this.#request.isStream ? Infinity : answerBytesMax);
  }

  #expectBytes(): void {
    if (!this.#isPaused) this.#setTimer(this.#limits.silenceMilliseconds, 'sent nothing');
  }

  #setTimer(milliseconds: number, what: string): void {
    this.#clearTimer();
    this.#timer = setTimeout(() => {
      this.fail(silentError(this.#url, what, milliseconds));
    }, milliseconds);
  }

  #clearTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #end(): void {
    this.#become('over');
    this.#clearTimer();
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream && !stream.closed) stream.close(cancelCode);
    // What was paused is not read any more: the stream is to come to its end.
    stream?.resume();
    this.#over(this);
  }

  #lost(cause: unknown): JnbdError {
    const state = this.#state === 'answered' ? `after ${this.#receivedBytes} bytes` : 'unanswered';
    const why = cause === undefined ? '' : `: ${messageOf(cause)}`;
    const message = `the answer of ${this.#url} was cut off ${state}${why}`;
    return new JnbdError('connection_lost', message, { cause });
  }

  #violated(what: string): JnbdError {
    return new JnbdError('protocol_violated', `${this.#url} sends ${what}`);
  }
}
