/** A row of the table: one load, put on every server in turn. */
export interface Row {
  readonly id: string;
  readonly label: string;
  /** What is counted. */
  readonly unit: 'thousand operations/s' | 'GB/s';
  /** The least ratio to the best other server; `undefined` where we only show. */
  readonly bar: number | undefined;
  readonly access: 'write' | 'read' | 'mixed';
  /** What of the volume is in the page cache when the clock starts. */
  readonly cache: 'warm' | 'cold';
  readonly isEncrypted: boolean;
  readonly load: FioLoad | ClientLoad;
}

/** fio's nbd engine. */
export interface FioLoad {
  readonly tool: 'fio';
  readonly arguments: readonly string[];
}

/** `bench-client`: one connection, flushes and FUA. */
export interface ClientLoad {
  readonly tool: 'bench-client';
  readonly arguments: readonly string[];
}

/**
 * The bars: at depth 1 a JavaScript server may cost a tenth; at depth 32 the journal turns random
 * writes into sequential ones and batches pay; large blocks are written twice.
 */
const bars = { depth1: 0.9, depth32: 1.4, other: 1.0, largeRead: 0.75, largeWrite: 0.5 };

/** Where runs are shared between journal and volume instead of copied. */
export const largeWriteBarReflink = 0.7;

function fio(
  id: string,
  label: string,
  access: Row['access'],
  bar: number | undefined,
  args: readonly string[],
  cache: Row['cache'] = 'warm',
): Row {
  const unit = args.includes('--bs=1M') ? 'GB/s' : 'thousand operations/s';
  return {
    id,
    label,
    unit,
    bar,
    access,
    cache,
    isEncrypted: false,
    load: { tool: 'fio', arguments: args },
  };
}

function client(
  id: string,
  label: string,
  bar: number | undefined,
  args: readonly string[],
  isEncrypted = false,
): Row {
  return {
    id,
    label,
    bar,
    isEncrypted,
    unit: 'thousand operations/s',
    access: 'write',
    cache: 'warm',
    load: { tool: 'bench-client', arguments: args },
  };
}

export const rows: readonly Row[] = [
  fio(
    'write-4k-1',
    '4k random write, depth 1',
    'write',
    bars.depth1,
    [['--rw=randwrite', '--bs=4k', '--iodepth=1']].flat(),
  ),
  fio(
    'write-4k-32',
    '4k random write, depth 32',
    'write',
    bars.depth32,
    [['--rw=randwrite', '--bs=4k', '--iodepth=32']].flat(),
  ),
  fio(
    'read-4k-1',
    '4k random read, depth 1',
    'read',
    bars.depth1,
    [['--rw=randread', '--bs=4k', '--iodepth=1']].flat(),
  ),
  fio(
    'read-4k-32',
    '4k random read, depth 32',
    'read',
    bars.depth32,
    [['--rw=randread', '--bs=4k', '--iodepth=32']].flat(),
  ),
  fio(
    'mixed-4k-32',
    '4k random, 70 % reads, depth 32',
    'mixed',
    bars.depth32,
    [['--rw=randrw', '--rwmixread=70', '--bs=4k', '--iodepth=32']].flat(),
  ),
  fio(
    'connections-4k-32',
    '4k random write, 4 connections at depth 32',
    'write',
    bars.depth32,
    [['--rw=randwrite', '--bs=4k', '--iodepth=32', '--numjobs=4']].flat(),
  ),
  fio(
    'write-1m-8',
    '1 MiB sequential write, depth 8',
    'write',
    bars.largeWrite,
    [['--rw=write', '--bs=1M', '--iodepth=8']].flat(),
  ),
  fio(
    'read-1m-8',
    '1 MiB sequential read, depth 8',
    'read',
    bars.largeRead,
    [['--rw=read', '--bs=1M', '--iodepth=8']].flat(),
  ),
  client('fua-4k-1', '4k random FUA write, depth 1', bars.depth1, ['--fua', '--depth=1']),
  client('fua-4k-32', '4k random FUA write, depth 32', bars.depth32, ['--fua', '--depth=32']),
  client(
    'flush-4k-16',
    '4k random write, a flush every 8, depth 16',
    bars.other,
    [['--flush-every=8', '--depth=16']].flat(),
  ),
  client('plain-4k-32', '4k random write, never flushed, depth 32', bars.depth32, ['--depth=32']),
  client('tls-4k-32', '4k random write over TLS, depth 32', undefined, ['--depth=32'], true),
  fio(
    'cold-4k-32',
    '4k random read, nothing cached, depth 32',
    'read',
    undefined,
    ['--rw=randread', '--bs=4k', '--iodepth=32'],
    'cold',
  ),
];

/** A cross-section for `--quick`. */
export const quickRows: readonly string[] = [
  'write-4k-1',
  'write-4k-32',
  'read-4k-32',
  'write-1m-8',
  'read-1m-8',
  'fua-4k-32',
  'flush-4k-16',
];
