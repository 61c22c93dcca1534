import {
  type Errno,
  errno,
  type Export,
  type ExportClient,
  type ExportDirectory,
  type ExportSession,
} from '../group/apply/export.ts';
import { JnbdError, messageOf } from '../platform/errors.ts';
import type { Connection, ConnectionOwner, TlsCredentials } from '../platform/network.ts';
import { Handshake, type HandshakeAction } from './handshake.ts';
import { hasAllocation, type TlsMode } from './negotiation.ts';
import { landing } from './receive-window.ts';
import { Transmission, type TransmissionDeps } from './transmission.ts';
import { NBD_REP_ERR_POLICY, NBD_REP_ERR_SHUTDOWN, NBD_REP_ERR_UNKNOWN } from './wire.ts';

export interface ConnectionDeps extends TransmissionDeps {
  readonly directory: ExportDirectory;
}

export interface ConnectionTerms {
  readonly tlsMode: TlsMode;
  readonly tls: TlsCredentials | undefined;
}

/** For status. */
export interface ConnectionStatus {
  readonly peer: string;
  /** The export's full name; `undefined` during the handshake. */
  readonly exportName: string | undefined;
  readonly isSecure: boolean;
  /** Monotonic. */
  readonly startedAt: number;
}

/** One connection's life: handshake, transmission, end. */
export class NbdConnection implements ConnectionOwner, ExportClient {
  readonly #connection: Connection;
  readonly #deps: ConnectionDeps;
  readonly #terms: ConnectionTerms;
  readonly #closed: (connection: NbdConnection) => void;
  readonly #handshake: Handshake;
  /** Monotonic, for the time limit on the handshake. */
  readonly startedAt: number;
  #transmission: Transmission | undefined;
  #exportName: string | undefined;
  #isSecure = false;
  #isOver = false;
  #untakenBytes = 0;
  #stalledSince: number | undefined;

  constructor(
    connection: Connection,
    deps: ConnectionDeps,
    terms: ConnectionTerms,
    closed: (connection: NbdConnection) => void,
  ) {
    this.#connection = connection;
    this.#deps = deps;
    this.#terms = terms;
    this.#closed = closed;
    this.#handshake = new Handshake(deps.directory, terms.tlsMode);
    this.startedAt = deps.clock.monotonicMilliseconds();
  }

  get peer(): string {
    return this.#connection.peer;
  }

  get status(): ConnectionStatus {
    const { peer, startedAt } = this;
    return { peer, exportName: this.#exportName, isSecure: this.#isSecure, startedAt };
  }

  get isInHandshake(): boolean {
    return !this.#transmission;
  }

  /** For a slab or a reply buffer. */
  get isWaitingForMemory(): boolean {
    return this.#transmission?.isWaitingForMemory ?? false;
  }

  start(): void {
    this.#connection.start(this);
    this.#act(this.#handshake.greet());
  }

  receiveBuffer(): Uint8Array {
    return this.#transmission?.receiveBuffer() ?? landing;
  }

  received(count: number): void {
    if (this.#transmission) {
      this.#transmission.received(count);
      return;
    }
    if (this.#isOver) return;
    this.#act(this.#handshake.receive(landing.subarray(0, count)));
    this.#hold();
  }

  /** A client that does not take the answers to its options is not answered further. */
  #hold(): void {
    if (this.#transmission || this.#isOver || !this.#handshake.isHeld) return;
    this.#connection.pause();
    if (this.#connection.pendingBytes === 0) this.#deps.clock.soon(() => this.#proceed());
  }

  #proceed(): void {
    if (this.#transmission || this.#isOver) return;
    this.#act(this.#handshake.proceed());
    if (this.#handshake.isHeld) this.#hold();
    else this.#connection.resume();
  }

  ended(): void {
    if (this.#transmission) this.#transmission.ended();
    else this.#connection.end();
  }

  drained(): void {
    if (this.#transmission) this.#transmission.drained();
    else if (this.#handshake.isHeld) this.#proceed();
  }

  secured(): void {
    this.#isSecure = true;
    this.#act(this.#handshake.secured());
  }

  closed(): void {
    this.#isOver = true;
    this.#transmission?.closed();
    this.#closed(this);
  }

  admitted(): void {
    this.#transmission?.admitted();
  }

  durableReached(): void {
    this.#transmission?.durableReached();
  }

  durableFailed(from: number, error: Errno, text: string): void {
    this.#transmission?.durableFailed(from, error, text);
  }

  readCompleted(token: number, error: number): void {
    this.#transmission?.readCompleted(token, error);
  }

  revoke(): void {
    this.shutDown();
  }

  /** What is in flight is answered, new options and requests are refused, then the connection ends. */
  shutDown(): void {
    if (this.#transmission) {
      this.#transmission.shutDown();
      return;
    }
    this.#handshake.shutDown();
  }

  /** What waits to become answerable is answered with ESHUTDOWN. */
  giveUp(): void {
    this.#transmission?.durableFailed(0, errno.ESHUTDOWN, 'the server is shutting down');
  }

  destroy(): void {
    this.#connection.destroy();
  }

  sweep(isPressed: boolean): void {
    this.#transmission?.sweep(isPressed);
  }

  /** Since when this client takes nothing of what is sent to it; `undefined` while it does. */
  stalledSince(now: number): number | undefined {
    const untaken = this.#connection.untakenBytes;
    const isStalled = untaken > 0 && untaken === this.#untakenBytes;
    this.#untakenBytes = untaken;
    if (!isStalled) this.#stalledSince = untaken > 0 ? now : undefined;
    return isStalled ? this.#stalledSince : undefined;
  }

  #act(actions: HandshakeAction[]): void {
    const bytes: Uint8Array[] = [];
    const flush = (): void => {
      if (bytes.length > 0) this.#connection.send(Buffer.concat(bytes.splice(0)));
    };
    for (const action of actions) {
      switch (action.kind) {
        case 'send':
          bytes.push(action.bytes);
          break;
        case 'secure':
          flush();
          this.#secure();
          break;
        case 'open':
          flush();
          this.#open(action.exportName);
          break;
        case 'close':
          flush();
          this.#isOver = true;
          this.#connection.end();
          break;
        case 'destroy':
          flush();
          this.#isOver = true;
          this.#connection.destroy();
          break;
      }
    }
    flush();
  }

  #secure(): void {
    const { tls } = this.#terms;
    if (tls) this.#connection.secure(tls);
    else this.#connection.destroy();
  }

  #open(exportName: string): void {
    const found = this.#deps.directory.find(exportName);
    if (!found) {
      const text = `there is no export named ${exportName} any more`;
      this.#act(this.#handshake.refused(NBD_REP_ERR_UNKNOWN, text));
      return;
    }
    let session: ExportSession;
    try {
      session = found.open(this);
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      const isShutdown = error.code === 'shutting_down';
      const type = isShutdown ? NBD_REP_ERR_SHUTDOWN : NBD_REP_ERR_POLICY;
      this.#act(this.#handshake.refused(type, messageOf(error)));
      return;
    }
    this.#exportName = found.name;
    this.#begin(found, session, exportName);
  }

  #begin(found: Export, session: ExportSession, exportName: string): void {
    const handshake = this.#handshake;
    this.#act(handshake.opened(found));
    const { negotiated } = handshake;
    const transmission = new Transmission(
      this.#deps,
      this.#connection,
      session,
      {
        replyForm: negotiated.replyForm,
        hasAllocation: hasAllocation(negotiated, exportName),
      },
      () => this.#connection.end(),
      () => this.#connection.destroy(),
    );
    this.#transmission = transmission;
    this.#connection.resume();
    transmission.begin(handshake.takeRest());
  }
}
