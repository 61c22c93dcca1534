import type { Group } from '../group/order/group.ts';
import type { SnapshotMetric } from './snapshot-metrics.ts';

function one(name: string, value: number): ReturnType<SnapshotMetric['values']> {
  return [{ value, labels: { group: name } }];
}

function secondsSince({ clock }: Group, milliseconds: number): number {
  return Math.max(0, (clock.wallMilliseconds() - milliseconds) / 1000);
}

/** Of the past of a group that can be shown. */
export const viewMetrics: readonly SnapshotMetric[] = [
  {
    name: 'jnbd_history_seconds',
    help: 'How far back the group can be shown; 0 where nothing that is overwritten is kept.',
    type: 'gauge',
    values: (group) => {
      const [oldest] = group.views.history.bases;
      return one(group.name, oldest ? secondsSince(group, oldest.atMilliseconds) : 0);
    },
  },
  {
    name: 'jnbd_history_bytes',
    help: 'What is kept on disk of what was overwritten.',
    type: 'gauge',
    values: ({ name, views }) => one(name, views.history.bytes),
  },
  {
    name: 'jnbd_views',
    help: 'Instants of the past that hosts can read.',
    type: 'gauge',
    values: ({ name, views }) => one(name, views.list.length),
  },
  {
    name: 'jnbd_views_written_bytes',
    help: 'What was written to views that can be written to, on disk.',
    type: 'gauge',
    values: ({ name, views }) => {
      const bytes = views.list.reduce((sum, view) => sum + (view.overlay?.allocatedBytes ?? 0), 0);
      return one(name, bytes);
    },
  },
  {
    name: 'jnbd_last_proven_recoverable_seconds',
    help: 'How long ago a drill passed; nothing before one did.',
    type: 'gauge',
    values: (group) => {
      const at = group.views.proven?.passedAtMilliseconds;
      return at === undefined ? [] : one(group.name, secondsSince(group, at));
    },
  },
];
