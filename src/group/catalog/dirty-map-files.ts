import type { Checkpoint } from '../../journal/checkpoint.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, systemErrorCode } from '../../platform/errors.ts';
import { type DirtyMap, readDirtyMap } from '../../volume/dirty-map.ts';
import type { Catalog } from './catalog.ts';
import type { KeptFollower } from './follower-file.ts';
import type { GroupFiles } from './group-files.ts';
import { agreesAt } from './lineage.ts';

/** In the retention: what is not in every dirty map yet. Maps follow what others hold, by whole segments. */
export const dirtyMapOwner = 'dirty map';

/** What is known of a dirty map without its regions. */
export interface KeptMap {
  readonly systemId: number;
  /** Updates behind this one are in it, ... */
  readonly from: number;
  /** ... up to this one; the journal keeps those behind. */
  through: number;
  /** Of all regions. */
  bytes: number;
}

/**
 * The maps of followers that are behind, as far as they belong to the group's history. Others are removed:
 * one is left where a follower came back, or was dropped, and a crash came before its removal. Throws
 * JnbdError format_newer.
 */
export function readKeptMaps(
  disk: Disk,
  files: GroupFiles,
  catalog: Catalog,
  checkpoint: Checkpoint,
  followers: readonly KeptFollower[],
): readonly KeptMap[] {
  const kept: KeptMap[] = [];
  const behind = new Set<string>();
  for (const { systemId, state } of followers) {
    if (state !== 'behind') continue;
    const path = files.dirtyMap(systemId);
    const map = readMapIfWhole(disk, path);
    const through = map && throughOf(map, catalog, checkpoint);
    if (!map || through === undefined) continue;
    behind.add(path);
    kept.push({ systemId, from: map.from, through, bytes: map.regions.bytes });
  }
  for (const name of disk.listSync(files.directory)) {
    const path = `${files.directory}/${name}`;
    if (/^dirty-\d+(\.tmp)?$/.test(name) && !behind.has(path)) removeIfPossible(disk, path);
  }
  return kept;
}

/** A damaged one is as good as none: its follower is compared when it comes back. Throws format_newer. */
export function readMapIfWhole(disk: Disk, path: string): DirtyMap | undefined {
  try {
    return readDirtyMap(disk, path);
  } catch (error) {
    if (error instanceof JnbdError && error.code === 'catalog_damaged') return undefined;
    throw error;
  }
}

/** It takes room, and means nothing. */
function removeIfPossible(disk: Disk, path: string): void {
  try {
    disk.removeFileSync(path);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
  }
}

/** A journal that began anew behind `through` has it; else the map is of what was there before. */
function throughOf(
  { groupId, through, own }: DirtyMap,
  { groupId: ownGroupId, lineage }: Catalog,
  { applied }: Checkpoint,
): number | undefined {
  if (groupId !== ownGroupId) return undefined;
  if (through.number <= applied && agreesAt(lineage, through)) return through.number;
  return agreesAt(lineage, own) ? own.number : undefined;
}
