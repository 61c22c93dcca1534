import { JnbdError } from '../../platform/errors.ts';
import type { CatalogVolume } from '../catalog/catalog.ts';
import type { FollowState } from '../catalog/follow-file.ts';
import type { Group } from '../order/group.ts';
import { partedContents } from './shown-contents.ts';

export interface CopiedGroup {
  readonly catalog: { readonly volumes: readonly Pick<CatalogVolume, 'id' | 'sizeBytes'>[] };
  readonly follow: { readonly state: Pick<FollowState, 'copies'> | undefined };
}

/** Contents of volumes that this system still has to get from its source, holes included. */
export function missingContentsBytes({ catalog, follow }: CopiedGroup): number {
  return (follow.state?.copies ?? []).reduce((bytes, { volume: id, address }) => {
    const size = catalog.volumes.find((volume) => volume.id === id)?.sizeBytes ?? 0;
    return bytes + Math.max(0, size - address);
  }, 0);
}

/** Its volumes are of no one instant. Whoever follows nobody is not known to lack anything. */
export function isIncomplete(group: Group): boolean {
  const { state } = group.follow;
  if (!state) return false;
  const { copies, resync, shows } = state;
  const isWhole = !resync && copies.length === 0 && group.watermarks.applied >= shows;
  return !isWhole || partedContents(group) !== undefined;
}

/** Whoever follows nobody is not known to lack anything. Throws JnbdError state_refuses. */
export function refuseIncomplete(group: Group, { resync }: FollowState): void {
  if (!isIncomplete(group)) return;
  const { name } = group;
  const advice = resync
    ? 'when its resync is over, or promote it, which takes the resync back'
    : `when all contents are here, or give it up: jnbd group delete ${name} --force`;
  throw new JnbdError(
    'state_refuses',
    `the volumes of group ${name} are of no one instant yet: unfollow it ${advice}`,
  );
}
