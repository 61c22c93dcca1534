import type { ExportDirectory } from '../group/apply/export.ts';
import type { Clock, Timer } from '../platform/clock.ts';
import { JnbdError } from '../platform/errors.ts';
import { MiB } from '../platform/limits.ts';
import {
  type Connection,
  formatAddress,
  type ListenAddress,
  type Listener,
  type Network,
  type TlsCredentials,
} from '../platform/network.ts';
import { type ConnectionStatus, NbdConnection } from './connection.ts';
import type { TlsMode } from './negotiation.ts';
import { ReplyBufferPool } from './reply-buffers.ts';

export interface NbdServerDeps {
  readonly network: Network;
  readonly clock: Clock;
  readonly exports: ExportDirectory;
}

export interface NbdServerOptions {
  /** `off` by default; the others need `tls`. */
  readonly tlsMode?: TlsMode;
  readonly tls?: TlsCredentials;
  /** Allows TCP beyond loopback without TLS (SAFETY 33). */
  readonly insecure?: boolean;
  /** Bound on the memory for replies of all connections. */
  readonly replyBytesMax?: number;
  readonly connectionsMax?: number;
  /** From accept to the first request. */
  readonly handshakeMilliseconds?: number;
}

const replyBytesMaxDefault = 16 * MiB;
const connectionsMaxDefault = 1024;
const handshakeMillisecondsDefault = 30_000;
const sweepMilliseconds = 1_000;
const farewellMilliseconds = 100;
/** While memory for replies is short, a client that has taken nothing for this long loses its connection. */
const stallMillisecondsMax = 500;
/** How soon, and how often, it is looked into when memory is short. */
const reliefMilliseconds = 50;

/** Serves the exports of a directory over TCP and Unix sockets. */
export class NbdServer {
  readonly #deps: NbdServerDeps;
  readonly #options: NbdServerOptions;
  readonly #replies: ReplyBufferPool;
  readonly #connections = new Set<NbdConnection>();
  readonly #listeners: Listener[] = [];
  #sweep: Timer | undefined;
  #relief: Timer | undefined;
  readonly #pressed = (): void => this.#relieveSoon();
  #isStopping = false;
  #whenForgotten: (() => void) | undefined;

  constructor(deps: NbdServerDeps, options: NbdServerOptions = {}) {
    const tlsMode = options.tlsMode ?? 'off';
    if (tlsMode !== 'off' && !options.tls) {
      throw new JnbdError(
        'configuration_invalid',
        `TLS mode ${tlsMode} needs certificates or pre-shared keys, and there are none`,
      );
    }
    this.#deps = deps;
    this.#options = options;
    this.#replies = new ReplyBufferPool(options.replyBytesMax ?? replyBytesMaxDefault);
  }

  /**
   * Listens on every address, or on none: the first that fails is thrown as JnbdError
   * (`address_not_allowed`, `address_in_use`). Returns the addresses as bound.
   */
  async listen(addresses: readonly ListenAddress[]): Promise<ListenAddress[]> {
    for (const address of addresses) this.#assertAllowed(address);
    const bound: Listener[] = [];
    try {
      for (const address of addresses) {
        bound.push(await this.#deps.network.listen(address, (each) => this.#accept(each)));
      }
    } catch (error) {
      for (const listener of bound) listener.close();
      throw error;
    }
    this.#listeners.push(...bound);
    this.#sweepLater();
    return bound.map((listener) => listener.address);
  }

  /** One entry per client, also of those still shaking hands. */
  connections(): ConnectionStatus[] {
    return [...this.#connections].map((connection) => connection.status);
  }

  /** Reply buffers in use; 0 when every client has read its answers. */
  get replyBuffersInUse(): number {
    return this.#replies.inUse;
  }

  /**
   * Accepts nobody any more, answers what is in flight, and closes. After `deadlineMilliseconds`
   * whoever is still connected is cut off.
   */
  async stop(deadlineMilliseconds: number): Promise<void> {
    this.#isStopping = true;
    for (const listener of this.#listeners.splice(0)) listener.close();
    for (const connection of this.#connections) connection.shutDown();
    const { clock } = this.#deps;
    const deadline = clock.monotonicMilliseconds() + deadlineMilliseconds;
    // Whoever only shakes hands has nothing in flight: long enough to be told, and no longer.
    const grace = Math.min(deadlineMilliseconds, farewellMilliseconds);
    await this.#whenGone(grace, () => this.#connections.size === 0);
    for (const connection of this.#connections) if (connection.isInHandshake) connection.destroy();
    const left = Math.max(0, deadline - clock.monotonicMilliseconds());
    await this.#whenGone(left, () => this.#connections.size === 0);
    // What still waits, for followers or for a disk, may stand or not: nobody is told that it does.
    for (const connection of this.#connections) connection.giveUp();
    if (deadlineMilliseconds > 0)
      await this.#whenGone(farewellMilliseconds, () => this.#connections.size === 0);
    for (const connection of this.#connections) connection.destroy();
    this.#sweep?.cancel();
    this.#relief?.cancel();
    this.#sweep = this.#relief = undefined;
  }

  /** Waits until `isDone`, which is asked whenever a connection is gone, or for so long. */
  async #whenGone(milliseconds: number, isDone: () => boolean): Promise<void> {
    if (isDone()) return;
    await new Promise<void>((resolve) => {
      const timer = this.#deps.clock.after(milliseconds, resolve);
      this.#whenForgotten = () => {
        if (!isDone()) return;
        timer.cancel();
        resolve();
      };
    });
    this.#whenForgotten = undefined;
  }

  #assertAllowed(address: ListenAddress): void {
    if (address.kind === 'unix' || isLoopback(address.host)) return;
    if (this.#options.tlsMode === 'require' || this.#options.insecure === true) return;
    throw new JnbdError(
      'address_not_allowed',
      `${formatAddress(address)} can be reached from other machines: require TLS ` +
        '(certificates or pre-shared keys), listen on loopback, or say --insecure',
    );
  }

  #accept(connection: Connection): void {
    if (this.#isStopping) {
      connection.destroy();
      return;
    }
    if (this.#connections.size >= (this.#options.connectionsMax ?? connectionsMaxDefault)) {
      // Somebody who has not even said what it wants makes place for the newcomer.
      const oldest = [...this.#connections].find((each) => each.isInHandshake);
      if (!oldest) {
        connection.destroy();
        return;
      }
      this.#forget(oldest);
      oldest.destroy();
    }
    const { exports: directory, clock } = this.#deps;
    const accepted = new NbdConnection(
      connection,
      { clock, replies: this.#replies, directory, pressed: this.#pressed },
      { tlsMode: this.#options.tlsMode ?? 'off', tls: this.#options.tls },
      (closed) => this.#forget(closed),
    );
    this.#connections.add(accepted);
    accepted.start();
  }

  #forget(connection: NbdConnection): void {
    this.#connections.delete(connection);
    this.#whenForgotten?.();
  }

  #sweepLater(): void {
    this.#sweep ??= this.#deps.clock.after(sweepMilliseconds, () => {
      this.#sweep = undefined;
      this.#endSlowHandshakes();
      for (const connection of this.#connections) connection.sweep(false);
      if (!this.#isStopping) this.#sweepLater();
    });
  }

  #endSlowHandshakes(): void {
    const now = this.#deps.clock.monotonicMilliseconds();
    const max = this.#options.handshakeMilliseconds ?? handshakeMillisecondsDefault;
    for (const connection of this.#connections) {
      if (connection.isInHandshake && now - connection.startedAt > max) connection.destroy();
    }
  }

  /** Memory is short: looks soon, and again until it is not, for who can do without. */
  #relieveSoon(): void {
    this.#relief ??= this.#deps.clock.after(reliefMilliseconds, () => {
      this.#relief = undefined;
      let isShort = false;
      for (const connection of this.#connections) {
        connection.sweep(true);
        if (connection.isWaitingForMemory) isShort = true;
      }
      if (!isShort) return;
      this.#relieveSoon();
      if (!this.#replies.isExhausted) return;
      const now = this.#deps.clock.monotonicMilliseconds();
      for (const connection of this.#connections) {
        const since = connection.stalledSince(now);
        // Others wait for memory that this one holds and does not take.
        if (since !== undefined && now - since > stallMillisecondsMax) connection.destroy();
      }
    });
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
