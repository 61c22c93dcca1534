import { availableParallelism } from 'node:os';
import { describe, expect, test } from 'vitest';
import { cutKinds } from './cuts/run-cuts.ts';
import { protectionKinds } from './fleet/fleet-protection.ts';
import { fleetKinds } from './fleet/fleet-watch.ts';
import { identityKinds } from './identity/run-identity.ts';
import { profileNames, type ProfileName } from './profiles.ts';
import { snapshotKinds } from './profiles/snapshots.ts';
import { seedsBeside } from './regression-seeds.ts';
import { type CampaignReport, replayCommand, runInChild, runSeeds } from './seed-runner.ts';

const count = 60;
/** The first that see the rarest of what can happen to one daemon: a journal damaged, a volume unused and then its group abnormal. */
const rareSeeds = [71, 130];
const fleetCount = 200;
const synchronousCount = 41;
const cutCount = 8;
const snapshotCount = 12;
const identityCount = 30;
/** The first in which a follower has to copy for a clone for so long that it says so. */
const rareIdentitySeeds = [108];

/** What the seeds from 0 on came to, each of which was run and held. */
async function runFirst(seedCount: number, profile?: ProfileName): Promise<CampaignReport> {
  const failures: string[] = [];
  const report = await runSeeds(
    { seed: 0, count: seedCount, ...(profile && { profile }) },
    (seed) => {
      if (seed.failure === undefined) return;
      failures.push(`${replayCommand(seed)}: ${seed.failure}`);
    },
  );
  expect(failures).toEqual([]);
  expect(report.seeds.map(({ seed }) => seed)).toEqual(
    Array.from({ length: seedCount }, (_, at) => at),
  );
  return report;
}

/** What came to happen in these, each of which held. */
async function runRare(
  seeds: readonly number[],
  profile?: ProfileName,
): Promise<Record<string, number>> {
  const rare: Record<string, number> = {};
  for (const seed of seeds) {
    const report = await runSeeds({ seed, count: 1, ...(profile && { profile }) }, () => undefined);
    expect(report.seeds.map(({ failure }) => failure)).toEqual([undefined]);
    for (const [kind, times] of Object.entries(report.counts))
      rare[kind] = (rare[kind] ?? 0) + times;
  }
  return rare;
}

describe('the whole daemon on a disk that loses, tears, rots, fails and fills', () => {
  test(`holds what it promised in ${count} seeds, and everything that can go wrong did`, async () => {
    const { seeds, counts } = await runFirst(count);
    const rare = await runRare(rareSeeds);
    expect([...new Set(seeds.map(({ profile }) => profile))].sort()).toEqual(
      [...profileNames].sort(),
    );
    const never = Object.keys(counts).filter((kind) => !counts[kind] && !rare[kind]);
    expect(never).toEqual([]);
  }, 900_000);

  test(`holds in ${fleetCount} seeds of a fleet, and everything that can happen to it did`, async () => {
    const { counts } = await runFirst(fleetCount, 'fleet');
    expect(fleetKinds.filter((kind) => (counts[kind] ?? 0) === 0)).toEqual([]);
  }, 1_500_000);

  test(`holds in ${synchronousCount} seeds of a fleet that hosts wait for, and everything that can happen to it did`, async () => {
    const { counts } = await runFirst(synchronousCount, 'synchronousFleet');
    expect(protectionKinds.filter((kind) => (counts[kind] ?? 0) === 0)).toEqual([]);
  }, 900_000);

  test(`holds in ${cutCount} seeds of cuts, and everything that can happen to them did`, async () => {
    const { counts } = await runFirst(cutCount, 'cuts');
    expect(cutKinds.filter((kind) => (counts[kind] ?? 0) === 0)).toEqual([]);
    expect(counts['round committed']).toBeGreaterThan(500);
  }, 900_000);

  test(`keeps every snapshot in ${snapshotCount} seeds`, async () => {
    const { counts } = await runFirst(snapshotCount, 'snapshots');
    expect(snapshotKinds.filter((kind) => (counts[kind] ?? 0) === 0)).toEqual([]);
  }, 900_000);

  test(`has the same everywhere in ${identityCount} seeds, and finds what was damaged`, async () => {
    const { counts } = await runFirst(identityCount, 'identity');
    const rare = await runRare(rareIdentitySeeds, 'identity');
    expect(identityKinds.filter((kind) => !counts[kind] && !rare[kind])).toEqual([]);
  }, 900_000);

  test('holds in seeds that found defects before', async () => {
    const counts = { count, fleetCount, synchronousCount, cutCount, identityCount };
    const waiting = seedsBeside(counts);
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
