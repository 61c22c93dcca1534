import type { FaultCounter } from '../faults.ts';
import { IdentityCampaign } from './identity-campaign.ts';
import { compareAll } from './identity-end.ts';
import { anyStep } from './identity-steps.ts';

export const identityStepsDefault = 24;

/** What campaigns have to bring about. */
export const identityKinds: readonly string[] = [
  'snapshot made',
  'snapshot deleted',
  'snapshot kept for a clone',
  'snapshot deleted under a clone elsewhere',
  'clone made',
  'clone deleted',
  'clone written',
  'clone checked',
  'clone there after a crash',
  'clone independent',
  'view made',
  'view deleted',
  'view written',
  'view there after a crash',
  'primary killed',
  'primary lost power',
  'follower killed',
  'follower lost power',
  'link cut',
  'scheduled snapshot made',
  'scheduled snapshot deleted',
  'verified while hosts write',
  'flipped in a volume',
  'flipped in an area',
  'flipped in a journal',
  'flipped in a sealed file',
  'primary repaired',
  'follower repaired',
  'area compared',
  'code clone_needs_snapshot',
];

export interface IdentityResult {
  readonly failure: string | undefined;
  readonly log: readonly string[];
  readonly records: number;
  readonly bytes: number;
  readonly events: number;
}

/** Runs one seed: systems that follow each other have the same, and nothing but damage is ever told to differ. */
export async function runIdentity(
  seed: number,
  counter: FaultCounter,
  options: { readonly steps?: number; readonly verbose?: boolean },
): Promise<IdentityResult> {
  counter.expect(identityKinds);
  const campaign = new IdentityCampaign(seed, counter, options.verbose ?? false);
  let failure: string | undefined;
  try {
    await campaign.setUp();
    for (let step = 0; step < (options.steps ?? identityStepsDefault); step += 1)
      await anyStep(campaign);
    await compareAll(campaign);
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  const { log, records, bytes, fleet } = campaign;
  return { failure, log, records, bytes, events: fleet.clock.events };
}
