/** The verbs about snapshots: all volumes of a group at one instant. */
import { z } from 'zod';
import { argument, groupArgument, outcome } from './schema-parameters.ts';
import { snapshotStatus } from './schema-snapshot-status.ts';
import { snapshotPath } from './schema-values.ts';

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
    parameters: z.strictObject({ group: groupArgument }),
    result: z.strictObject({ snapshots: z.array(snapshotStatus) }),
  },
  'snapshot delete': {
    kind: 'change',
    parameters: z.strictObject({ snapshot: snapshotArgument }),
    result: z.strictObject({ result: outcome }),
  },
} as const;
