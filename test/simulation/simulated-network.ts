import { must } from '../../src/platform/assert.ts';
import type { Clock } from '../../src/platform/clock.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import {
  type Connection,
  type ConnectionOwner,
  formatAddress,
  type ListenAddress,
  type Listener,
  type Network,
} from '../../src/platform/network.ts';
import { KiB } from '../../src/platform/limits.ts';
import type { SimulatedClock } from './simulated-clock.ts';
import type { SimulatedRandom } from './simulated-random.ts';

/** What the client's end of a connection is told. */
export interface ClientOwner {
  /** The bytes are the owner's. */
  received(bytes: Buffer): void;
  /** The connection is gone; nothing else will be called. */
  closed(): void;
}

const delayMillisecondsMax = 0.2;
/** Most chunks are of the size that a busy socket delivers, some cut where no sender would. */
const chunkBytesChoices = [1, 27, 29, 500, 4 * KiB, 64 * KiB, 64 * KiB, 256 * KiB, 256 * KiB];

/**
 * A network in memory. Bytes arrive in order, in chunks of any size, after random times; what was
 * sent by a process that died may still arrive or not.
 */
export class SimulatedNetwork {
  readonly #clock: SimulatedClock;
  readonly #random: SimulatedRandom;
  readonly #listeners = new Map<string, (link: Link) => void>();

  constructor(clock: SimulatedClock, random: SimulatedRandom) {
    this.#clock = clock;
    this.#random = random.fork('network');
  }

  /** The network as one process uses it. */
  attach(processClock: Clock): SimulatedProcessNetwork {
    return new SimulatedProcessNetwork(this, processClock, this.#random);
  }

  /** `undefined`: nobody listens there. */
  connect(address: ListenAddress, owner: ClientOwner): ClientEnd | undefined {
    const accept = this.#listeners.get(formatAddress(address));
    if (!accept) return undefined;
    const link = new Link(this.#clock, this.#random, owner);
    accept(link);
    return link.client;
  }

  bind(address: ListenAddress, accept: (link: Link) => void): void {
    const name = formatAddress(address);
    if (this.#listeners.has(name)) {
      throw new JnbdError('address_in_use', `${name} is in use by another process`);
    }
    this.#listeners.set(name, accept);
  }

  unbind(address: ListenAddress): void {
    this.#listeners.delete(formatAddress(address));
  }
}

/** One process's listeners and connections: they end with it. */
export class SimulatedProcessNetwork implements Network {
  readonly #network: SimulatedNetwork;
  readonly #clock: Clock;
  readonly #random: SimulatedRandom;
  readonly #links = new Set<Link>();
  readonly #addresses: ListenAddress[] = [];
  #peers = 0;
  #isDead = false;

  constructor(network: SimulatedNetwork, clock: Clock, random: SimulatedRandom) {
    this.#network = network;
    this.#clock = clock;
    this.#random = random;
  }

  listen(address: ListenAddress, accept: (connection: Connection) => void): Promise<Listener> {
    // Nothing that a dead process asks for ever happens.
    if (this.#isDead) return new Promise(() => undefined);
    this.#network.bind(address, (link) => {
      this.#peers += 1;
      const { server } = link.join(this.#clock, this.#random, `10.0.0.9:${40_000 + this.#peers}`);
      this.#links.add(link);
      link.whenClosed = () => this.#links.delete(link);
      this.#clock.soon(() => accept(server));
    });
    this.#addresses.push(address);
    return Promise.resolve({ address, close: () => this.#network.unbind(address) });
  }

  kill(): void {
    this.#isDead = true;
    for (const address of this.#addresses) this.#network.unbind(address);
    for (const link of this.#links) link.processDied();
    this.#links.clear();
  }
}

/** The wire between two ends, and what is on it. */
class Link {
  readonly client: ClientEnd;
  readonly clock: SimulatedClock;
  readonly random: SimulatedRandom;
  readonly #owner: ClientOwner;
  #server: ServerEnd | undefined;
  whenClosed: () => void = () => undefined;
  /** Bytes under way to the client arrive no earlier than those before them. */
  #arrivalMilliseconds = 0;
  #isClientGone = false;

  constructor(clock: SimulatedClock, random: SimulatedRandom, owner: ClientOwner) {
    this.clock = clock;
    this.random = random;
    this.#owner = owner;
    this.client = new ClientEnd(this);
  }

  join(clock: Clock, random: SimulatedRandom, peer: string): { readonly server: ServerEnd } {
    this.#server = new ServerEnd(this, clock, random, peer);
    return { server: this.#server };
  }

  get server(): ServerEnd {
    return must(this.#server, 'a link was joined');
  }

  get isClientGone(): boolean {
    return this.#isClientGone;
  }

  clientLeft(): void {
    this.#isClientGone = true;
  }

  toClient(bytes: Buffer): void {
    this.#arrive(() => this.#owner.received(bytes));
  }

  /** After what is under way. */
  closeClient(): void {
    this.#arrive(() => {
      this.#isClientGone = true;
      this.#owner.closed();
    });
  }

  #arrive(run: () => void): void {
    const now = this.clock.monotonicMilliseconds();
    const delay = this.random.fraction() * delayMillisecondsMax;
    this.#arrivalMilliseconds = Math.max(this.#arrivalMilliseconds, now + delay);
    this.clock.after(this.#arrivalMilliseconds - now, () => {
      if (!this.#isClientGone) run();
    });
  }

  processDied(): void {
    this.server.die();
    // What the kernel had already taken may have left, or not.
    if (this.random.chance(0.5)) this.closeClient();
    else {
      this.#isClientGone = true;
      this.clock.after(delayMillisecondsMax, () => this.#owner.closed());
    }
  }
}

/** The host's end. */
export class ClientEnd {
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  /** `bytes` must not change any more. */
  send(bytes: Uint8Array): void {
    this.#link.server.queue(bytes);
  }

  /** Sends nothing more; answers still arrive. */
  end(): void {
    this.#link.server.queueEnd();
  }

  /** Gone at once; `closed` is not called. */
  destroy(): void {
    this.#link.clientLeft();
    this.#link.server.clientDestroyed();
  }
}

/** The daemon's end, as `Connection` promises it to behave. */
class ServerEnd implements Connection {
  readonly peer: string;
  readonly sendsFiles = false;
  readonly #link: Link;
  readonly #clock: Clock;
  readonly #random: SimulatedRandom;
  #owner: ConnectionOwner | undefined;
  /** Where the next bytes go; asked for ahead, as a real socket does. */
  #armed: Uint8Array | undefined;
  #incoming: Uint8Array[] = [];
  #incomingStart = 0;
  #hasEnd = false;
  #isDelivering = false;
  #isPaused = false;
  #isClosed = false;
  #isEnding = false;
  /** Sent, and still the owner's memory until taken. */
  #untaken: Uint8Array[] = [];
  #pendingBytes = 0;

  constructor(link: Link, clock: Clock, random: SimulatedRandom, peer: string) {
    this.#link = link;
    this.#clock = clock;
    this.#random = random;
    this.peer = peer;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get untakenBytes(): number {
    return this.#pendingBytes;
  }

  sendFile(): number {
    return 0;
  }

  start(owner: ConnectionOwner): void {
    this.#owner = owner;
    this.#deliverSoon();
  }

  queue(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    this.#incoming.push(bytes);
    this.#deliverSoon();
  }

  queueEnd(): void {
    this.#hasEnd = true;
    this.#deliverSoon();
  }

  #deliverSoon(): void {
    if (this.#isDelivering || this.#isPaused || this.#isClosed || !this.#owner) return;
    if (this.#incoming.length === 0 && !this.#hasEnd) return;
    this.#isDelivering = true;
    const run = (): void => {
      this.#isDelivering = false;
      this.#deliver();
    };
    if (this.#random.chance(0.5)) this.#clock.soon(run);
    else this.#clock.after(this.#random.fraction() * delayMillisecondsMax, run);
  }

  #deliver(): void {
    const owner = this.#owner;
    if (this.#isClosed || !owner) return;
    if (this.#isEnding) this.#drop();
    if (this.#incoming.length > 0) {
      const room = this.#armed ?? owner.receiveBuffer();
      const count = this.#fill(room, this.#random.pick(chunkBytesChoices));
      this.#armed = undefined;
      owner.received(count);
      if (!this.#isOver() && this.#random.chance(0.5)) this.#armed = owner.receiveBuffer();
    } else if (this.#hasEnd) {
      this.#hasEnd = false;
      if (this.#isEnding) this.#close();
      else owner.ended();
    }
    this.#deliverSoon();
  }

  #isOver(): boolean {
    return this.#isClosed || this.#isEnding;
  }

  /** Puts up to `countMax` of what arrived into `room`. */
  #fill(room: Uint8Array, countMax: number): number {
    let count = 0;
    const end = Math.min(room.length, countMax);
    while (count < end) {
      const first = this.#incoming[0];
      if (!first) break;
      const part = Math.min(end - count, first.length - this.#incomingStart);
      room.set(first.subarray(this.#incomingStart, this.#incomingStart + part), count);
      count += part;
      this.#incomingStart += part;
      if (this.#incomingStart === first.length) {
        this.#incoming.shift();
        this.#incomingStart = 0;
      }
    }
    return count;
  }

  send(bytes: Uint8Array): number {
    if (this.#isOver() || bytes.length === 0) return 0;
    if (this.#pendingBytes === 0 && this.#random.chance(0.7)) {
      this.#link.toClient(Buffer.from(bytes));
      return 0;
    }
    // Copied only when taken: whoever changes it meanwhile shows the client what nobody sent.
    this.#untaken.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#untaken.length === 1) this.#takeLater();
    return this.#pendingBytes;
  }

  #takeLater(): void {
    this.#clock.after(this.#random.fraction() * delayMillisecondsMax, () => this.#take());
  }

  #take(): void {
    if (this.#isClosed) return;
    for (const bytes of this.#untaken.splice(0)) {
      this.#link.toClient(Buffer.from(bytes));
      this.#pendingBytes -= bytes.length;
    }
    if (this.#isEnding) this.#finish();
    else this.#owner?.drained();
  }

  secure(): void {
    this.destroy();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#deliverSoon();
  }

  renewReceiveBuffer(): boolean {
    if (this.#armed !== undefined) this.#armed = this.#owner?.receiveBuffer();
    return true;
  }

  end(): void {
    if (this.#isOver()) return;
    this.#isEnding = true;
    this.#drop();
    if (this.#pendingBytes === 0) this.#finish();
  }

  /** What still arrives is read and dropped. */
  #drop(): void {
    this.#armed = undefined;
    this.#incoming = [];
    this.#incomingStart = 0;
  }

  #finish(): void {
    this.#link.closeClient();
    this.#clock.after(delayMillisecondsMax, () => this.#close());
  }

  destroy(): void {
    if (this.#isClosed) return;
    this.#isEnding = true;
    this.#drop();
    this.#link.closeClient();
    this.#clock.soon(() => this.#close());
  }

  clientDestroyed(): void {
    this.#clock.after(this.#random.fraction() * delayMillisecondsMax, () => this.#close());
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#untaken = [];
    this.#pendingBytes = 0;
    this.#link.whenClosed();
    this.#owner?.closed();
  }

  die(): void {
    this.#isClosed = true;
  }
}
