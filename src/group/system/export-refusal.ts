import { JnbdError } from '../../platform/errors.ts';
import { rollbackText, type Volume } from '../apply/volume.ts';
import { acceptsHostWrites } from '../catalog/states.ts';
import type { Group } from '../order/group.ts';
import { partedContents } from '../volumes/shown-contents.ts';

/** Why no host may open the volume itself now; undefined: hosts may. */
export function hostRefusalOf(group: Group, volume: Volume): JnbdError | undefined {
  const refusal = refusalOf(group, volume);
  if (refusal) return refusal;
  const text = rollbackText(group.name, volume) ?? mixedText(group, volume);
  if (text === undefined) return undefined;
  return new JnbdError('state_refuses', `${text}; hosts are let in when that is done`);
}

/**
 * What is received stands over contents that show part of it already; where they show more than that, a host would
 * read what was never there at one time (SAFETY 11).
 */
function mixedText(group: Group, { catalog }: Volume): string | undefined {
  const { name, follow, watermarks } = group;
  const shows = follow.state?.shows ?? 0;
  if (catalog.journalOnly) return undefined;
  if (watermarks.newest >= shows && !partedContents(group)) return undefined;
  return `what group ${name} holds shows updates up to ${shows}, and is of no one instant before they have come`;
}

/** Why nobody may open what is read of the volume now, its snapshots included. */
export function refusalOf(group: Group, volume: Volume): JnbdError | undefined {
  if (group.state !== 'normal') {
    return new JnbdError(
      group.state === 'closing' ? 'shutting_down' : 'volume_abnormal',
      `group ${group.name} is ${group.state}: ${group.failureText}`,
    );
  }
  if (group.role === 'diverged' || group.hosts.closedText !== '') {
    return new JnbdError('state_refuses', `group ${group.name}: ${group.failureText}`);
  }
  if (acceptsHostWrites(volume.state)) return undefined;
  return new JnbdError(
    'volume_abnormal',
    `volume ${group.name}/${volume.catalog.name} is ${volume.state}: ${volume.failure}`,
  );
}
