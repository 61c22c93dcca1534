import type { Group } from '../order/group.ts';
import { checkName } from '../catalog/names.ts';

/** Systems of that name may follow from other machines (SAFETY 20). False: they might before. */
export function allowFollower(group: Group, name: string): boolean {
  checkName('system', name);
  const { catalog } = group;
  const allowed = catalog.allowedFollowers ?? [];
  if (allowed.includes(name)) return false;
  group.changes.replace({ ...catalog, allowedFollowers: [...allowed, name] });
  return true;
}

/**
 * A system of that name is a follower no more, and not allowed to be one: nothing is kept for it. False:
 * it was neither.
 */
export function dropFollower(group: Group, name: string): boolean {
  const { catalog, followers } = group;
  const allowed = catalog.allowedFollowers ?? [];
  const known = followers.list().filter((follower) => follower.name === name);
  for (const { systemId } of known) followers.drop(systemId);
  if (!allowed.includes(name)) return known.length > 0;
  group.changes.replace({
    ...catalog,
    allowedFollowers: allowed.filter((other) => other !== name),
  });
  return true;
}
