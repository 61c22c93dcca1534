import { Campaign } from './campaign.ts';
import { cutStepsDefault, runCuts } from './cuts/run-cuts.ts';
import { cutBlockBytes } from './cuts/cut-ledger.ts';
import type { FaultCounter } from './faults.ts';
import { identityStepsDefault, runIdentity } from './identity/run-identity.ts';
import { fleetStepsDefault, runFleet } from './fleet/run-fleet.ts';
import { type JournalProfileName, type ProfileName, profileNames, profiles } from './profiles.ts';
import type { Profile } from './profiles/profile.ts';

export interface SeedResult {
  readonly seed: number;
  readonly profile: ProfileName;
  readonly failure: string | undefined;
  /** What happened. */
  readonly log: readonly string[];
  readonly records: number;
  readonly bytes: number;
  readonly events: number;
}

interface RunOptions {
  readonly profile?: ProfileName;
  readonly steps?: number;
  readonly verbose?: boolean;
}

const stepsDefault = 12;

export function stepsOf(profile: ProfileName): number {
  if (profile === 'cuts') return cutStepsDefault;
  if (profile === 'identity') return identityStepsDefault;
  if (profile === 'fleet' || profile === 'synchronousFleet') return fleetStepsDefault;
  const { steps = stepsDefault }: Profile = profiles[profile];
  return steps;
}

/** Runs one seed. The profile follows from it where none is named. */
export async function runSeed(
  seed: number,
  counter: FaultCounter,
  options: RunOptions,
): Promise<SeedResult> {
  const profile = options.profile ?? profileNames[seed % profileNames.length] ?? 'crashes';
  if (profile === 'cuts') {
    const result = await runCuts(seed, counter, options);
    return { seed, profile, ...result, bytes: result.records * cutBlockBytes };
  }
  if (profile === 'identity') {
    return { seed, profile, ...(await runIdentity(seed, counter, options)) };
  }
  if (profile !== 'fleet' && profile !== 'synchronousFleet') {
    return runJournal(seed, profile, counter, options);
  }
  const isSynchronous = profile === 'synchronousFleet';
  const { campaign, failure } = await runFleet(seed, counter, { ...options, isSynchronous });
  const { log, records, bytes, fleet } = campaign;
  return { seed, profile, failure, log, records, bytes, events: fleet.clock.events };
}

async function runJournal(
  seed: number,
  name: JournalProfileName,
  counter: FaultCounter,
  options: RunOptions,
): Promise<SeedResult> {
  const profile: Profile = profiles[name];
  const { cacheMissChance, bytesMax } = profile;
  const campaign = new Campaign(
    seed,
    counter,
    {
      verbose: options.verbose ?? false,
      ...(cacheMissChance === undefined ? {} : { cacheMissChance }),
    },
    bytesMax,
  );
  const { simulation } = campaign;
  let failure: string | undefined;
  try {
    await simulation.start();
    await profile.setUp(campaign);
    for (let step = 0; step < (options.steps ?? stepsOf(name)); step += 1) {
      await profile.step(campaign);
    }
    simulation.machine.capacityBytes = Number.POSITIVE_INFINITY;
    await campaign.wind();
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  return {
    seed,
    profile: name,
    failure,
    log: simulation.log,
    records: simulation.tap.segments.records,
    bytes: simulation.tap.segments.recordBytes,
    events: simulation.clock.events,
  };
}
