import { missedBars, rateOf, type Judged, type Result, say } from './report.ts';
import type { Row } from './rows.ts';

export interface RoundPlan<EachRow extends Row, Report extends Judged> {
  readonly rounds: number;
  /** More rounds at most of rows that miss their bars. */
  readonly extraRounds: number;
  /** Share of each bar below which a row misses it. */
  readonly barShare: number;
  readonly rows: readonly EachRow[];
  contestantsOf(row: EachRow): readonly string[];
  measure(row: EachRow, contestant: string, round: number): Promise<Result>;
  report(row: EachRow, results: readonly Result[]): Report;
}

/** Puts every row on each of its contestants, round by round, and reports on all that was measured. */
export async function measureRounds<EachRow extends Row, Report extends Judged>(
  plan: RoundPlan<EachRow, Report>,
): Promise<Report[]> {
  const { rows, rounds, extraRounds, barShare } = plan;
  const results = new Map<string, Result[]>(rows.map(({ id }) => [id, []]));
  const report = () => rows.map((row) => plan.report(row, results.get(row.id) ?? []));
  const measure = async (chosen: readonly EachRow[], round: number): Promise<void> => {
    for (const [index, row] of chosen.entries()) {
      // Nobody is always the first one after the last row.
      for (const contestant of rotated(plan.contestantsOf(row), round + index)) {
        const result = await plan.measure(row, contestant, round);
        results.get(row.id)?.push(result);
        sayResult(row, result);
      }
    }
  };
  for (let round = 0; round < rounds; round += 1) await measure(rows, round);
  // A neighbour of a second must not decide: what misses is measured again, and all of it counts.
  for (let extra = 0; extra < extraRounds; extra += 1) {
    const missed = missedBars(report(), barShare).map(({ id }) => id);
    if (missed.length === 0) break;
    say(`below ${barShare} of their bars, so measured once more: ${missed.join(', ')}`);
    const again = rows.filter(({ id }) => missed.includes(id));
    await measure(again, rounds + extra);
  }
  return report();
}

function rotated<Item>(items: readonly Item[], by: number): Item[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

function sayResult(row: Row, result: Result): void {
  const { p50, p99 } = result.latencyMicroseconds;
  const later = (word: string, seconds: number) =>
    seconds > 0.05 ? `  ${word} ${seconds.toFixed(1)} s later` : '';
  say(
    `round ${result.round + 1}  ${row.id.padEnd(17)} ${result.server.padEnd(18)} ` +
      `${rateOf(row, result).toFixed(2).padStart(8)} ${row.unit}` +
      `  p50 ${p50.toFixed(0)} us  p99 ${p99.toFixed(0)} us` +
      later('durable', result.flushSeconds) +
      later('applied', result.settlingSeconds),
  );
}
