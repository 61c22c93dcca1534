import { JnbdError } from '../../platform/errors.ts';
import { rollbackText, type Volume } from '../apply/volume.ts';
import { acceptsHostWrites } from '../catalog/states.ts';
import type { Group } from '../order/group.ts';

/** Why no host may open the volume itself now; undefined: hosts may. */
export function hostRefusalOf(group: Group, volume: Volume): JnbdError | undefined {
  const refusal = refusalOf(group, volume);
  const text = rollbackText(group.name, volume);
  if (refusal || text === undefined) return refusal;
  return new JnbdError('state_refuses', `${text}; hosts are let in when that is done`);
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
