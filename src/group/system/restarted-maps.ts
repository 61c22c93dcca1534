import type { Disk } from '../../platform/disk.ts';
import { type DirtyMap, writeDirtyMap } from '../../volume/dirty-map.ts';
import type { PreservedVolume } from '../../volume/preserved-files.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { readMapIfWhole } from '../catalog/dirty-map-files.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { agreesAt, type Position, positionOf } from '../catalog/lineage.ts';

interface Restart {
  /** The journal goes on behind this number. */
  readonly number: number;
  readonly catalog: Catalog;
  /** Undefined: the group does not go back. */
  readonly putBack?: readonly PreservedVolume[] | undefined;
}

/**
 * Makes the dirty maps those of the journal that begins anew behind the plan's number. One that was made for
 * that has everything up to there. Where a group goes back, what a map has beyond that does no harm. Done
 * again it changes nothing more. Throws format_newer, system errors.
 */
export function restartMaps(disk: Disk, files: GroupFiles, plan: Restart): void {
  const { number, catalog } = plan;
  const begins = positionOf(catalog.lineage, number);
  for (const name of disk.listSync(files.directory)) {
    if (!/^dirty-\d+$/.test(name)) continue;
    const path = `${files.directory}/${name}`;
    const map = readMapIfWhole(disk, path);
    if (!map || !isKept(map, plan, begins)) continue;
    writeDirtyMap(disk, path, { ...map, through: begins, own: begins });
  }
}

function isKept({ from, through }: DirtyMap, plan: Restart, begins: Position): boolean {
  if (plan.putBack) return from <= plan.number;
  return through.number === begins.number && agreesAt(plan.catalog.lineage, through);
}
