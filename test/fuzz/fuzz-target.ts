import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ListenAddress } from '../../src/platform/network.ts';
import { Child, until } from '../support/children.ts';
import { Daemon } from '../support/daemon.ts';

/** A server in a process of its own, with an export to attack and one that must not notice. */
export interface FuzzTarget {
  readonly addresses: readonly ListenAddress[];
  readonly attacked: string;
  readonly quiet: string;
  readonly volumeBytes: number;
  readonly pid: number;
  /** What it printed, for when it died. */
  readonly output: () => string;
  readonly isRunning: () => boolean;
  readonly stop: () => Promise<void>;
}

const volumeBytes = 16 * 1024 * 1024;

export interface ProcessSample {
  readonly residentBytes: number;
  readonly descriptors: number;
}

export function sampleProcess(pid: number): ProcessSample {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const residentKibibytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
  return {
    residentBytes: residentKibibytes * 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** The NBD server alone, over volumes in memory. */
export async function startMemoryTarget(
  directory: string,
  options: { readonly descriptorsMax?: number } = {},
): Promise<FuzzTarget> {
  const entry = fileURLToPath(new URL('./memory-target.ts', import.meta.url));
  const path = join(directory, 'nbd.sock');
  const limit = options.descriptorsMax === undefined ? '' : `ulimit -n ${options.descriptorsMax};`;
  const child = new Child('sh', [
    '-c',
    `${limit} exec "$@"`,
    'sh',
    process.execPath,
    '--import',
    'tsx',
    entry,
    path,
    String(volumeBytes),
  ]);
  let port = 0;
  await until(
    () => `the server is not ready:\n${child.output}`,
    30,
    () => {
      if (child.exited) throw new Error(`the server ended:\n${child.output}`);
      port = Number(/listening (\d+)/.exec(child.output)?.[1] ?? 0);
      return Promise.resolve(port > 0);
    },
  );
  return {
    addresses: [
      { kind: 'unix', path },
      { kind: 'tcp', host: '127.0.0.1', port },
    ],
    attacked: 'attacked',
    quiet: 'quiet',
    volumeBytes,
    pid: child.pid,
    output: () => child.output,
    isRunning: () => child.exited === undefined,
    stop: async () => {
      child.signal('SIGTERM');
      await child.exit;
    },
  };
}

/** The whole daemon, as built. */
export async function startDaemonTarget(directory: string): Promise<FuzzTarget> {
  const path = join(directory, 'nbd.sock');
  const daemon = await Daemon.start({
    dataDirectory: join(directory, 'data'),
    nbd: [`unix:${path}`],
  });
  await daemon.client('group', 'create', 'g');
  for (const name of ['attacked', 'quiet']) {
    await daemon.client('volume', 'create', `g/${name}`, '--size', String(volumeBytes));
  }
  return {
    addresses: [
      { kind: 'unix', path },
      { kind: 'tcp', host: '127.0.0.1', port: daemon.port },
    ],
    attacked: 'g/attacked',
    quiet: 'g/quiet',
    volumeBytes,
    pid: daemon.pid,
    output: () => daemon.output,
    isRunning: () => daemon.exited === undefined,
    stop: () => daemon.stop(),
  };
}
