import type { Group } from '../order/group.ts';
import { isIncomplete } from '../volumes/missing-contents.ts';
import type { RestartPlan } from './restart-journal.ts';

/**
 * Before a journal begins anew: clones whose snapshot goes with it, or whose volumes are of no one instant for a
 * while, take what they need of it (SAFETY 29). Rejects with JnbdError.
 */
export async function keepClones(
  group: Group,
  { catalog, follow }: Pick<RestartPlan, 'catalog' | 'follow'>,
): Promise<void> {
  if (isIncomplete(group)) return;
  const isMixed = follow?.resync !== undefined || (follow?.copies.length ?? 0) > 0;
  const left = catalog.snapshots ?? [];
  await group.snapshots.clones.keep(
    ({ number, atMilliseconds }) =>
      !isMixed &&
      left.some(
        (each) =>
          each.number === number &&
          each.atMilliseconds === atMilliseconds &&
          each.isDeleted !== true,
      ),
  );
}
