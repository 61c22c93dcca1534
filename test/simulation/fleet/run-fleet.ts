import { checkContents } from './fleet-contents.ts';
import { MiB } from '../../../src/platform/limits.ts';
import type { FaultCounter } from '../faults.ts';
import { FleetCampaign } from './fleet-campaign.ts';
import { groupName } from './fleet-member.ts';
import { converge } from './fleet-end.ts';
import { keepPast } from './fleet-rollbacks.ts';
import { begin, copySlowly } from './fleet-sources.ts';
import { anyStep } from './fleet-steps.ts';

export const fleetStepsDefault = 40;

export interface FleetResult {
  readonly campaign: FleetCampaign;
  readonly failure: string | undefined;
}

/** Runs one seed of the fleet. */
export async function runFleet(
  seed: number,
  counter: FaultCounter,
  options: {
    readonly steps?: number;
    readonly verbose?: boolean;
    readonly isSynchronous?: boolean;
  },
): Promise<FleetResult> {
  const campaign = new FleetCampaign(seed, counter, options.verbose, options.isSynchronous);
  let failure: string | undefined;
  try {
    await setUp(campaign);
    for (let step = 0; step < (options.steps ?? fleetStepsDefault); step += 1) {
      await anyStep(campaign);
      for (const member of campaign.members) await checkContents(campaign, member);
    }
    await converge(campaign);
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  return { campaign, failure };
}

async function setUp(campaign: FleetCampaign): Promise<void> {
  const { random, members, fleet } = campaign;
  // Systems on other machines: each is let in by name.
  if (random.chance(0.7)) fleet.links.identity = { kind: 'anonymous' };
  for (const member of members) await campaign.start(member);
  const primary = campaign.member('alpha');
  await campaign.verb(primary, 'group create', {
    group: groupName,
    journalSize: 64 * MiB,
    onFull: random.pick(['suspend', 'suspend', 'throttle', 'fail']),
    syncInterval: random.pick(['1ms', '20ms', '50ms']),
  });
  await copySlowly(campaign, primary);
  for (let count = random.between(1, 3); count > 0; count -= 1) {
    const volume = `${groupName}/${campaign.newVolume()}`;
    const size = random.pick([65_536, 300_032, 524_288]);
    await campaign.verb(primary, 'volume create', { volume, size });
  }
  for (let round = random.between(0, 5); round > 0; round -= 1) {
    campaign.write(primary, 100);
    await campaign.pass(5);
  }
  if (random.chance(0.6)) {
    // Then the journal alone does not bring a follower.
    primary.group?.hurryApply();
    await campaign.pass(500);
  }
  await begin(campaign, campaign.member('beta'), primary);
  await begin(campaign, campaign.member('gamma'), primary);
  await begin(campaign, campaign.member('delta'));
  await begin(campaign, campaign.member('relay'));
  await keepPast(campaign);
}
