import type { Group } from '../../group/order/group.ts';
import type { System } from '../../group/system/system.ts';
import type { CutAsk, CutDefinition, CutTold } from '../protocol/wire-cuts.ts';
import type { KeptHold } from './cut-file.ts';

/**
 * Which group of this system is meant, and what stands against its part in a cut. `known`: the cuts here.
 * Throws JnbdError: group_not_found, group_opening.
 */
export function inspectPlace(
  system: System,
  known: readonly CutDefinition[],
  cutId: string,
  { name, group: groupName, part }: CutAsk<'inspect'>,
): CutTold<'inspect'> {
  const group = system.group(groupName);
  const { systemId, name: systemName } = system;
  const { groupId } = group.catalog;
  return {
    place: { systemId, systemName, groupId, group: groupName },
    obstacle: obstacleOf(group, systemId, known, cutId, name, part),
  };
}

function obstacleOf(
  { role, state, catalog }: Group,
  systemId: number,
  known: readonly CutDefinition[],
  cutId: string,
  name: string,
  part: 'member' | 'target',
): string {
  const same = known.find((each) => each.name === name);
  if (same && same.cutId !== cutId) return `its system has another cut named ${name}`;
  if (state !== 'normal') return `it is ${state}`;
  if (part === 'member') return role === 'primary' ? '' : `it is ${role} there, not primary`;
  if (role !== 'secondary') return `it is ${role} there, not secondary`;
  if (catalog.journalOnly) return 'it keeps the journal alone there, and no volumes';
  const other = known.find(
    (each) => each.cutId !== cutId && isTarget(each, systemId, catalog.groupId),
  );
  return other ? `it is in a target list of cut ${other.name} already` : '';
}

function isTarget({ targets }: CutDefinition, systemId: number, groupId: string): boolean {
  return targets.some(({ places }) =>
    places.some((place) => place.systemId === systemId && place.groupId === groupId),
  );
}

/**
 * Of the groups of this system that are in target lists. What was received before there was a cut is applied, and
 * nothing behind it before the first target. Throws JnbdError: group_not_found, group_opening.
 */
export function newHolds(system: System, { targets }: CutDefinition): KeptHold[] {
  return targets.flatMap(({ name: list, places }) =>
    places
      .filter(({ systemId }) => systemId === system.systemId)
      .map(({ group: name, groupId }): KeptHold => {
        const heldAt = system.group(name).watermarks.newest;
        return { list, groupId, heldAt, released: null, next: null, promotion: null };
      }),
  );
}
