import type { Group } from '../../group/order/group.ts';
import { AdmissionRefused, type Registered } from '../protocol/wire-json.ts';

const catalogRetryMilliseconds = 20;

/** Contents show what is applied; the catalog that goes with them is no newer than that. */
export async function untilCatalogIsApplied(group: Group): Promise<void> {
  while (group.watermarks.applied < group.catalog.number) {
    group.driver.applyNow();
    await new Promise<void>((resolve) => group.clock.after(catalogRetryMilliseconds, resolve));
    if (group.state !== 'normal') {
      const text = `group ${group.name} is ${group.state}: ${group.failureText}`;
      throw new AdmissionRefused('group_state', text, { state: group.state });
    }
  }
}

/**
 * What a follower that was left behind, and has everything up to `position`, needs beside the records behind
 * `through`. Undefined: what changed since is not known. Rejects with JnbdError: group_state,
 * record_unreadable, read_failed, shutting_down.
 */
export async function resyncFor(
  group: Group,
  systemId: number,
  position: number,
): Promise<Registered['resync']> {
  const { maps } = group.followers;
  if (!maps.find(systemId)) return undefined;
  for (;;) {
    await untilCatalogIsApplied(group);
    const { number } = group.catalog;
    const known = await maps.regionsSince(systemId, position, number);
    if (!known) return undefined;
    // Another change came meanwhile.
    if (group.catalog.number !== number) continue;
    return {
      through: known.through,
      regions: [...known.regions.ranges()].map(({ volume, offset, length }) => [
        volume,
        offset,
        length,
      ]),
    };
  }
}
