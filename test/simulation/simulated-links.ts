import type { Clock } from '../../src/platform/clock.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import type { PeerIdentity, TransportHandler } from '../../src/replicator/transport/transport.ts';
import { FaultCounter } from './faults.ts';
import type { SimulatedClock } from './simulated-clock.ts';
import type { SimulatedRandom } from './simulated-random.ts';

const delayMillisecondsMax = 2;

/** What can happen to a request or its answer on the way, each by so many of a thousand. */
export interface LinkWeather {
  /** A piece of an answer breaks its connection. */
  readonly breaks: number;
  /** A request that nobody gets. */
  readonly lostRequests: number;
  /** A request of a cut that comes twice: whoever stands between sends it again. */
  readonly repeats: number;
  /** An answer that was given, and does not arrive: whoever asked asks again. */
  readonly lostAnswers: number;
  /** A piece of an answer after which nothing comes. */
  readonly stalls: number;
  /** An answer to a journal read of which a bit arrives otherwise. */
  readonly garbles: number;
}

export const calmWeather: LinkWeather = {
  breaks: 0,
  lostRequests: 0,
  repeats: 0,
  lostAnswers: 0,
  stalls: 0,
  garbles: 0,
};

/** Kinds of what links do to whoever uses them. */
export const linkFaultKinds = [
  'link cut',
  'link cut without a sign',
  'link slow',
  'request lost',
  'answer lost',
  'answer cut off',
  'answer stalled',
  'answer garbled',
  'read repeated',
] as const;
export type LinkFaultKind = (typeof linkFaultKinds)[number];

/** Where requests go. */
export interface LinkServer {
  readonly host: string;
  readonly handler: TransportHandler;
  readonly clock: Clock;
}

/** A request whose answer is not here yet. */
export interface OpenExchange {
  readonly from: string;
  /** Empty until it is known. */
  readonly to: string;
  break(): void;
  /** The link may be there again. */
  goOn(): void;
}

/** The links between the systems of a fleet: any of them may be cut or slow, and answers lost on the way. */
export class SimulatedLinks {
  readonly clock: SimulatedClock;
  readonly random: SimulatedRandom;
  readonly counter: FaultCounter;
  /** Who a system is to another one. */
  identity: PeerIdentity = { kind: 'loopback' };
  weather: LinkWeather = calmWeather;
  readonly #servers = new Map<string, LinkServer>();
  readonly #cut = new Map<string, 'broken' | 'silent'>();
  readonly #slow = new Map<string, number>();
  readonly #open = new Set<OpenExchange>();

  constructor(clock: SimulatedClock, random: SimulatedRandom, counter = new FaultCounter()) {
    this.clock = clock;
    this.random = random.fork('links');
    this.counter = counter;
  }

  get breaksPerThousand(): number {
    return this.weather.breaks;
  }
  set breaksPerThousand(breaks: number) {
    this.weather = { ...this.weather, breaks };
  }

  /** Nothing passes between the two any more; what is under way breaks off, or neither learns of it. */
  cut(a: string, b: string, how: 'broken' | 'silent' = 'broken'): void {
    this.#cut.set(pair(a, b), how);
    this.counter.count(how === 'broken' ? 'link cut' : 'link cut without a sign');
    if (how === 'broken') for (const exchange of this.#between(a, b)) exchange.break();
  }

  mend(a: string, b: string): void {
    this.#cut.delete(pair(a, b));
    this.#slow.delete(pair(a, b));
    for (const exchange of this.#between(a, b)) exchange.goOn();
  }

  /** Everything between the two takes so much longer. */
  delay(a: string, b: string, milliseconds: number): void {
    this.#slow.set(pair(a, b), milliseconds);
    this.counter.count('link slow');
  }

  cutBetween(a: string, b: string): 'broken' | 'silent' | undefined {
    return this.#cut.get(pair(a, b));
  }

  /** It is cut, or slow. */
  isTroubled(a: string, b: string): boolean {
    return this.#cut.has(pair(a, b)) || this.#slow.has(pair(a, b));
  }

  /** Whether it happens now. */
  strikes(what: keyof LinkWeather, counted: LinkFaultKind | 'request repeated'): boolean {
    const perThousand = this.weather[what];
    if (perThousand === 0 || this.random.fraction() * 1000 >= perThousand) return false;
    this.counter.count(counted);
    return true;
  }

  serve(url: string, server: LinkServer): void {
    if (this.#servers.has(url)) throw new JnbdError('address_in_use', `${url} is in use`);
    this.#servers.set(url, server);
  }

  withdraw(url: string, server: LinkServer): void {
    if (this.#servers.get(url) === server) this.#servers.delete(url);
  }

  find(url: string): LinkServer | undefined {
    return this.#servers.get(url);
  }

  opened(exchange: OpenExchange): void {
    this.#open.add(exchange);
  }

  closed(exchange: OpenExchange): void {
    this.#open.delete(exchange);
  }

  /** The process of that host died: whoever talks to it learns of it. */
  hostDied(host: string): void {
    for (const exchange of this.#having(({ from, to }) => from === host || to === host)) {
      exchange.break();
    }
  }

  later(from: string, to: string, run: () => void): void {
    const slow = this.#slow.get(pair(from, to)) ?? 0;
    this.clock.after(this.random.fraction() * (delayMillisecondsMax + slow), run);
  }

  #between(a: string, b: string): OpenExchange[] {
    return this.#having(({ from, to }) => pair(from, to) === pair(a, b));
  }

  #having(isMeant: (exchange: OpenExchange) => boolean): OpenExchange[] {
    return [...this.#open].filter(isMeant);
  }
}

function pair(a: string, b: string): string {
  return [a, b].sort().join('|');
}
