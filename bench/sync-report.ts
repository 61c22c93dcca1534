import { type Judged, markdownLines, median, rateOf, ratiosOf, type Result } from './report.ts';
import type { SyncContestant, SyncRow } from './sync-rows.ts';

/** Judged by ours with a synchronous follower to the best mirror. */
export interface SyncRowReport extends Judged {
  readonly label: string;
  readonly ratios: readonly number[];
  /** The same as if the clock had stopped at the last answer. */
  readonly ratioUntilAnswered: number | null;
  readonly measured: Readonly<Partial<Record<SyncContestant, Measured>>>;
  readonly results: readonly Result[];
}

interface Measured {
  /** Thousand operations a second. */
  readonly rate: number;
  readonly p50Microseconds: number;
  readonly p99Microseconds: number;
}

function measure(row: SyncRow, results: readonly Result[]): Measured {
  return {
    rate: median(results.map((result) => rateOf(row, result))),
    p50Microseconds: median(results.map(({ latencyMicroseconds }) => latencyMicroseconds.p50)),
    p99Microseconds: median(results.map(({ latencyMicroseconds }) => latencyMicroseconds.p99)),
  };
}

export function reportSync(row: SyncRow, results: readonly Result[]): SyncRowReport {
  const measured = Object.fromEntries(
    row.contestants.flatMap((name) => {
      const own = results.filter(({ server }) => server === name);
      return own.length > 0 ? [[name, measure(row, own)]] : [];
    }),
  );
  const ratiosIn = (measuredResults: readonly Result[]) =>
    ratiosOf(
      row,
      measuredResults,
      (server) => server === 'synchronous',
      (server) => !server.endsWith('synchronous'),
    );
  const ratios = ratiosIn(results);
  const untilAnswered = ratiosIn(
    results.map((result) => ({
      ...result,
      seconds: result.seconds - result.flushSeconds - result.settlingSeconds,
    })),
  );
  return {
    id: row.id,
    label: row.label,
    bar: row.bar ?? null,
    ratio: ratios.length > 0 ? median(ratios) : null,
    ratios,
    ratioUntilAnswered: untilAnswered.length > 0 ? median(untilAnswered) : null,
    measured,
    results,
  };
}

/** The table for people, in Markdown. */
export function syncTable(reports: readonly SyncRowReport[]): string {
  const head = [
    'thousand operations/s (p50, p99 in ms)',
    'jnbd, synchronous follower',
    'mirror onto qemu-nbd',
    'mirror onto nbdkit',
    'ratio',
    'bar',
    'ratio until the last answer',
    'jnbd, asynchronous follower',
  ];
  const lines = [
    head,
    head.map(() => '---'),
    ...reports.map(({ label, measured, ratio, bar, ratioUntilAnswered }) => [
      label,
      text(measured.synchronous),
      text(measured['qemu-nbd'] ?? measured['unflushed-qemu-nbd']),
      text(measured.nbdkit),
      ratio?.toFixed(2) ?? '-',
      bar === null ? '-' : String(bar),
      ratioUntilAnswered?.toFixed(2) ?? '-',
      text(measured.asynchronous),
    ]),
  ];
  return markdownLines(lines);
}

function text(measured: Measured | undefined): string {
  if (!measured) return '-';
  const { rate, p50Microseconds, p99Microseconds } = measured;
  const milliseconds = (microseconds: number) => (microseconds / 1000).toFixed(2);
  const latency = `${milliseconds(p50Microseconds)}, ${milliseconds(p99Microseconds)}`;
  return `${rate.toFixed(rate < 10 ? 2 : 1)} (${latency})`;
}
