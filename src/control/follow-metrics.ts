import type { Group } from '../group/order/group.ts';
import { generationOf } from '../group/catalog/lineage.ts';
import { missingContentsBytes } from '../group/volumes/missing-contents.ts';
import { secondariesStatus, upstreamStatus } from './follow-status.ts';
import type { Following } from './following.ts';
import type { CopyClock } from './copy-clock.ts';
import type { LagClock } from './lag-clock.ts';
import type { GroupStatus } from './schema-status.ts';

/** Something about a group, once for each source or follower it is about. */
export interface FollowMetric {
  readonly name: string;
  readonly help: string;
  readonly values: (
    group: Group,
  ) => { readonly value: number; readonly labels: Record<string, string> }[];
}

type Lags = GroupStatus['secondaries'][number]['lag'];
const whats = ['received', 'applied'] as const;
const units = {
  updates: 'Updates that are missing',
  bytes: 'Bytes of updates that are missing, about',
  seconds: 'Age of the oldest update that is missing; 0 when there is none',
} as const;

/** What metrics tell of following and of being followed. */
export function followMetrics(
  following: Pick<Following, 'upstream'>,
  lagClock: LagClock,
  copyClock: CopyClock<Group>,
): FollowMetric[] {
  const upstream = (group: Group): GroupStatus['upstream'] =>
    upstreamStatus(group, following.upstream(group), lagClock, copyClock);
  const secondaries = (group: Group): GroupStatus['secondaries'] =>
    secondariesStatus(group, lagClock);
  const lagValues = (labels: Record<string, string>, lag: Lags, unit: keyof typeof units) =>
    whats.map((what) => ({ value: lag[what][unit], labels: { ...labels, what } }));
  const lagMetrics = (Object.keys(units) as (keyof typeof units)[]).flatMap(
    (unit): FollowMetric[] => [
      {
        name: `jnbd_upstream_lag_${unit}`,
        help: `${units[unit]} here: not received from the source, or not applied.`,
        values: (group) => {
          const status = upstream(group);
          if (!status) return [];
          return lagValues({ group: group.name, source: status.name }, status.lag, unit);
        },
      },
      {
        name: `jnbd_follower_lag_${unit}`,
        help: `${units[unit]} at a follower: not received there, or not applied.`,
        values: (group) =>
          secondaries(group)
            .filter(({ state }) => state !== 'away')
            .flatMap(({ name, lag }) =>
              lagValues({ group: group.name, follower: name }, lag, unit),
            ),
      },
    ],
  );
  return [
    {
      name: 'jnbd_group_primary',
      help: 'Whether hosts write here (1) or elsewhere (0).',
      values: (group) => [
        { value: group.role === 'primary' ? 1 : 0, labels: { group: group.name } },
      ],
    },
    {
      name: 'jnbd_group_generation',
      help: 'How often a primary was made of another system, and one.',
      values: ({ name, catalog }) => [
        { value: generationOf(catalog.lineage), labels: { group: name } },
      ],
    },
    {
      name: 'jnbd_upstream_reading',
      help: 'Whether the group receives from its source (1) or not (0).',
      values: (group) => {
        const status = upstream(group);
        if (!status) return [];
        const labels = { group: group.name, source: status.name };
        const isReading = status.state === 'reading' || status.state === 'resyncing';
        return [{ value: isReading ? 1 : 0, labels }];
      },
    },
    {
      name: 'jnbd_copy_missing_bytes',
      help: 'Contents of volumes that are still to be copied to this system.',
      values: (group) => [{ value: missingContentsBytes(group), labels: { group: group.name } }],
    },
    {
      name: 'jnbd_resync_missing_bytes',
      help: 'Contents of changed regions that are still to be brought to this system.',
      values: (group) => [
        {
          value: following.upstream(group)?.resync?.missingBytes ?? 0,
          labels: { group: group.name },
        },
      ],
    },
    {
      name: 'jnbd_follower_following',
      help: 'Whether a follower has all contents and keeps up (1) or not (0).',
      values: (group) =>
        secondaries(group).map(({ name, state }) => ({
          value: state === 'following' ? 1 : 0,
          labels: { group: group.name, follower: name },
        })),
    },
    {
      name: 'jnbd_follower_dirty_bytes',
      help: 'What changed since a follower was left behind, as far as that is noted.',
      values: (group) =>
        secondaries(group).flatMap(({ name, dirtyBytes }) =>
          dirtyBytes === null
            ? []
            : [{ value: dirtyBytes, labels: { group: group.name, follower: name } }],
        ),
    },
    {
      name: 'jnbd_follower_in_step',
      help: 'Whether replies to hosts wait for a synchronous follower (1) or not (0).',
      values: (group) =>
        secondaries(group).flatMap(({ name, synchronous }) =>
          synchronous === null
            ? []
            : [
                {
                  value: synchronous === 'in-step' ? 1 : 0,
                  labels: { group: group.name, follower: name },
                },
              ],
        ),
    },
    {
      name: 'jnbd_group_protected',
      help: 'Whether every acknowledged update is durable on as many followers as are waited for (1) or not (0).',
      values: ({ name, catalog: { protection } }) =>
        protection
          ? [{ value: protection.state === 'protected' ? 1 : 0, labels: { group: name } }]
          : [],
    },
    {
      name: 'jnbd_group_held_updates',
      help: 'Updates that are not answered because followers are waited for.',
      values: ({ name, replies }) => [{ value: replies.heldUpdates, labels: { group: name } }],
    },
    ...lagMetrics,
  ];
}
