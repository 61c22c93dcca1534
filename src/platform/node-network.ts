import { existsSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import { dirname } from 'node:path';
import { JnbdError, messageOf, systemErrorCode } from './errors.ts';
import { socketPathBytesMax } from './limits.ts';
import { NodeConnection } from './node-connection.ts';
import { formatAddress, type ListenAddress, type Listener, type Network } from './network.ts';

/** A peer that vanished without a word is noticed by the kernel after about this long. */
const keepAliveMilliseconds = 30_000;

export const nodeNetwork: Network = {
  async listen(address, accept) {
    // Node would cut it off and listen there.
    if (address.kind === 'unix' && Buffer.byteLength(address.path) > socketPathBytesMax) {
      refuse(address, `the path of a Unix socket has at most ${socketPathBytesMax} bytes`);
    }
    try {
      return await listenOnce(address, accept);
    } catch (error) {
      if (address.kind === 'unix' && systemErrorCode(error) === 'EADDRINUSE') {
        if (await isAbandoned(address.path)) {
          unlinkSync(address.path);
          return listenOnce(address, accept).catch((again: unknown) => refuse(address, again));
        }
      }
      return refuse(address, error);
    }
  },
};

function refuse(address: ListenAddress, cause: unknown): never {
  const isTaken = systemErrorCode(cause) === 'EADDRINUSE';
  throw new JnbdError(
    isTaken ? 'address_in_use' : 'address_not_allowed',
    isTaken
      ? `${formatAddress(address)} is in use by another process; give another address or stop that process`
      : `cannot listen on ${formatAddress(address)}: ${reasonOf(address, cause)}`,
    { cause },
  );
}

/** For a socket whose directory is missing the system's word is "permission denied". */
function reasonOf(address: ListenAddress, cause: unknown): string {
  if (address.kind === 'unix') {
    const directory = dirname(address.path);
    if (!existsSync(directory)) return `the directory ${directory} does not exist`;
  }
  return messageOf(cause);
}

function listenOnce(
  address: ListenAddress,
  accept: (connection: NodeConnection) => void,
): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const server = net.createServer({
      // Nothing may be read before the owner has said where to.
      pauseOnConnect: true,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveMilliseconds,
    });
    server.on('connection', (socket) => {
      accept(new NodeConnection(socket, address.kind === 'unix' ? address.path : undefined));
    });
    server.once('error', reject);
    const listening = (): void => {
      server.off('error', reject);
      // From here on an error is a failed accept (EMFILE, ECONNABORTED): the next may succeed.
      server.on('error', () => undefined);
      const bound = server.address();
      resolve({
        address:
          address.kind === 'tcp' && typeof bound === 'object' && bound !== null
            ? { kind: 'tcp', host: bound.address, port: bound.port }
            : address,
        close: () => {
          server.close();
        },
      });
    };
    if (address.kind === 'tcp') server.listen(address.port, address.host, listening);
    else server.listen(address.path, listening);
  });
}

/** A socket file that nobody accepts on was left by a process that died. */
function isAbandoned(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error) => resolve(systemErrorCode(error) === 'ECONNREFUSED'));
  });
}
