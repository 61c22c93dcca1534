import type { Group } from '../../group/order/group.ts';
import { formatExactDuration } from '../../platform/duration-text.ts';
import {
  type CutDefinition,
  type CutPlace,
  type MovedTo,
  placesOfCut,
} from '../protocol/wire-cuts.ts';

/** A group of a cut has another primary than the member that the cut names. */
export interface MovedMember {
  readonly groupId: string;
  readonly to: MovedTo;
}

/**
 * Where the primary of a group of this system went, as far as is known here; undefined: nowhere, or it is not known.
 * The cut stays as it is: which secondary is to be the new primary's own is for a command to say.
 */
export function movedMember(
  definition: CutDefinition,
  group: Group,
  systemId: number,
): MovedMember | undefined {
  const { groupId } = group.catalog;
  const member = definition.members.find((each) => each.groupId === groupId);
  const isNamed = member?.systemId === systemId;
  if (!member || isNamed === (group.role === 'primary')) return undefined;
  const own = placeIn(definition, groupId, systemId);
  const to = isNamed ? whoTookOver(definition, group) : own;
  if (!to) return undefined;
  const isFollowed = isNamed
    ? group.follow.state !== undefined
    : group.followers.find(member.systemId)?.state === 'following';
  const { systemName, url, group: name } = to;
  return { groupId, to: { systemId: to.systemId, systemName, url, group: name, isFollowed } };
}

/** What makes the cut anew with these members where their groups are primary, to be typed as it stands. */
export function remakeCommand(
  { name, members, targets, intervalMilliseconds, roundLimitMilliseconds }: CutDefinition,
  moved: readonly MovedMember[],
): string {
  const toOf = ({ groupId }: CutPlace): MovedTo | undefined =>
    moved.find((each) => each.groupId === groupId)?.to;
  const text = ({ url, group }: Pick<CutPlace, 'url' | 'group'>): string => `${url}/${group}`;
  const lists = targets.flatMap((list) => {
    const places = list.places.map((place, at) => {
      const to = toOf(place);
      if (!to || place.systemId !== to.systemId) return text(place);
      // It is no secondary any more, and who was primary may be one now.
      const before = members[at];
      return to.isFollowed && before ? text(before) : undefined;
    });
    return places.includes(undefined) ? [] : [`--targets ${list.name}=${places.join(',')}`];
  });
  const interval =
    intervalMilliseconds === null ? 'off' : formatExactDuration(intervalMilliseconds);
  return [
    `jnbd cut delete ${name} && jnbd cut create ${name}`,
    ...members.map((member) => `--member ${text(toOf(member) ?? member)}`),
    ...lists,
    `--interval ${interval} --round-limit ${formatExactDuration(roundLimitMilliseconds)}`,
  ].join(' ');
}

/** As a group knows it that was primary. */
function whoTookOver(
  definition: CutDefinition,
  { catalog, follow }: Group,
): Omit<MovedTo, 'isFollowed'> | undefined {
  const { groupId, handedOver, takenOver } = catalog;
  const known = (systemId: number) => placeIn(definition, groupId, systemId);
  if (follow.state) {
    const { sourceSystemId: systemId, sourceName: systemName, url, sourceGroup } = follow.state;
    return known(systemId) ?? { systemId, systemName, url, group: sourceGroup };
  }
  if (takenOver) {
    const { systemId, name: systemName, url, groupName: group } = takenOver;
    return known(systemId) ?? (url === null ? undefined : { systemId, systemName, url, group });
  }
  return handedOver && known(handedOver.to);
}

function placeIn(
  definition: CutDefinition,
  groupId: string,
  systemId: number,
): CutPlace | undefined {
  return placesOfCut(definition).find(
    (place) => place.groupId === groupId && place.systemId === systemId,
  );
}
