import type { JnbdError } from '../../platform/errors.ts';
import type { AnswerReceiver, Exchange, TransportClient } from '../transport/transport.ts';
import type { ArrivingBody, LinkMeter } from './link-meter.ts';
import {
  type Caller,
  decodeJournalAnswer,
  encodeCaller,
  encodeJournalRead,
  type JournalAnswer,
  type JournalRead,
  jsonBytesMax,
  paths,
  type WireHeaders,
} from '../protocol/wire.ts';
import { type ProblemDetails, readProblem } from '../protocol/wire-json.ts';

export interface JournalReadOwner {
  /** The head is here: what to ask for next is known. */
  answered(read: SentRead): void;
  /** The next bytes of the body, in its turn; the caller's again on return. */
  bytes(read: SentRead, bytes: Uint8Array): void;
  /** In its turn: all bytes were given. */
  ended(read: SentRead): void;
  failed(read: SentRead, error: JnbdError, details: ProblemDetails): void;
}

const headMilliseconds = 10_000;
const silenceMilliseconds = 20_000;

/**
 * A journal read under way. Several are, over several connections, and their bodies are taken in order:
 * one whose turn has not come is left with the link, as far as that is possible.
 */
export class SentRead implements AnswerReceiver {
  readonly asked: JournalRead;
  readonly startedAtMilliseconds: number;
  readonly #owner: JournalReadOwner;
  readonly #meter: LinkMeter;
  readonly #now: () => number;
  readonly #exchange: Exchange;
  #answer: JournalAnswer | undefined;
  #arriving: ArrivingBody | undefined;
  #status = 0;
  #chunks: Buffer[] = [];
  #problemBytes = 0;
  #bodyBytes = 0;
  #isTurn = false;
  #isEnded = false;
  #isOver = false;

  constructor(
    client: TransportClient,
    groupId: string,
    caller: Caller,
    asked: JournalRead,
    meter: LinkMeter,
    now: () => number,
    owner: JournalReadOwner,
  ) {
    this.asked = asked;
    this.#owner = owner;
    this.#meter = meter;
    this.#now = now;
    this.startedAtMilliseconds = now();
    this.#exchange = client.request(
      {
        method: 'GET',
        path: paths.journal(groupId),
        headers: { ...encodeCaller(caller), ...encodeJournalRead(asked) },
      },
      { headMilliseconds: asked.waitMilliseconds + headMilliseconds, silenceMilliseconds },
      this,
    );
  }

  /** Undefined until the head is here. */
  get answer(): JournalAnswer | undefined {
    return this.#answer;
  }

  get hasEnded(): boolean {
    return this.#isEnded;
  }

  get bodyBytes(): number {
    return this.#bodyBytes;
  }

  /** What came before is given at once, the rest as it comes. */
  itsTurn(): void {
    this.#isTurn = true;
    const chunks = this.#chunks;
    this.#chunks = [];
    for (const chunk of chunks) if (!this.#isOver) this.#owner.bytes(this, chunk);
    if (this.#isOver) return;
    if (this.#isEnded) this.#owner.ended(this);
    else this.#exchange.resume();
  }

  pause(): void {
    this.#exchange.pause();
  }

  resume(): void {
    if (this.#isTurn) this.#exchange.resume();
  }

  /** Nothing is told of it any more. */
  abandon(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#arriving?.end(this.#now());
    if (!this.#isEnded) this.#exchange.abort();
  }

  head(status: number, headers: WireHeaders): void {
    if (this.#isOver) return;
    this.#status = status;
    if (status !== 200 && status !== 204) return;
    try {
      this.#answer = decodeJournalAnswer(headers);
    } catch (error) {
      this.#fail(error as JnbdError);
      return;
    }
    const bytes = Number(headers['content-length'] ?? 0);
    this.#arriving = this.#meter.begin(bytes, this.#now());
    if (!this.#isTurn) this.#exchange.pause();
    this.#owner.answered(this);
  }

  body(bytes: Uint8Array): void {
    if (this.#isOver) return;
    if (!this.#answer) {
      this.#problemBytes += bytes.length;
      if (this.#problemBytes <= jsonBytesMax) this.#chunks.push(Buffer.from(bytes));
      return;
    }
    this.#bodyBytes += bytes.length;
    this.#arriving?.received(bytes.length, this.#now());
    if (this.#isTurn) this.#owner.bytes(this, bytes);
    else this.#chunks.push(Buffer.from(bytes));
  }

  ended(): void {
    this.#isEnded = true;
    if (this.#isOver) return;
    if (this.#answer) {
      this.#arriving?.end(this.#now());
      if (this.#isTurn) this.#owner.ended(this);
      return;
    }
    const { error, details } = readProblem(this.#status, Buffer.concat(this.#chunks));
    this.#fail(error, details);
  }

  failed(error: JnbdError): void {
    this.#isEnded = true;
    if (!this.#isOver) this.#fail(error);
  }

  #fail(error: JnbdError, details: ProblemDetails = {}): void {
    this.abandon();
    this.#owner.failed(this, error, details);
  }
}
