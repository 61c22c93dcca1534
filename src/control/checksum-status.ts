import { shownVolumes } from '../group/apply/volume.ts';
import type { Group } from '../group/order/group.ts';
import type { GroupStatus } from './schema-status.ts';
import type { SnapshotMetric } from './snapshot-metrics.ts';

export function checksumStatusOf({ checksums, volumes }: Group): GroupStatus['checksums'] {
  const { isOn, isComplete, agreed, differing } = checksums;
  return {
    state: isOn ? (isComplete ? 'kept' : 'building') : 'off',
    agreedAt: agreed?.number ?? null,
    agreedTime: agreed ? new Date(agreed.atMilliseconds).toISOString() : null,
    differing: shownVolumes(volumes)
      .filter(({ catalog }) => differing.includes(catalog.id))
      .map(({ catalog }) => catalog.name),
  };
}

export const checksumMetrics: readonly SnapshotMetric[] = [
  {
    name: 'jnbd_checksums_agreed_timestamp_seconds',
    help: 'When checksums showed last that the volumes are what the source has; nothing before they did.',
    type: 'gauge',
    values: ({ name, checksums: { agreed } }) =>
      agreed ? [{ value: agreed.atMilliseconds / 1000, labels: { group: name } }] : [],
  },
  {
    name: 'jnbd_checksums_differing_volumes',
    help: 'Volumes that are not what the source has, as checksums show.',
    type: 'gauge',
    values: ({ name, checksums }) => [
      { value: checksums.differing.length, labels: { group: name } },
    ],
  },
];
