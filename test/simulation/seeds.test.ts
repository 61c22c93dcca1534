import { availableParallelism } from 'node:os';
import { describe, expect, test } from 'vitest';
import { cutKinds } from './cuts/run-cuts.ts';
import { protectionKinds } from './fleet/fleet-protection.ts';
import { fleetKinds } from './fleet/fleet-watch.ts';
import { profileNames } from './profiles.ts';
import { seedsBeside } from './regression-seeds.ts';
import { replayCommand, runInChild, runSeeds, type SeedReport } from './seed-runner.ts';

const count = 130;
const fleetCount = 200;
const synchronousCount = 60;
const cutCount = 12;
describe('the whole daemon on a disk that loses, tears, rots, fails and fills', () => {
  test(`holds what it promised in ${count} seeds, and everything that can go wrong did`, async () => {
    const failures: string[] = [];
    const tell = (report: SeedReport): void => {
      if (report.failure === undefined) return;
      failures.push(`${replayCommand(report)}: ${report.failure}`);
    };
    const { seeds, counts } = await runSeeds({ seed: 0, count }, tell);
    expect(failures).toEqual([]);
    expect(seeds.map(({ seed }) => seed)).toEqual(Array.from({ length: count }, (_, at) => at));
    expect([...new Set(seeds.map(({ profile }) => profile))].sort()).toEqual(
      [...profileNames].sort(),
    );
    const never = Object.entries(counts).filter(([, times]) => times === 0);
    expect(never.map(([kind]) => kind)).toEqual([]);
  }, 900_000);

  test(`holds in ${fleetCount} seeds of a fleet, and everything that can happen to it did`, async () => {
    const failures: string[] = [];
    const tell = (report: SeedReport): void => {
      if (report.failure === undefined) return;
      failures.push(`${replayCommand(report)}: ${report.failure}`);
    };
    const options = { seed: 0, count: fleetCount, profile: 'fleet' } as const;
    const { seeds, counts } = await runSeeds(options, tell);
    expect(failures).toEqual([]);
    expect(seeds.map(({ seed }) => seed)).toEqual(
      Array.from({ length: fleetCount }, (_, at) => at),
    );
    expect(fleetKinds.filter((kind) => (counts[kind] ?? 0) === 0)).toEqual([]);
  }, 1_500_000);

  test(`holds in ${synchronousCount} seeds of a fleet that hosts wait for, and everything that can happen to it did`, async () => {
    const failures: string[] = [];
    const tell = (report: SeedReport): void => {
      if (report.failure === undefined) return;
      failures.push(`${replayCommand(report)}: ${report.failure}`);
    };
    const options = { seed: 0, count: synchronousCount, profile: 'synchronousFleet' } as const;
    const { seeds, counts } = await runSeeds(options, tell);
    expect(failures).toEqual([]);
    expect(seeds).toHaveLength(synchronousCount);
    expect(protectionKinds.filter((kind) => (counts[kind] ?? 0) === 0)).toEqual([]);
  }, 900_000);

  test(`holds in ${cutCount} seeds of cuts, and everything that can happen to them did`, async () => {
    const failures: string[] = [];
    const tell = (report: SeedReport): void => {
      if (report.failure === undefined) return;
      failures.push(`${replayCommand(report)}: ${report.failure}`);
    };
    const options = { seed: 0, count: cutCount, profile: 'cuts' } as const;
    const { seeds, counts } = await runSeeds(options, tell);
    expect(failures).toEqual([]);
    expect(seeds).toHaveLength(cutCount);
    expect(cutKinds.filter((kind) => (counts[kind] ?? 0) === 0)).toEqual([]);
    expect(counts['round committed']).toBeGreaterThan(500);
  }, 900_000);

  test('holds in seeds that found defects before', async () => {
    const waiting = seedsBeside({ count, fleetCount, synchronousCount, cutCount });
    const failures: string[] = [];
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const { seed, profile, found } = next;
        await runInChild({ seed, count: 1, profile }, (report) => {
          if (report.failure === undefined) return;
          failures.push(`${replayCommand(report)} (${found}, once): ${report.failure}`);
        });
      }
    };
    await Promise.all(Array.from({ length: availableParallelism() }, work));
    expect(failures).toEqual([]);
  });
});
