import type { Clock } from '../../src/platform/clock.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import type {
  AnswerReceiver,
  ConnectionStatus,
  Exchange,
  RequestLimits,
  Transport,
  TransportClient,
  TransportHandler,
  TransportListenOptions,
  TransportRequest,
  TransportServer,
  TransportTarget,
} from '../../src/replicator/transport/transport.ts';
import { SimulatedExchange } from './simulated-exchange.ts';
import type { LinkServer, SimulatedLinks } from './simulated-links.ts';

/** The links as one process uses them: what it does ends with it. */
export class SimulatedTransport implements Transport {
  readonly #links: SimulatedLinks;
  readonly #host: string;
  readonly #clock: Clock;
  readonly #servers: SimulatedServer[] = [];
  #isDead = false;

  /** `host` names it. */
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
    this.#links.hostDied(this.#host);
  }
}

/** Of a request that somebody else sent again. */
const unheard: AnswerReceiver = {
  head: () => undefined,
  body: () => undefined,
  ended: () => undefined,
  failed: () => undefined,
};

class SimulatedServer implements TransportServer, LinkServer {
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
    const links = this.#links;
    const { url } = this.#target;
    const target = new URL(url).hostname;
    const exchange = new SimulatedExchange(
      links,
      { from: this.#host, to: target, clock: this.#clock },
      limits,
      receiver,
      () => this.#exchanges.delete(exchange),
    );
    this.#exchanges.add(exchange);
    if (links.strikes('lostRequests', 'request lost')) return exchange;
    this.#send(request, target, exchange);
    const isOfCut = request.path.startsWith('/v1/cuts/');
    if (isOfCut && links.strikes('repeats', 'request repeated')) {
      const { clock } = links;
      const parties = { from: this.#host, to: target, clock };
      const again = new SimulatedExchange(links, parties, limits, unheard, () => undefined);
      this.#send(request, target, again);
    }
    return exchange;
  }

  #send(request: TransportRequest, target: string, exchange: SimulatedExchange): void {
    const links = this.#links;
    const { url } = this.#target;
    links.later(this.#host, target, () => {
      if (this.#isDead()) return;
      const server = links.find(url);
      const cut = links.cutBetween(this.#host, target);
      if (cut === 'silent') return;
      if (!server || cut) {
        exchange.fail(new JnbdError('peer_unreachable', `nobody answers at ${url}`));
        return;
      }
      exchange.deliver(request, server);
    });
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
