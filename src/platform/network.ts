/**
 * Stream listeners and their connections, as the NBD server uses them. `node-network.ts` is the real
 * one; a simulation has one in memory.
 */
export type ListenAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

export function formatAddress(address: ListenAddress): string {
  if (address.kind === 'unix') return address.path;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}

/**
 * What a connection tells its owner. Calls never come from within a call of the owner, except that
 * `receiveBuffer` may follow `received` at once.
 */
export interface ConnectionOwner {
  /** Where the next bytes are to be received: at least one byte of room. */
  receiveBuffer(): Uint8Array;
  /** `count` bytes have arrived at the start of the last `receiveBuffer()`. */
  received(count: number): void;
  /** The other side will send nothing more; what it asked before is still to be answered. */
  ended(): void;
  /** All that was sent has left this process. Called only after a `send` that returned more than 0. */
  drained(): void;
  /** TLS, asked for with `secure`, is up: what is received from now on came through it. */
  secured(): void;
  /** The connection is gone; nothing else will be called. */
  closed(): void;
}

/** How a server proves itself and, where wanted, its clients. PEM texts as they stand in the files. */
export interface TlsCredentials {
  readonly certificate?: { readonly authority: string; readonly own: string; readonly key: string };
  /** Keys by identity (pre-shared). */
  readonly preSharedKeys?: ReadonlyMap<string, Uint8Array>;
  readonly clientCertificates: 'optional' | 'required';
}

export interface Connection {
  /** For people: address and port, or the path of the socket. */
  readonly peer: string;
  /** Bytes sent that have not left this process. */
  readonly pendingBytes: number;
  /** The same as the kernel sees it: shrinks with every byte that the other side takes. */
  readonly untakenBytes: number;
  start(owner: ConnectionOwner): void;
  /** Sends in order. `bytes` must not change until `drained`, unless the result, `pendingBytes`, is 0. */
  send(bytes: Uint8Array): number;
  /** Whether `sendFile` is worth trying: not under TLS, and not where the system cannot do it. */
  readonly sendsFiles: boolean;
  /**
   * Sends `bytes[start, end)` and, behind it, `length` bytes of a file from `position` on, without
   * copying them: as much as can leave this process at once, which is 0 while anything is pending.
   * `bytes` is free again on return; the file's pages are referred to until the other side has taken
   * them. Tells nothing of errors: whatever is left and sent by `send` meets them.
   */
  sendFile(
    bytes: Uint8Array,
    start: number,
    end: number,
    descriptor: number,
    position: number,
    length: number,
  ): number;
  /** Starts TLS as the server. `secured` follows, or `closed`. */
  secure(credentials: TlsCredentials): void;
  /** Stops and resumes receiving; a chunk already on its way may still arrive. */
  pause(): void;
  resume(): void;
  /**
   * Lets go of the last `receiveBuffer()`: the next bytes arrive in a new one. False when that is not
   * possible any more; the buffer then stays in use.
   */
  renewReceiveBuffer(): boolean;
  /** Sends what is pending, then closes; what still arrives is dropped. */
  end(): void;
  /** Closes at once; what is pending is dropped. */
  destroy(): void;
}

export interface Listener {
  /** As bound: a port of 0 has become a real one. */
  readonly address: ListenAddress;
  /** Accepts nothing more; connections stay. Removes a Unix socket. */
  close(): void;
}

export interface Network {
  /** Throws JnbdError (address_in_use, address_not_allowed). A failed accept is not an error. */
  listen(address: ListenAddress, accept: (connection: Connection) => void): Promise<Listener>;
}
