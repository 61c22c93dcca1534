import { shownVolumes } from '../apply/volume.ts';
import type { Group } from '../order/group.ts';

/** Hosts get nothing of a group that others write to, where its setting says so. */
export function isHidden({ role, catalog }: Group): boolean {
  return role !== 'primary' && catalog.secondaryExports === 'hidden';
}

/** Who reads what is hidden now, is disconnected. */
export function disconnectHidden(group: Group): void {
  if (!isHidden(group)) return;
  const reason = `volumes of group ${group.name} are hidden while it is secondary here`;
  for (const volume of shownVolumes(group.volumes)) {
    for (const session of volume.sessions) session.client.revoke(reason);
  }
}
