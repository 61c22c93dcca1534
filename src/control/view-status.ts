import type { Group } from '../group/order/group.ts';
import type { Proven } from '../group/views/proven.ts';
import type { View } from '../group/views/view.ts';
import type { GroupStatus } from './schema-status.ts';
import type { ViewStatus } from './schema-view-status.ts';
import type { SnapshotDoors } from './snapshot-status.ts';

export function viewsStatus(group: Group, doors: SnapshotDoors): ViewStatus[] {
  return group.views.list.map((view) => viewStatusOf(group, view, doors));
}

export function viewStatusOf(group: Group, view: View, doors: SnapshotDoors): ViewStatus {
  const { name, number, createdAtMilliseconds } = view.entry;
  return {
    name,
    number,
    createdAt: new Date(createdAtMilliseconds).toISOString(),
    state: view.state,
    writable: view.isWritable,
    failure: view.overlay?.failure || view.reason,
    allocatedBytes: view.overlay?.allocatedBytes ?? 0,
    missing: [...view.missing, ...view.unsettled.map((entry) => entry.name)],
    volumes: view.volumes.map(({ entry, sessions }) => {
      const fullName = `${group.name}/${entry.name}@${name}`;
      const exports = doors.namesOf(fullName);
      return {
        name: entry.name,
        sizeBytes: entry.sizeBytes,
        exports,
        uris: exports.length > 0 ? doors.uris(fullName) : [],
        clients: [...sessions].map(({ client }) => client.peer),
      };
    }),
  };
}

export function historyStatusOf({ views, watermarks, catalog }: Group): GroupStatus['history'] {
  const { history } = views;
  const { history: limit } = catalog;
  const [oldest] = history.bases;
  return {
    from: oldest?.from ?? watermarks.applied,
    fromTime: oldest ? new Date(oldest.atMilliseconds).toISOString() : null,
    promisedSeconds: limit?.kind === 'time' ? limit.milliseconds / 1000 : 0,
    promisedBytes: limit?.kind === 'size' ? limit.bytes : 0,
    keptBytes: history.bytes,
  };
}

export function lastProvenOf({ views }: Group): GroupStatus['lastProven'] {
  return views.proven ? provenStatusOf(views.proven) : null;
}

export function provenStatusOf(proven: Proven): NonNullable<GroupStatus['lastProven']> {
  const { number, atMilliseconds, result, passedAtMilliseconds } = proven;
  const text = (milliseconds: number): string => new Date(milliseconds).toISOString();
  const passedAt = passedAtMilliseconds === undefined ? null : text(passedAtMilliseconds);
  return { number, at: text(atMilliseconds), result, passedAt };
}
