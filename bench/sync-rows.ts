import type { ClientLoad, Row } from './rows.ts';

/**
 * Ours with a synchronous follower and with one that is not, and the other's mirror onto two other servers.
 * Those that are unflushed make nothing durable at the target.
 */
export type SyncContestant = 'synchronous' | 'asynchronous' | MirrorName;
export type MirrorName = 'qemu-nbd' | 'nbdkit' | 'unflushed-qemu-nbd';

const flushedMirrors: readonly MirrorName[] = ['qemu-nbd', 'nbdkit'];
const unflushedMirrors: readonly MirrorName[] = ['unflushed-qemu-nbd'];

export interface SyncRow extends Row {
  readonly load: ClientLoad;
  readonly contestants: readonly SyncContestant[];
}

function row(
  id: string,
  label: string,
  bar: number | undefined,
  mirrors: readonly MirrorName[],
  args: readonly string[],
): SyncRow {
  return {
    id,
    label,
    bar,
    unit: 'thousand operations/s',
    access: 'write',
    cache: 'warm',
    isEncrypted: false,
    load: { tool: 'bench-client', arguments: args },
    contestants: ['synchronous', 'asynchronous', ...mirrors],
  };
}

export const syncRows: readonly SyncRow[] = [
  row('fua-4k-1', '4k random FUA write, depth 1', 1, flushedMirrors, ['--fua', '--depth=1']),
  row('fua-4k-32', '4k random FUA write, depth 32', 1.5, flushedMirrors, ['--fua', '--depth=32']),
  row('plain-4k-1', '4k random write, never flushed, depth 1', undefined, unflushedMirrors, [
    '--depth=1',
  ]),
  row('plain-4k-32', '4k random write, never flushed, depth 32', undefined, unflushedMirrors, [
    '--depth=32',
  ]),
];
