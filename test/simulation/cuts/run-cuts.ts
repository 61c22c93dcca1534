import { Fleet } from '../../replicator/fleet.ts';
import type { FaultCounter } from '../faults.ts';
import { CutCampaign } from './cut-campaign.ts';
import { endCuts } from './cut-end.ts';
import { stepCuts } from './cut-steps.ts';
import { setUpPair } from './cut-system.ts';

export const cutStepsDefault = 12;

/** What campaigns of cuts have to bring about. */
export const cutKinds: readonly string[] = [
  'round committed',
  'round aborted',
  'controller changed',
  'controllers at once',
  'marker made by hand',
  'marker refused',
  'target moved',
  'target left half-way',
  'write answered',
  'write read',
  'write read elsewhere',
  'read held',
  'member killed',
  'member lost power',
  'secondary killed',
  'secondary lost power',
  'system cut off',
  'sync slow',
  'link slow',
  'link cut',
  'link cut without a sign',
  'request lost',
  'request repeated',
  'answer lost',
  'answer cut off',
  'killed in a promotion',
  'promotion repeated',
  'cut promoted',
];

export interface CutResult {
  readonly failure: string | undefined;
  readonly log: readonly string[];
  readonly records: number;
  readonly events: number;
}

/** Runs one seed: several systems with a secondary each, and hosts whose writes depend on each other. */
export async function runCuts(
  seed: number,
  counter: FaultCounter,
  options: { readonly steps?: number; readonly verbose?: boolean },
): Promise<CutResult> {
  counter.expect(cutKinds);
  const fleet = new Fleet(`cuts ${seed}`, { counter });
  const random = fleet.random.fork('campaign');
  let campaign: CutCampaign | undefined;
  let failure: string | undefined;
  try {
    const pairs = [];
    for (let index = random.between(2, 4); index > 0; index -= 1) {
      pairs.push(await setUpPair(fleet, pairs.length, random.chance(0.4)));
    }
    campaign = new CutCampaign(fleet, pairs, counter, options.verbose ?? false);
    await campaign.begin();
    for (let step = 0; step < (options.steps ?? cutStepsDefault); step += 1) {
      await stepCuts(campaign);
    }
    await endCuts(campaign);
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  return {
    failure,
    log: campaign?.log ?? [],
    records: campaign?.hosts.writes ?? 0,
    events: fleet.clock.events,
  };
}
