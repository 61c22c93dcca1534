import { Campaign } from './campaign.ts';
import type { FaultCounter } from './faults.ts';
import { type ProfileName, profileNames, profiles } from './profiles.ts';
import type { Profile } from './profiles/profile.ts';

export interface SeedResult {
  readonly seed: number;
  readonly profile: ProfileName;
  readonly campaign: Campaign;
  readonly failure: string | undefined;
}

/** Runs one seed. The profile follows from it where none is named. */
export async function runSeed(
  seed: number,
  counter: FaultCounter,
  options: { readonly profile?: ProfileName; readonly steps?: number; readonly verbose?: boolean },
): Promise<SeedResult> {
  const name = options.profile ?? profileNames[seed % profileNames.length] ?? 'crashes';
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
    for (let step = 0; step < (options.steps ?? 12); step += 1) await profile.step(campaign);
    simulation.machine.capacityBytes = Number.POSITIVE_INFINITY;
    await campaign.wind();
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  return { seed, profile: name, campaign, failure };
}
