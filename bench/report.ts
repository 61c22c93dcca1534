import { readFileSync, writeFileSync } from 'node:fs';
import type { Measurement } from './load.ts';
import type { Row } from './rows.ts';

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** One row, one server, one round. `seconds` includes the last FLUSH and the time until all was applied. */
export interface Result extends Measurement {
  readonly round: number;
  readonly server: string;
  /** What of `seconds` was the FLUSH behind the last write. */
  readonly flushSeconds: number;
  /** What of `seconds` was waiting, after the last answer, for the rest to be applied. */
  readonly settlingSeconds: number;
}

/** What a row is judged by. */
export interface Judged {
  readonly id: string;
  readonly bar: number | null;
  /** Median over the rounds of ours to the best other of the round; null without both. */
  readonly ratio: number | null;
}

export interface RowReport extends Judged {
  readonly label: string;
  readonly unit: Row['unit'];
  readonly ratios: readonly number[];
  /** The same as if the clock had stopped before the last FLUSH. */
  readonly ratioWithoutFlush: number | null;
  /** Median rate of each server in `unit`. */
  readonly rates: Readonly<Record<string, number>>;
  readonly results: readonly Result[];
}

export function rateOf(row: Row, result: Measurement): number {
  return row.unit === 'GB/s'
    ? result.bytes / result.seconds / 1e9
    : result.operations / result.seconds / 1000;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** Of each round: ours to the best other. */
export function ratiosOf(
  row: Row,
  results: readonly Result[],
  isOwn: (server: string) => boolean,
  isOther: (server: string) => boolean,
): number[] {
  return results
    .filter(({ server }) => isOwn(server))
    .flatMap((own) => {
      const others = results.filter(({ server, round }) => isOther(server) && round === own.round);
      if (others.length === 0) return [];
      return [rateOf(row, own) / Math.max(...others.map((other) => rateOf(row, other)))];
    });
}

export function reportRow(
  row: Row,
  bar: number | undefined,
  own: string,
  results: readonly Result[],
): RowReport {
  const servers = [...new Set(results.map((result) => result.server))];
  const ratiosIn = (measured: readonly Result[]) =>
    ratiosOf(
      row,
      measured,
      (server) => server === own,
      (server) => server !== own,
    );
  const ratios = ratiosIn(results);
  const withoutFlush = ratiosIn(
    results.map((result) => ({ ...result, seconds: result.seconds - result.flushSeconds })),
  );
  const rates = servers.map((server) => {
    const rounds = results.filter((result) => result.server === server);
    return [server, median(rounds.map((result) => rateOf(row, result)))] as const;
  });
  return {
    id: row.id,
    label: row.label,
    unit: row.unit,
    bar: bar ?? null,
    ratio: ratios.length > 0 ? median(ratios) : null,
    ratios,
    ratioWithoutFlush: withoutFlush.length > 0 ? median(withoutFlush) : null,
    rates: Object.fromEntries(rates),
    results,
  };
}

/** Below the share of its bar that counts (1, or less for a quick look). */
export function missedBars<Report extends Judged>(
  reports: readonly Report[],
  share: number,
): Report[] {
  return reports.filter(({ bar, ratio }) => bar !== null && ratio !== null && ratio < bar * share);
}

function rateText(unit: Row['unit'], rate: number | undefined): string {
  if (rate === undefined) return '-';
  return unit === 'GB/s' ? `${rate.toFixed(2)} GB/s` : rate.toFixed(rate < 10 ? 1 : 0);
}

/** The table for people, in Markdown. */
export function markdownTable(reports: readonly RowReport[], servers: readonly string[]): string {
  const head = [
    'thousand operations/s',
    ...servers,
    'ratio to the best other',
    'bar',
    'ratio without the last flush',
  ];
  const lines = [head, head.map(() => '---')];
  for (const report of reports) {
    lines.push([
      report.label,
      ...servers.map((server) => rateText(report.unit, report.rates[server])),
      report.ratio === null ? '-' : report.ratio.toFixed(2),
      report.bar === null ? '-' : String(report.bar),
      report.ratioWithoutFlush === null ? '-' : report.ratioWithoutFlush.toFixed(2),
    ]);
  }
  return markdownLines(lines);
}

/** Lines of cells, the second one under the head. */
export function markdownLines(lines: readonly (readonly string[])[]): string {
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

export function sayMissed(missed: readonly Judged[], share: number): void {
  for (const { id, ratio, bar } of missed) {
    say(`below ${share} of its bar: ${id}: ${ratio?.toFixed(2)} of ${bar}`);
  }
}

/** What every benchmark of rows was asked for. */
interface Asked {
  readonly command: string;
  readonly seconds?: number;
  readonly rounds: number;
  readonly sizeBytes: number;
}

/** Everything that was measured, as JSON. */
export function writeReport(
  file: string,
  { command, seconds, rounds, sizeBytes }: Asked,
  measured: Readonly<Record<string, unknown>>,
): void {
  const at = new Date().toISOString();
  const report = { formatVersion: 1, command, at, seconds, rounds, sizeBytes, ...measured };
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
}

/** Replaces what stands between the two markers of this benchmark. */
export function replaceTable(file: string, bench: string, contents: string): void {
  const opening = `<!-- bench ${bench} -->`;
  const closing = `<!-- end of bench ${bench} -->`;
  const text = readFileSync(file, 'utf8');
  const from = text.indexOf(opening);
  const to = text.indexOf(closing);
  if (from < 0 || to < from) {
    throw new Error(`${file} has no lines "${opening}" and "${closing}" to put the table between`);
  }
  const after = text.slice(to);
  writeFileSync(file, `${text.slice(0, from)}${opening}\n\n${contents}\n\n${after}`);
}
