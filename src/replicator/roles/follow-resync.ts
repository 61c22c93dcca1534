import type { Group } from '../../group/order/group.ts';
import { withoutContents } from '../../group/catalog/follow-file.ts';
import { beginResync } from '../../group/roles/resync.ts';
import type { System } from '../../group/system/system.ts';
import { must } from '../../platform/assert.ts';
import { formatSize } from '../../platform/size-text.ts';
import { RegionSet } from '../../volume/region-set.ts';
import { beginAnew } from './new-beginning.ts';
import type { Registered } from '../protocol/wire-json.ts';

/**
 * It was left behind: what is between comes as contents of what changed. Resolves with the group, opened
 * again, and what is told of it. Rejects as `beginResync` does.
 */
export async function resyncFrom(
  system: System,
  group: Group,
  registered: Registered,
  isWanted: () => boolean,
): Promise<{ readonly group: Group; readonly text: string }> {
  const state = must(group.follow.state, 'a group that follows has a source');
  const follow = withoutContents(state);
  const { through, regions } = must(registered.resync, 'the source has regions');
  if (group.catalog.journalOnly) return beginAnew(system, group, registered, follow, isWanted);
  const { newest } = group.watermarks;
  const { lineage, catalog } = registered;
  const changed = RegionSet.of(
    regions.map(([volume, offset, length]) => ({ volume, offset, length })),
  );
  const origin = { through, lineage, catalog, regions: changed, follow, isWanted };
  const opened = await beginResync(system, group, origin);
  return {
    group: opened,
    text: `group ${group.name} goes on from update ${newest} to ${through} by ${formatSize(changed.bytes)} in ${changed.count} regions from system ${state.sourceName}`,
  };
}
