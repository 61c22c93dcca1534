import { generationOf } from '../../group/catalog/lineage.ts';
import type { Group } from '../../group/order/group.ts';

/**
 * What its journal has can be applied: also of one that does not open before some of it was, because it is full, and
 * the next target is what makes room.
 */
export function isThere({ state, isReadable }: Group): boolean {
  return state === 'normal' || (state === 'abnormal' && isReadable);
}

/** Pieces of contents are written where everything is applied: who still gets some cannot be held. */
export function isIncomplete({ follow }: Group): boolean {
  return (follow.state?.copies.length ?? 0) > 0 || follow.state?.resync !== undefined;
}

/** Whether this system made itself the group's primary behind that update: its generation begins there. */
export function isPromotedAt(
  { role, catalog }: Group,
  at: { readonly number: number } | null,
  systemId: number,
): boolean {
  if (at === null || role !== 'primary') return false;
  const generation = generationOf(catalog.lineage);
  const first = catalog.lineage.find((stretch) => stretch.generation === generation);
  return first?.system === systemId && first.firstNumber === at.number + 1;
}
