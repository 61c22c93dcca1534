import { JnbdError } from '../../src/platform/errors.ts';
import { KiB } from '../../src/platform/limits.ts';
import type { Clock } from '../../src/platform/clock.ts';
import type {
  Answer,
  AnswerReceiver,
  ConnectionStatus,
  Exchange,
  IncomingRequest,
  RequestLimits,
  Transport,
  TransportClient,
  TransportHandler,
  TransportListenOptions,
  TransportRequest,
  TransportServer,
  TransportTarget,
} from '../../src/replicator/transport.ts';
import type { WireHeaders } from '../../src/replicator/wire.ts';
import type { SimulatedClock } from './simulated-clock.ts';
import type { SimulatedRandom } from './simulated-random.ts';

const delayMillisecondsMax = 2;
const pieceBytesChoices = [1, 100, 16 * KiB, 16 * KiB, 64 * KiB, 64 * KiB];

/** The links between the systems of a fleet: any of them may be cut, and answers lost on the way. */
export class SimulatedLinks {
  readonly clock: SimulatedClock;
  readonly random: SimulatedRandom;
  readonly #servers = new Map<string, SimulatedServer>();
  readonly #cut = new Set<string>();
  readonly #open = new Set<SimulatedExchange>();
  /** Of a thousand pieces of answers, so many break their connection. */
  breaksPerThousand = 0;

  constructor(clock: SimulatedClock, random: SimulatedRandom) {
    this.clock = clock;
    this.random = random.fork('links');
  }

  /** As one process uses them: what it does ends with it. `host` names it. */
  attach(host: string, processClock: Clock): SimulatedTransport {
    return new SimulatedTransport(this, host, processClock);
  }

  /** Nothing passes between the two any more; what is under way breaks off. */
  cut(a: string, b: string): void {
    this.#cut.add(pair(a, b));
    for (const exchange of this.#open) {
      if (pair(exchange.from, exchange.to) === pair(a, b)) exchange.break();
    }
  }

  mend(a: string, b: string): void {
    this.#cut.delete(pair(a, b));
  }

  isCut(a: string, b: string): boolean {
    return this.#cut.has(pair(a, b));
  }

  serve(url: string, server: SimulatedServer): void {
    if (this.#servers.has(url)) throw new JnbdError('address_in_use', `${url} is in use`);
    this.#servers.set(url, server);
  }

  withdraw(url: string, server: SimulatedServer): void {
    if (this.#servers.get(url) === server) this.#servers.delete(url);
  }

  find(url: string): SimulatedServer | undefined {
    return this.#servers.get(url);
  }

  opened(exchange: SimulatedExchange): void {
    this.#open.add(exchange);
  }

  closed(exchange: SimulatedExchange): void {
    this.#open.delete(exchange);
  }

  openExchanges(): Iterable<SimulatedExchange> {
    return this.#open;
  }

  later(run: () => void): void {
    this.clock.after(this.random.fraction() * delayMillisecondsMax, run);
  }
}

function pair(a: string, b: string): string {
  return [a, b].sort().join('|');
}

export class SimulatedTransport implements Transport {
  readonly #links: SimulatedLinks;
  readonly #host: string;
  readonly #clock: Clock;
  readonly #servers: SimulatedServer[] = [];
  #isDead = false;

  constructor(links: SimulatedLinks, host: string, clock: Clock) {
    this.#links = links;
    this.#host = host;
    this.#clock = clock;
  }

  connect(target: TransportTarget): TransportClient {
    return new SimulatedClient(this.#links, this.#host, target, this.#clock, () => this.#isDead);
  }

  listen(options: TransportListenOptions, handler: TransportHandler): Promise<TransportServer> {
    const { address } = options;
    const url = `http://${address.host}:${address.port}`;
    const server = new SimulatedServer(this.#links, url, this.#host, address, handler, this.#clock);
    this.#servers.push(server);
    return Promise.resolve(server);
  }

  /** The process died: whoever talks to it learns of it, and it learns of nothing. */
  kill(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    for (const server of this.#servers) server.die();
    const open = Array.from(this.#links.openExchanges());
    for (const exchange of open) {
      if (exchange.from === this.#host || exchange.to === this.#host) exchange.break();
    }
  }
}

export class SimulatedServer implements TransportServer {
  readonly address: TransportServer['address'];
  readonly connectionCount = 0;
  readonly host: string;
  readonly handler: TransportHandler;
  readonly clock: Clock;
  readonly #links: SimulatedLinks;
  readonly #url: string;

  constructor(
    links: SimulatedLinks,
    url: string,
    host: string,
    address: TransportServer['address'],
    handler: TransportHandler,
    clock: Clock,
  ) {
    this.#links = links;
    this.#url = url;
    this.host = host;
    this.address = address;
    this.handler = handler;
    this.clock = clock;
    links.serve(url, this);
  }

  close(): Promise<void> {
    this.die();
    return Promise.resolve();
  }

  die(): void {
    this.#links.withdraw(this.#url, this);
  }
}

class SimulatedClient implements TransportClient {
  readonly #links: SimulatedLinks;
  readonly #host: string;
  readonly #target: TransportTarget;
  readonly #clock: Clock;
  readonly #isDead: () => boolean;
  readonly #exchanges = new Set<SimulatedExchange>();

  constructor(
    links: SimulatedLinks,
    host: string,
    target: TransportTarget,
    clock: Clock,
    isDead: () => boolean,
  ) {
    this.#links = links;
    this.#host = host;
    this.#target = target;
    this.#clock = clock;
    this.#isDead = isDead;
  }

  request(request: TransportRequest, limits: RequestLimits, receiver: AnswerReceiver): Exchange {
    const exchange = new SimulatedExchange(
      this.#links,
      this.#host,
      this.#clock,
      limits,
      receiver,
      () => this.#exchanges.delete(exchange),
    );
    this.#exchanges.add(exchange);
    this.#links.later(() => {
      if (this.#isDead()) return;
      const server = this.#links.find(this.#target.url);
      if (!server || this.#links.isCut(this.#host, server.host)) {
        exchange.fail(new JnbdError('peer_unreachable', `nobody answers at ${this.#target.url}`));
        return;
      }
      exchange.deliver(request, server);
    });
    return exchange;
  }

  connections(): ConnectionStatus[] {
    const exchanges = this.#exchanges.size;
    return [{ state: exchanges > 0 ? 'connected' : 'idle', exchanges, receivedBytes: 0 }];
  }

  close(): void {
    const open = Array.from(this.#exchanges);
    for (const exchange of open) exchange.abort();
  }
}

/** One request and its answer: what is sent arrives in order, in pieces of any size, some time later. */
class SimulatedExchange implements Exchange, Answer {
  readonly from: string;
  to = '';
  readonly #links: SimulatedLinks;
  readonly #clock: Clock;
  readonly #receiver: AnswerReceiver;
  readonly #over: () => void;
  #gone: () => void = () => undefined;
  #queue: (() => void)[] = [];
  /** Of the queue, what the receiver is told. */
  readonly #pieces = new Set<() => void>();
  #isRunning = false;
  #isPaused = false;
  #isOver = false;
  #hasEnded = false;
  #hasHead = false;
  #serverClock: Clock | undefined;

  constructor(
    links: SimulatedLinks,
    from: string,
    clock: Clock,
    limits: RequestLimits,
    receiver: AnswerReceiver,
    over: () => void,
  ) {
    this.#links = links;
    this.from = from;
    this.#clock = clock;
    this.#receiver = receiver;
    this.#over = over;
    links.opened(this);
    clock.after(limits.headMilliseconds, () => {
      if (!this.#hasHead) this.fail(new JnbdError('peer_silent', 'no answer came in time'));
    });
  }

  deliver(request: TransportRequest, server: SimulatedServer): void {
    if (this.#isOver) return;
    this.to = server.host;
    this.#serverClock = server.clock;
    const incoming: IncomingRequest = {
      method: request.method,
      path: request.path,
      query: '',
      headers: request.headers,
      body: request.body ?? new Uint8Array(0),
      identity: { kind: 'loopback' },
      peer: this.from,
    };
    server.clock.soon(() => {
      if (!this.#isOver) server.handler(incoming, this);
    });
  }

  head(status: number, headers: WireHeaders): void {
    this.#push(() => {
      this.#hasHead = true;
      this.#receiver.head(status, headers);
    });
  }

  send(bytes: Uint8Array, taken: () => void): void {
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(this.#pieceBytes(), bytes.length - at);
      const piece = Uint8Array.from(bytes.subarray(at, at + length));
      this.#push(() => this.#receiver.body(piece));
      at += length;
    }
    const tell = (): void => {
      this.#serverClock?.soon(taken);
    };
    if (this.#isOver) tell();
    else this.#queue.push(tell);
  }

  end(): void {
    this.#hasEnded = true;
    this.#push(() => {
      this.#finish();
      this.#receiver.ended();
    });
  }

  whenGone(gone: () => void): void {
    this.#gone = gone;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#run();
  }

  /** Of either side. */
  abort(): void {
    this.fail(new JnbdError('request_aborted', 'the request was given up'));
  }

  break(): void {
    this.fail(new JnbdError('connection_lost', 'the connection is lost'));
  }

  fail(error: JnbdError): void {
    if (this.#isOver) return;
    this.#finish();
    this.#clock.soon(() => this.#receiver.failed(error));
    if (!this.#hasEnded) this.#serverClock?.soon(() => this.#gone());
  }

  #finish(): void {
    this.#isOver = true;
    const left = this.#queue.splice(0);
    this.#links.closed(this);
    this.#over();
    // Whoever waits for a piece to be taken is told: nothing of it is needed any more.
    for (const run of left) if (!this.#pieces.has(run)) run();
  }

  #push(run: () => void): void {
    if (this.#isOver) return;
    this.#pieces.add(run);
    this.#queue.push(run);
    this.#run();
  }

  #run(): void {
    if (this.#isRunning || this.#isPaused || this.#isOver || this.#queue.length === 0) return;
    this.#isRunning = true;
    this.#links.later(() =>
      this.#clock.soon(() => {
        this.#isRunning = false;
        if (this.#isOver || this.#isPaused) return;
        if (this.#links.random.fraction() * 1000 < this.#links.breaksPerThousand) {
          this.break();
          return;
        }
        const next = this.#queue.shift();
        if (next) {
          this.#pieces.delete(next);
          next();
        }
        this.#run();
      }),
    );
  }

  #pieceBytes(): number {
    const at = Math.floor(this.#links.random.fraction() * pieceBytesChoices.length);
    return pieceBytesChoices[at] ?? 1;
  }
}
