import type { Group } from '../../group/order/group.ts';
import { checkPromotion, expectMembers, promoteGroup } from '../../group/roles/promotion.ts';
import { goesBack, promoteBack } from '../../group/roles/promotion-back.ts';
import { planRollBack } from '../../group/roles/resync.ts';
import { promoteAt } from '../../group/roles/promotion-at.ts';
import type { Rollbacks } from '../../group/system/rollbacks.ts';
import type { System } from '../../group/system/system.ts';

export interface PromotionWish {
  readonly force: boolean;
  /** As of that update. */
  readonly at?: number | undefined;
  /** Where `at` is in the volumes already, they may go back to it behind the promotion. */
  readonly by?: Rollbacks;
  /** So long at most it is waited for what only takes a moment, without `at`: apply goes on. Left out: not at all. */
  readonly waitMilliseconds?: number;
}

/**
 * Makes this system primary of a group that follows nobody now; a resync that was under way is taken back.
 * Resolves with the group, opened again where it had to be. Rejects with what `promoteGroup` throws.
 */
export async function promoteHere(
  system: System,
  group: Group,
  { force, at, by }: PromotionWish,
): Promise<Group> {
  if (at !== undefined && by && goesBack(group, at)) {
    await promoteBack(system, by, group, at, force);
    return group;
  }
  if (at !== undefined && at !== group.watermarks.newest) {
    return (await promoteAt(system, group, at, force)).group;
  }
  const { systemId } = system;
  const source = group.follow.state;
  const plan = planRollBack(group, systemId);
  if (!plan) {
    promoteGroup(group, systemId, force);
    return group;
  }
  checkPromotion(group, systemId, force);
  const promoted = await system.restartGroup(group, plan);
  expectMembers(promoted, source);
  return promoted;
}
