import { describe, expect, test } from 'vitest';
import { profileNames } from './profiles.ts';
import { replayCommand, runSeeds, type SeedReport, stepsDefault } from './seed-runner.ts';

const count = 200;

/** Of a volume that is deleted after a restart found it half filled: no profile does that yet. */
const notReached = ['event import_unfinished_cleared'];

describe('the whole daemon on a disk that loses, tears, rots, fails and fills', () => {
  test(`holds what it promised in ${count} seeds, and everything that can go wrong did`, async () => {
    const failures: string[] = [];
    const tell = (report: SeedReport): void => {
      if (report.failure === undefined) return;
      failures.push(`${replayCommand(report, stepsDefault)}: ${report.failure}`);
    };
    const { seeds, counts } = await runSeeds({ seed: 0, count, steps: stepsDefault }, tell);
    expect(failures).toEqual([]);
    expect(seeds.map(({ seed }) => seed)).toEqual(Array.from({ length: count }, (_, at) => at));
    expect([...new Set(seeds.map(({ profile }) => profile))].sort()).toEqual(
      [...profileNames].sort(),
    );
    const never = Object.entries(counts).filter(([, times]) => times === 0);
    expect(never.map(([kind]) => kind)).toEqual(notReached);
  }, 900_000);
});
