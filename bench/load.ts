import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, runChecked } from '../test/support/children.ts';
import { program, requireProgram, testCache } from '../test/support/tools.ts';
import type { Row } from './rows.ts';

/** What a load did until its last answer. */
export interface Measurement {
  readonly operations: number;
  readonly bytes: number;
  readonly bytesWritten: number;
  readonly seconds: number;
  readonly latencyMicroseconds: {
    readonly p50: number;
    readonly p99: number;
    readonly p999: number;
  };
}

export interface LoadTarget {
  readonly uri: string;
  readonly sizeBytes: number;
  readonly seconds: number;
  readonly preSharedKeyFile: string | undefined;
}

export async function putLoad(
  { load }: Pick<Row, 'load'>,
  target: LoadTarget,
): Promise<Measurement> {
  return load.tool === 'fio' ? runFio(load.arguments, target) : runClient(load.arguments, target);
}

interface FioSide {
  readonly total_ios: number;
  readonly io_bytes: number;
  readonly runtime: number;
  readonly clat_ns: { readonly percentile?: Record<string, number> };
}

async function runFio(args: readonly string[], target: LoadTarget): Promise<Measurement> {
  const { stdout } = await runChecked(
    requireProgram('fio'),
    [
      ['--name=row', '--ioengine=nbd', `--uri=${target.uri}`, `--size=${target.sizeBytes}`],
      ['--time_based', `--runtime=${target.seconds}`, '--group_reporting'],
      ['--norandommap', '--randrepeat=0', '--refill_buffers=0'],
      ['--output-format=json', '--percentile_list=50:99:99.9'],
      ...args,
    ].flat(),
    { timeoutSeconds: target.seconds + 120 },
  );
  // The engine prints a line of its own first.
  const report = JSON.parse(stdout.slice(stdout.search(/^\{/m))) as {
    jobs: { read: FioSide; write: FioSide }[];
  };
  const job = report.jobs[0];
  if (!job) throw new Error(`fio reported no job: ${stdout}`);
  const { read, write } = job;
  const slower = write.total_ios > 0 ? write : read;
  const percentile = (name: string) => (slower.clat_ns.percentile?.[name] ?? 0) / 1000;
  return {
    operations: read.total_ios + write.total_ios,
    bytes: read.io_bytes + write.io_bytes,
    bytesWritten: write.io_bytes,
    seconds: Math.max(read.runtime, write.runtime) / 1000,
    latencyMicroseconds: {
      p50: percentile('50.000000'),
      p99: percentile('99.000000'),
      p999: percentile('99.900000'),
    },
  };
}

async function runClient(args: readonly string[], target: LoadTarget): Promise<Measurement> {
  const keys = target.preSharedKeyFile;
  const { stdout } = await runChecked(
    await benchClient(),
    [
      ['--uri', target.uri, '--seconds', String(target.seconds)],
      ['--size', String(target.sizeBytes)],
      ...(keys === undefined ? [] : ['--tls-psk-file', keys]),
      ...args,
    ].flat(),
    { timeoutSeconds: target.seconds + 120 },
  );
  const done = JSON.parse(stdout) as Measurement;
  return { ...done, bytesWritten: args.includes('--read') ? 0 : done.bytes };
}

/** Seconds until a FLUSH is answered: then all that was written before is durable. */
export async function flush(target: Pick<LoadTarget, 'uri' | 'preSharedKeyFile'>): Promise<number> {
  const keys = target.preSharedKeyFile;
  const { stdout } = await runChecked(
    await benchClient(),
    ['--uri', target.uri, '--flush', ...(keys === undefined ? [] : ['--tls-psk-file', keys])],
    { timeoutSeconds: 600 },
  );
  return (JSON.parse(stdout) as { seconds: number }).seconds;
}

let compiled: Promise<string> | undefined;

/** `scripts/bench-client.c`, compiled into the cache when it changed. */
export function benchClient(): Promise<string> {
  compiled ??= compile();
  return compiled;
}

async function compile(): Promise<string> {
  const source = fileURLToPath(new URL('../scripts/bench-client.c', import.meta.url));
  const digest = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const path = join(testCache(), `bench-client-${digest}`);
  if (existsSync(path)) return path;
  mkdirSync(testCache(), { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  const compiler = program('cc') ?? requireProgram('gcc');
  await runChecked(compiler, ['-O2', '-Wall', '-Wextra', '-o', unfinished, source, '-lnbd']);
  renameSync(unfinished, path);
  return path;
}

/** What is missing for measuring, in words; empty when nothing is. */
export async function missingForLoads(): Promise<string[]> {
  const missing = program('fio') === undefined ? ['fio'] : [];
  const compiler = program('cc') ?? program('gcc');
  if (compiler === undefined) return [...missing, 'a C compiler'];
  const probe = await run(compiler, ['-E', '-'], { input: '#include <libnbd.h>\n' });
  return probe.code === 0 ? missing : [...missing, 'libnbd.h (libnbd-dev)'];
}
