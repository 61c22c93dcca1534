/** The verbs about snapshots: all volumes of a group at one instant. */
import { z } from 'zod';
import { argument, flag, groupArgument, option, outcome } from './schema-parameters.ts';
import { cloneStatus, snapshotStatus } from './schema-snapshot-status.ts';
import { groupName, snapshotPath, snapshotSchedule } from './schema-values.ts';

const snapshotArgument = argument(
  '<GROUP@NAME>',
  'the group, and what the snapshot is called',
  snapshotPath,
);

export const snapshotVerbs = {
  'snapshot create': {
    kind: 'change',
    parameters: z.strictObject({ snapshot: snapshotArgument }),
    result: z.strictObject({ result: outcome, group: z.string(), snapshot: snapshotStatus }),
    details:
      'Every system that follows the group has it, too. What is overwritten from then on is kept once for\n' +
      'each snapshot; each volume is read as GROUP/VOLUME@NAME.',
  },
  'snapshot list': {
    kind: 'read',
    parameters: z.strictObject({
      group: argument('[GROUP]', 'only those of this group', groupName.optional()),
    }),
    result: z.strictObject({
      snapshots: z.array(snapshotStatus.extend({ group: z.string() })),
      clones: z.array(cloneStatus.extend({ group: z.string() })),
    }),
  },
  'snapshot export': {
    kind: 'change',
    parameters: z.strictObject({
      snapshot: snapshotArgument,
      writable: option(
        '--writable <CLONE>',
        'make a clone of that name, which can be written to as GROUP/VOLUME@CLONE',
        groupName,
      ),
    }),
    result: z.strictObject({
      result: outcome,
      group: z.string(),
      snapshot: snapshotStatus,
      clone: cloneStatus.nullable(),
    }),
    details:
      'Shows how the volumes of a snapshot are reached, which they are all the time, read-only.\n' +
      'A clone is on this system alone: nothing of it is journaled, or sent. What is written to it is safe once it\n' +
      'was flushed, as on a disk. It takes the space of what is written. jnbd snapshot delete deletes it, too.',
  },
  'snapshot delete': {
    kind: 'change',
    parameters: z.strictObject({
      snapshot: argument('<GROUP@NAME>', 'the snapshot, or the writable clone', snapshotPath),
      force: flag('--force', 'needed for a clone that was written to, because all of that is lost'),
    }),
    result: z.strictObject({ result: outcome }),
  },
  'snapshot schedule': {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      rules: argument(
        '<RULES>',
        'how many stay of each kind, as hourly:24,daily:7; or none',
        snapshotSchedule,
      ),
    }),
    result: z.strictObject({ result: outcome, group: z.string(), schedule: z.string() }),
    details:
      'Rules are hourly, daily, weekly, or a time as 15m, and how many of them stay. Whoever is the primary makes\n' +
      'a snapshot auto-YYYYMMDD-HHMMSS (UTC) in each hour, day, ..., one for all rules that want it, and deletes what\n' +
      'no rule keeps. What was missed is made once. Snapshots of other names are left alone.',
  },
} as const;
