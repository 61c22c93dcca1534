import { closeSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { socketPathBytesMax } from '../platform/limits.ts';

/** Where the daemon of a data directory takes commands. */
export function controlSocketPath(dataDirectory: string): string {
  return join(dataDirectory, 'control.sock');
}

export interface ReachableSocket {
  /** For `listen` and `connect`. */
  readonly path: string;
  /** To be called once it is bound or connected. */
  readonly release: () => void;
}

/** A longer path is reached through the descriptor of its directory. */
export function reachSocket(path: string): ReachableSocket {
  if (Buffer.byteLength(path) <= socketPathBytesMax) return { path, release: () => undefined };
  const descriptor = openSync(dirname(path), 'r');
  return {
    path: `/proc/self/fd/${descriptor}${path.slice(dirname(path).length)}`,
    release: () => closeSync(descriptor),
  };
}
