import { expect, it } from 'vitest';
import { build } from '../support/built-program.ts';
import { CrashRun, ends } from './crash-run.ts';

const kills = Number(process.env['JNBD_CRASH_KILLS'] ?? 20);
const seed = Number(process.env['JNBD_CRASH_SEED'] ?? Date.now() % 2 ** 31);
/** Some four times what a busy machine takes. */
const timeoutMilliseconds = 120_000 + kills * 10_000;

it(
  `a daemon that is killed ${kills} times loses nothing and mixes up nothing (seed ${seed})`,
  async () => {
    await build();
    const run = new CrashRun({ kills, seed, killsPerDirectory: Math.ceil(kills / 2) });
    const report = await run.run();
    expect(report.kills).toBe(kills);
    const counted = [...ends, 'starting' as const].map((end) => report.ends[end]);
    expect(counted.reduce((sum, count) => sum + count)).toBe(kills);
    expect(report.directories).toBe(2);
    // A load that met nothing would prove nothing.
    expect(report.acknowledged).toBeGreaterThan(kills * 10);
    expect(report.unappliedDeaths).toBeGreaterThan(0);
    expect(report.unansweredKept + report.unansweredCut + report.unansweredLost).toBeGreaterThan(0);
    expect(report.rolls).toBeGreaterThan(0);
    expect(report.beginnings).toBeGreaterThan(kills / 2);
  },
  timeoutMilliseconds,
);
