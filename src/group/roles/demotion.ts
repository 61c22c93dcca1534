import { JnbdError } from '../../platform/errors.ts';
import { refuseRollingBack, shownVolumes } from '../apply/volume.ts';
import type { Group } from '../order/group.ts';
import { changeRole } from '../catalog/states.ts';

/**
 * Makes a primary a secondary that follows nobody yet: what it may be before another system takes over.
 * Durable when it resolves. False: it was a secondary already. Rejects with JnbdError: volume_in_use,
 * state_refuses, write_failed.
 */
export function demoteGroup(group: Group): Promise<boolean> {
  return group.changes.inTurn(() => Promise.resolve().then(() => demote(group)));
}

function demote(group: Group): boolean {
  const { name, role, state } = group;
  if (role === 'secondary') return false;
  if (role === 'diverged' || state !== 'normal') {
    const what = state === 'normal' ? role : state;
    throw new JnbdError('state_refuses', `group ${name} is ${what}: ${group.failureText}`);
  }
  refuseRollingBack(name, group.volumes.values());
  for (const volume of shownVolumes(group.volumes)) {
    if (volume.sessions.size === 0) continue;
    const hosts = [...volume.sessions].map(({ client }) => client.peer).join(', ');
    throw new JnbdError(
      'volume_in_use',
      `volume ${name}/${volume.catalog.name} is in use by ${hosts}; disconnect them first`,
    );
  }
  group.changes.replace({ ...group.catalog, role: changeRole(role, 'secondary') });
  return true;
}
