import { afterEach, beforeEach, expect, it } from 'vitest';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { fuzz, probeMillisecondsMax } from './fuzz-run.ts';
import { type FuzzTarget, startDaemonTarget, startMemoryTarget } from './fuzz-target.ts';

const cases = Number(process.env['JNBD_FUZZ_CASES'] ?? 5_000);
const seed = Number(process.env['JNBD_FUZZ_SEED'] ?? Date.now() % 2 ** 31);
/** Long runs are for scripts/fuzz; this is twice what a slow machine takes for the usual ones. */
const timeoutMilliseconds = 120_000 + cases * 20;

let directory: TemporaryDirectory;
let target: FuzzTarget | undefined;
beforeEach(() => {
  directory = temporaryDirectory('fuzz');
});
afterEach(async () => {
  await target?.stop();
  target = undefined;
  directory.remove();
});

it.each([
  ['the daemon', startDaemonTarget, cases],
  ['the NBD server alone, with a slow disk', startMemoryTarget, Math.ceil(cases / 5)],
] as const)(
  `%s serves others while it is attacked (seed ${seed})`,
  async (_what, start, count) => {
    target = await start(directory.path);
    const report = await fuzz(target, { cases: count, seed });
    expect(report.cases).toBe(count);
    expect(report.probes).toBeGreaterThan(5);
    expect(report.slowestMilliseconds).toBeLessThan(probeMillisecondsMax);
    expect(Object.keys(report.kinds).length).toBe(5);
  },
  timeoutMilliseconds,
);
