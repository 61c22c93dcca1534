import { afterAll, describe, expect, test } from 'vitest';
import { cutKinds } from './cuts/run-cuts.ts';
import { protectionKinds } from './fleet/fleet-protection.ts';
import { fleetKinds } from './fleet/fleet-watch.ts';
import { identityKinds } from './identity/run-identity.ts';
import { profileNames, type ProfileName } from './profiles.ts';
import { snapshotKinds } from './profiles/snapshots.ts';
import { seedsBeside } from './regression-seeds.ts';
import {
  type CampaignReport,
  replayCommand,
  SeedProcesses,
  type SeedTask,
  seedsFrom,
} from './seed-runner.ts';

const count = 60;
/** The first that see the rarest of what can happen to one daemon: a journal damaged, a volume unused and then its group abnormal. */
const rareSeeds = [115, 130];
const fleetCount = 200;
const synchronousCount = 41;
const cutCount = 8;
const snapshotCount = 100;
const identityCount = 100;
/** The first in which a follower has to copy for a clone for so long that it says so. */
const rareIdentitySeeds = [108];

const processes = new SeedProcesses();
afterAll(() => processes.close());

/** What these came to, each of which was run and held. */
async function runAll(tasks: readonly SeedTask[]): Promise<CampaignReport> {
  const failures: string[] = [];
  const report = await processes.run(tasks, (seed) => {
    if (seed.failure !== undefined) failures.push(`${replayCommand(seed)}: ${seed.failure}`);
  });
  expect(failures).toEqual([]);
  expect(report.seeds.map(({ seed }) => seed)).toEqual(tasks.map(({ seed }) => seed));
  return report;
}

/** The seeds from 0 on, and some more of the same profile. */
function runFirst(
  seedCount: number,
  profile?: ProfileName,
  more: readonly number[] = [],
): Promise<CampaignReport> {
  const others = profile ? { profile } : {};
  return runAll([...seedsFrom(0, seedCount, others), ...more.map((seed) => ({ ...others, seed }))]);
}

function never(kinds: readonly string[], { counts }: CampaignReport): string[] {
  return kinds.filter((kind) => !counts[kind]);
}

describe('the whole daemon on a disk that loses, tears, rots, fails and fills', () => {
  test(`holds what it promised in ${count} seeds, and everything that can go wrong did`, async () => {
    const report = await runFirst(count, undefined, rareSeeds);
    expect([...new Set(report.seeds.map(({ profile }) => profile))].sort()).toEqual(
      [...profileNames].sort(),
    );
    expect(never(Object.keys(report.counts), report)).toEqual([]);
  }, 900_000);

  test(`holds in ${fleetCount} seeds of a fleet, and everything that can happen to it did`, async () => {
    expect(never(fleetKinds, await runFirst(fleetCount, 'fleet'))).toEqual([]);
  }, 1_500_000);

  test(`holds in ${synchronousCount} seeds of a fleet that hosts wait for, and everything that can happen to it did`, async () => {
    expect(never(protectionKinds, await runFirst(synchronousCount, 'synchronousFleet'))).toEqual(
      [],
    );
  }, 900_000);

  test(`holds in ${cutCount} seeds of cuts, and everything that can happen to them did`, async () => {
    const report = await runFirst(cutCount, 'cuts');
    expect(never(cutKinds, report)).toEqual([]);
    expect(report.counts['round committed']).toBeGreaterThan(500);
  }, 900_000);

  test(`keeps every snapshot, clone and view in ${snapshotCount} seeds`, async () => {
    expect(never(snapshotKinds, await runFirst(snapshotCount, 'snapshots'))).toEqual([]);
  }, 900_000);

  test(`has the same everywhere in ${identityCount} seeds, and finds what was damaged`, async () => {
    const report = await runFirst(identityCount, 'identity', rareIdentitySeeds);
    expect(never(identityKinds, report)).toEqual([]);
  }, 900_000);

  test('holds in seeds that found defects before', async () => {
    const counts = { synchronousCount, cutCount, snapshotCount, identityCount };
    await runAll(seedsBeside({ count, fleetCount, ...counts }));
  });
});
