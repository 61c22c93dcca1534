/** The verb that finds out whether systems have the same. */
import { z } from 'zod';
import { flag, groupArgument, option } from './schema-parameters.ts';
import { groupName, milliseconds } from './schema-values.ts';

const bytes = z.int().nonnegative();

const difference = z.strictObject({
  snapshot: z.string().nullable().meta({ description: 'null: in the volume itself' }),
  volume: z.string(),
  offset: bytes,
  length: z.int().positive(),
});

const damage = z.strictObject({
  system: z.string(),
  file: z.string(),
  place: z.string().meta({ description: 'where in the file' }),
  text: z.string(),
});

export const verifyVerbs = {
  verify: {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      snapshots: flag('--snapshots', 'compare each snapshot, too'),
      repairFrom: option(
        '--repair-from <SYSTEM>',
        'give the group here what that system has where they differ',
        groupName,
      ),
      timeout: option(
        '--timeout <TIME>',
        'how long to wait until all systems have what is compared (default 10m)',
        milliseconds,
      ),
    }),
    result: z.strictObject({
      result: z.enum(['same', 'different', 'damaged', 'failed']),
      group: z.string(),
      number: z.int().positive().nullable().meta({
        description: 'the update as of which volumes were compared; null: with nobody',
      }),
      comparedBytes: bytes,
      systems: z.array(
        z.strictObject({
          name: z.string(),
          result: z.enum(['same', 'different', 'failed', 'skipped']),
          reason: z.string().meta({ description: 'why it failed or was skipped, else empty' }),
          differingBytes: bytes,
          differences: z
            .array(difference)
            .meta({ description: 'the first 1000, in order of snapshot, volume and offset' }),
        }),
      ),
      damages: z.array(damage).meta({ description: 'of files beside the volumes, everywhere' }),
      repair: z
        .strictObject({
          from: z.string(),
          bytes: bytes.meta({ description: 'written here, or to come from the source' }),
          leftBytes: bytes.meta({ description: 'overwritten by hosts meanwhile' }),
        })
        .nullable(),
    }),
    details:
      'A follower compares with its source, a primary with those that follow it, as of one update and\n' +
      'while all of them go on; reading is bounded by --copy-rate of the group. Everything else that the\n' +
      'systems keep of the group is checked, too. Exits 7 where something differs or is damaged.',
  },
} as const;
