import type { AgreedPoint, ChecksumReport } from '../group/apply/compared-points.ts';
import { shownVolumes } from '../group/apply/volume.ts';
import type { Group } from '../group/order/group.ts';
import type { GroupStatus } from './schema-status.ts';
import type { SnapshotMetric } from './snapshot-metrics.ts';

type FollowerChecksumsStatus = GroupStatus['secondaries'][number]['checksums'];

export function checksumStatusOf({ checksums, volumes }: Group): GroupStatus['checksums'] {
  const { isOn, isComplete, agreed, differing } = checksums;
  return {
    state: isOn ? (isComplete ? 'kept' : 'building') : 'off',
    ...agreedStatus(agreed),
    differing: namesOf(volumes, differing),
  };
}

/** As that follower told it. */
export function followerChecksumsOf(
  { followers, volumes }: Group,
  systemId: number,
): FollowerChecksumsStatus {
  const told = followers.checksums.of(systemId);
  if (told === undefined || told === 'off') {
    const nothing = { comparedAt: null, ...agreedStatus(undefined), differing: [] };
    return { state: told ?? 'unknown', ...nothing };
  }
  const { compared, agreed, differing } = told;
  return {
    state: differing.length === 0 ? 'same' : 'differs',
    comparedAt: compared,
    ...agreedStatus(agreed),
    differing: namesOf(volumes, differing),
  };
}

function agreedStatus(agreed: AgreedPoint | undefined) {
  return {
    agreedAt: agreed?.number ?? null,
    agreedTime: agreed ? new Date(agreed.atMilliseconds).toISOString() : null,
  };
}

function namesOf(volumes: Group['volumes'], ids: readonly number[]): string[] {
  return shownVolumes(volumes)
    .filter(({ catalog }) => ids.includes(catalog.id))
    .map(({ catalog }) => catalog.name);
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
  ofFollowers(
    'jnbd_follower_checksums_agreed_timestamp_seconds',
    'When checksums showed last that a follower has what the primary had; nothing before it told so.',
    ({ agreed }) => agreed && agreed.atMilliseconds / 1000,
  ),
  ofFollowers(
    'jnbd_follower_checksums_agreed_update',
    'The last update at which checksums showed that a follower has what the primary had.',
    ({ agreed }) => agreed?.number,
  ),
  ofFollowers(
    'jnbd_follower_checksums_differing_volumes',
    'Volumes of which a follower has not what the primary had, as its checksums show.',
    ({ differing }) => differing.length,
  ),
];

/** Of those that compared something. */
function ofFollowers(
  name: string,
  help: string,
  valueOf: (report: ChecksumReport) => number | undefined,
): SnapshotMetric {
  return {
    name,
    help,
    type: 'gauge',
    values: ({ name: group, followers }) =>
      followers.list().flatMap(({ systemId, name: follower }) => {
        const told = followers.checksums.of(systemId);
        const value = told === undefined || told === 'off' ? undefined : valueOf(told);
        return value === undefined ? [] : [{ value, labels: { group, follower } }];
      }),
  };
}
