import type { Group } from '../../group/order/group.ts';
import type { ToldHistory } from '../../group/order/take-over.ts';
import { partedContents } from '../../group/volumes/shown-contents.ts';
import { JnbdError } from '../../platform/errors.ts';

/**
 * Nothing that a source sends makes volumes of one instant that show what it never had. Throws contents_diverged, which
 * a comparison of all contents mends. `told`: of the source that is to be followed.
 */
export function checkContents(group: Group, told?: ToldHistory): void {
  const parted = partedContents(group, told);
  if (!parted) return;
  const { name } = group;
  throw new JnbdError(
    'contents_diverged',
    `contents of group ${name} that came from another system show updates up to ${parted.number} of a history that this source does not have: --rewind compares the volumes with it, and brings what differs`,
  );
}
