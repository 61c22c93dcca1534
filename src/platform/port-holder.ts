import { createServer } from 'node:net';
import { processWithOpen, readIfThere, type RunningProcess } from './running-process.ts';

const listening = '0A';

/** The process that listens on a TCP port of this machine, as far as this user may see (Linux). */
export function holderOfPort(port: number): RunningProcess | undefined {
  const inodes = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readIfThere(table).split('\n').slice(1)) {
      // proc(5): slot, local address, remote address, state, queues, timers, ..., uid, timeout, inode.
      const fields = line.trim().split(/\s+/);
      const localPort = Number.parseInt(fields[1]?.split(':')[1] ?? '', 16);
      if (localPort === port && fields[3] === listening) inodes.add(`socket:[${fields[9] ?? ''}]`);
    }
  }
  return inodes.size === 0 ? undefined : processWithOpen(inodes);
}

/**
 * A port after `port`, none of `except`, that nobody listens on now; `undefined` where none of the next
 * hundred is one.
 */
export async function freePortAfter(
  host: string,
  port: number,
  except: readonly number[],
): Promise<number | undefined> {
  for (let candidate = port + 1; candidate <= Math.min(65535, port + 100); candidate += 1) {
    if (except.includes(candidate)) continue;
    if (await isFree(host, candidate)) return candidate;
  }
  return undefined;
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, host, () => probe.close(() => resolve(true)));
  });
}
