import { closedGroup } from '../catalog/closed-group.ts';
import type { Group } from '../order/group.ts';
import { isIncomplete } from '../volumes/missing-contents.ts';
import type { RestartPlan } from './restart-journal.ts';

/**
 * Before a journal begins anew by the plan at `path`: clones whose snapshot goes with it, or whose volumes are of no
 * one instant for a while, take what they need of it (SAFETY 29). Undefined: there is nothing to wait for, and the
 * group is to be closed in this turn. Rejects with JnbdError, also where the plan's catalog is not the group's any more.
 */
export function keepClones(
  group: Group,
  plan: RestartPlan,
  path: string,
): Promise<void> | undefined {
  if (group.snapshots.clones.list.length === 0 || isIncomplete(group)) return undefined;
  const { catalog } = group;
  return keep(group, plan).then(() => {
    if (group.catalog !== catalog) throw closedGroup(path);
  });
}

async function keep(group: Group, { catalog, follow }: RestartPlan): Promise<void> {
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
