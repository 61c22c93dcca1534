import type { Cutting } from './cutting.ts';
import type { LocalCutStatus } from './schema-cut-status.ts';

type Labels = Record<string, string>;

/** Something about cuts, once for each cut, member or target list that this system has a part in. */
export interface CutMetric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly values: () => { readonly value: number; readonly labels: Labels }[];
}

/** What metrics tell of consistent cuts over several systems. */
export function cutMetrics(cutting: Pick<Cutting, 'list'>): CutMetric[] {
  const each =
    (read: (cut: LocalCutStatus, labels: Labels) => { value: number; labels: Labels }[]) => () =>
      cutting.list().flatMap((cut) => read(cut, { cut: cut.name }));
  return [
    {
      name: 'jnbd_cut_markers_committed_total',
      help: 'Markers that this system made, as the controller of the cut, and that were committed.',
      type: 'counter',
      values: each(({ rounds }, labels) => [{ value: rounds.committed, labels }]),
    },
    {
      name: 'jnbd_cut_rounds_aborted_total',
      help: 'Markers that this system tried to make, as the controller of the cut, and gave up.',
      type: 'counter',
      values: each(({ rounds }, labels) => [{ value: rounds.aborted, labels }]),
    },
    {
      name: 'jnbd_cut_controller',
      help: 'Whether this system makes the markers of the cut (1) or not (0).',
      type: 'gauge',
      values: each(({ isController }, labels) => [{ value: isController ? 1 : 0, labels }]),
    },
    {
      name: 'jnbd_cut_newest_marker_age_seconds',
      help: 'Age of the newest committed marker in the journals of members here.',
      type: 'gauge',
      values: each(({ newest }, labels) => (newest ? [{ value: newest.ageSeconds, labels }] : [])),
    },
    {
      name: 'jnbd_cut_held_seconds_total',
      help: 'For how long markers held replies to hosts, since the group was opened.',
      type: 'counter',
      values: each(({ members }, labels) =>
        members.map(({ group, heldSeconds }) => ({
          value: heldSeconds,
          labels: { ...labels, group },
        })),
      ),
    },
    {
      name: 'jnbd_cut_target_age_seconds',
      help: 'Age of the marker that a secondary of a target list applies towards.',
      type: 'gauge',
      values: each(({ targets }, labels) =>
        targets.flatMap(({ list, group, target }) =>
          target ? [{ value: target.ageSeconds, labels: { ...labels, targets: list, group } }] : [],
        ),
      ),
    },
    {
      name: 'jnbd_cut_received_marker_age_seconds',
      help: 'Age of the newest committed marker that a secondary of a target list received.',
      type: 'gauge',
      values: each(({ targets }, labels) =>
        targets.flatMap(({ list, group, received }) =>
          received
            ? [{ value: received.ageSeconds, labels: { ...labels, targets: list, group } }]
            : [],
        ),
      ),
    },
  ];
}
