import type { CatalogSnapshot } from '../group/catalog/snapshots.ts';
import { areaName, isHidden } from '../group/catalog/snapshots.ts';
import type { Clone } from '../group/snapshots/clones.ts';
import type { Group } from '../group/order/group.ts';
import type { CloneStatus, SnapshotStatus } from './schema-snapshot-status.ts';

/** The names that an export may be asked for by, and the URIs of a full name. */
export interface SnapshotDoors {
  namesOf(fullName: string): string[];
  uris(fullName: string): string[];
}

export function snapshotsStatus(group: Group, doors: SnapshotDoors): SnapshotStatus[] {
  return shownSnapshots(group).map((snapshot) => snapshotStatusOf(group, snapshot, doors));
}

/** Those that users made. */
export function shownSnapshots({ snapshots }: Group): CatalogSnapshot[] {
  return snapshots.list.filter((snapshot) => !isHidden(snapshot));
}

export function snapshotStatusOf(
  group: Group,
  snapshot: CatalogSnapshot,
  doors: SnapshotDoors,
): SnapshotStatus {
  const byId = new Map([...group.volumes.values()].map((volume) => [volume.catalog.id, volume]));
  const volumes = snapshot.areas.flatMap(({ volume, area: id }) => {
    const area = group.volumes.get(areaName(id));
    const name = byId.get(volume)?.catalog.name;
    if (!area || name === undefined) return [];
    const fullName = `${group.name}/${name}@${snapshot.name}`;
    const exports = snapshot.isDeleted === true ? [] : doors.namesOf(fullName);
    return [
      {
        name,
        sizeBytes: area.catalog.preserves?.dataBytes ?? 0,
        preservedBytes: preservedBytes(group, id),
        exports,
        uris: exports.length > 0 ? doors.uris(fullName) : [],
      },
    ];
  });
  return {
    name: snapshot.name,
    number: snapshot.number,
    createdAt: new Date(snapshot.atMilliseconds).toISOString(),
    state: snapshot.isDeleted === true ? 'deleted' : 'normal',
    preservedBytes: volumes.reduce((sum, volume) => sum + volume.preservedBytes, 0),
    volumes,
  };
}

export function cloneStatusOf(group: Group, clone: Clone, doors: SnapshotDoors): CloneStatus {
  const { name, state, failure, entry } = clone;
  const volumes = clone.volumes.map(({ entry: { name: volume, dataBytes }, store }) => {
    const fullName = `${group.name}/${volume}@${name}`;
    const exports = doors.namesOf(fullName);
    return {
      name: volume,
      sizeBytes: dataBytes,
      allocatedBytes: store?.allocatedBytes ?? 0,
      exports,
      uris: exports.length > 0 ? doors.uris(fullName) : [],
    };
  });
  return {
    name,
    snapshot: entry.snapshot.name,
    createdAt: new Date(entry.createdAtMilliseconds).toISOString(),
    state,
    failure,
    allocatedBytes: volumes.reduce((sum, volume) => sum + volume.allocatedBytes, 0),
    volumes,
  };
}

/** On disk, the map included. */
export function preservedBytes(group: Group, area: number): number {
  const file = group.volumes.get(areaName(area))?.file;
  // A closed group's files are closed too.
  return file && group.state !== 'closed' ? file.allocatedBytesSync() : 0;
}
