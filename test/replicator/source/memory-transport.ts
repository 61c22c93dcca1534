import { must } from '../../../src/platform/assert.ts';
import type { Clock } from '../../../src/platform/clock.ts';
import type {
  Answer,
  IncomingRequest,
  Transport,
  TransportClient,
  TransportHandler,
  TransportListenOptions,
  TransportServer,
} from '../../../src/replicator/transport/transport.ts';
import type { WireHeaders } from '../../../src/replicator/protocol/wire.ts';

/** An answer as it arrives. One that `holds` takes nothing before it is told to. */
export class MemoryAnswer implements Answer {
  status = 0;
  headers: WireHeaders = {};
  isEnded = false;
  isCut = false;
  holds = false;
  readonly #clock: Clock;
  readonly #pieces: Uint8Array[] = [];
  readonly #waiting: { readonly bytes: Uint8Array; readonly taken: () => void }[] = [];
  #told = 0;
  #isGone = false;
  #gone: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get body(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  /** What came since this was asked last. */
  news(): Buffer {
    const news = Buffer.concat(this.#pieces.slice(this.#told));
    this.#told = this.#pieces.length;
    return news;
  }

  get isDone(): boolean {
    return this.isCut || (this.isEnded && this.#waiting.length === 0);
  }

  /** The client goes away. */
  leave(): void {
    this.#isGone = true;
    this.take();
    const gone = this.#gone;
    if (gone) this.#clock.soon(gone);
  }

  take(): void {
    this.holds = false;
    for (const { bytes, taken } of this.#waiting.splice(0)) {
      if (!this.#isGone) this.#pieces.push(Uint8Array.from(bytes));
      this.#clock.soon(taken);
    }
  }

  head(status: number, headers: WireHeaders): void {
    if (this.status !== 0) throw new Error('an answer has one head');
    if (this.#isGone) return;
    this.status = status;
    this.headers = headers;
  }

  send(bytes: Uint8Array, taken: () => void): void {
    this.#waiting.push({ bytes, taken });
    if (!this.holds || this.#isGone) this.#clock.soon(() => this.take());
  }

  end(): void {
    this.isEnded = true;
  }

  abort(): void {
    this.isCut = true;
  }

  whenGone(gone: () => void): void {
    this.#gone = gone;
  }
}

/** One system that listens, asked from the same thread. */
export class MemoryTransport implements Transport {
  readonly #clock: Clock;
  #handler: TransportHandler | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  connect(): TransportClient {
    throw new Error('nobody connects through this transport');
  }

  listen(options: TransportListenOptions, handler: TransportHandler): Promise<TransportServer> {
    this.#handler = handler;
    const { address } = options;
    return Promise.resolve({
      address,
      connectionCount: 0,
      close: () => {
        this.#handler = undefined;
        return Promise.resolve();
      },
    });
  }

  ask(request: Partial<IncomingRequest>, holds = false): MemoryAnswer {
    const answer = new MemoryAnswer(this.#clock);
    answer.holds = holds;
    const handler = must(this.#handler, 'somebody listens');
    this.#clock.soon(() =>
      handler(
        {
          method: 'GET',
          path: '/',
          query: '',
          headers: {},
          body: new Uint8Array(0),
          identity: { kind: 'loopback' },
          peer: '127.0.0.1:1',
          ...request,
        },
        answer,
      ),
    );
    return answer;
  }
}
