import type { Group } from '../group/order/group.ts';
import { preservedBytes, shownSnapshots } from './snapshot-status.ts';

type Labels = Record<string, string>;

/** Something about the snapshots of a group. */
export interface SnapshotMetric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly values: (group: Group) => { readonly value: number; readonly labels: Labels }[];
}

export const snapshotMetrics: readonly SnapshotMetric[] = [
  {
    name: 'jnbd_snapshot_preserved_bytes',
    help: 'What a snapshot keeps on disk; of deleted ones what older ones need.',
    type: 'gauge',
    values: (group) =>
      shownSnapshots(group).map((snapshot) => ({
        value: snapshot.areas.reduce((sum, { area }) => sum + preservedBytes(group, area), 0),
        labels: { group: group.name, snapshot: snapshot.name, number: String(snapshot.number) },
      })),
  },
  {
    name: 'jnbd_snapshot_map_bytes',
    help: 'Memory that says which blocks snapshots keep.',
    type: 'gauge',
    values: ({ name, snapshots }) => [{ value: snapshots.mapBytes, labels: { group: name } }],
  },
  {
    name: 'jnbd_preserved_blocks_total',
    help: 'Blocks that were kept for a snapshot before a host overwrote them.',
    type: 'counter',
    values: ({ name, snapshots }) => [
      { value: snapshots.preserver.preservedBlocks, labels: { group: name } },
    ],
  },
  {
    name: 'jnbd_preserving_waits_total',
    help: 'Times that a write of a host waited for the disk to read what it overwrites.',
    type: 'counter',
    values: ({ name, snapshots }) => [
      { value: snapshots.preserver.writesThatWaited, labels: { group: name } },
    ],
  },
];
