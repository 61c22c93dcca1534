import { JnbdError } from '../../platform/errors.ts';
import { formatSize } from '../../platform/size-text.ts';
import type { KeptMap } from '../catalog/dirty-map-files.ts';
import type { KeptFollower } from '../catalog/follower-file.ts';
import type { FollowedGroup } from './follower-holds.ts';

type Told = Pick<FollowedGroup, 'catalog' | 'conditions'>;

/** Throws position_released. */
export function refuseReleased(
  group: string,
  follower: string,
  from: number,
  released: number,
): never {
  throw new JnbdError(
    'position_released',
    `group ${group} has released updates up to ${released}, and what those from ${from + 1} on changed is not known here; follower ${follower} has to compare the volumes (jnbd follow --rewind) or to copy them`,
  );
}

/** Without a map nobody knows what changed since. */
export function raiseBehind(
  { catalog, conditions }: Told,
  { name, received }: KeptFollower,
  map: KeptMap | undefined,
): void {
  const group = catalog.name;
  const what = `follower ${name}, which has updates up to ${received}, was left behind: the journal of group ${group} reaches back to them no more`;
  conditions.raise(`${group} ${name}`, {
    code: 'follower_behind',
    severity: map ? 'warning' : 'error',
    message: map
      ? `${what}; it comes back by itself and is given the regions that changed since, and nothing else (${formatSize(map.bytes)} when this was told)`
      : `${what}; what changed since is not known: it has to compare its volumes, or to copy them`,
    nextCommand: map ? `jnbd group show ${group}` : `jnbd follow ${group} --from URL --rewind`,
  });
}

export function clearBehind(
  { catalog, conditions }: Told,
  { name }: KeptFollower,
  what: string,
): void {
  const text = `follower ${name} of group ${catalog.name} ${what}`;
  conditions.clear(`${catalog.name} ${name}`, 'follower_behind', text);
}
