import type { GroupStatus, Status, VolumeStatus } from '../control/schema-status.ts';
import { JnbdError } from '../platform/errors.ts';

/** Throws JnbdError group_not_found. */
export function findGroup(status: Status, name: string): GroupStatus {
  const group = status.groups.find((each) => each.name === name);
  if (group) return group;
  const names = status.groups.map((each) => each.name).join(', ') || 'none';
  throw new JnbdError('group_not_found', `group ${name} does not exist; there are: ${names}`);
}

/** Throws JnbdError (group_not_found, volume_not_found). */
export function findVolume(group: GroupStatus, name: string): VolumeStatus {
  const byName = (each: VolumeStatus): boolean => each.name === name;
  const volume = group.volumes.find(byName) ?? group.deletedVolumes.findLast(byName);
  if (volume) return volume;
  const names = group.volumes.map((each) => each.name).join(', ') || 'none';
  throw new JnbdError(
    'volume_not_found',
    `volume ${group.name}/${name} does not exist; group ${group.name} has: ${names}`,
  );
}
