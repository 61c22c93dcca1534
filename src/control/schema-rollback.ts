/** Going back: volumes become what they were at an earlier instant. */
import { z } from 'zod';
import { argument, flag } from './schema-parameters.ts';
import { takenBack } from './schema-rollback-status.ts';
import { pastPosition, volumesPath } from './schema-values.ts';

export const rollbackVerbs = {
  'volume rollback': {
    kind: 'change',
    parameters: z.strictObject({
      target: argument('<GROUP[/VOLUME]>', 'the volume, or all volumes of the group', volumesPath),
      at: argument(
        '--at <POSITION>',
        'NUMBER, GENERATION:NUMBER, a time (RFC 3339), -10m, snapshot:NAME or marker:NAME',
        pastPosition,
      ),
      dryRun: flag('--dry-run', 'say what it would take back, and change nothing'),
      force: flag('--force', 'needed, because it takes writes back; connected hosts are put out'),
    }),
    result: z.strictObject({
      result: z.enum(['done', 'already_done', 'would_be_done']),
      group: z.string(),
      ...takenBack.shape,
      deleted: z
        .array(z.string())
        .meta({ description: 'volumes that were there then; they are not made again' }),
      hosts: z.array(z.string()).meta({ description: 'who was connected: addresses' }),
    }),
    details:
      'What differs is written, as hosts write, so followers and the history have it, and it can be taken back in turn.\n' +
      'Hosts are refused until it is done; stopping the command does not stop it once writing has begun.\n' +
      'Where a rollback cannot be carried out, --at latest leaves its volumes as they are.',
  },
} as const;
