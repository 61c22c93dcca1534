/** The verbs about consistent cuts over several systems. */
import { z } from 'zod';
import { cutStatus, markerStatus } from './schema-cut-status.ts';
import { argument, flag, option, outcome, repeatable } from './schema-parameters.ts';
import { updateNumber } from './schema-status.ts';
import { groupName, milliseconds, moment, place, targetList } from './schema-values.ts';

const cutArgument = argument('<CUT>', 'name of the cut', groupName);

export const cutVerbs = {
  'cut create': {
    kind: 'change',
    parameters: z.strictObject({
      cut: cutArgument,
      member: repeatable(
        '--member <URL/GROUP>',
        'a primary, by where its system listens and its group: http://HOST:PORT/GROUP; repeat for each',
        place,
      ),
      targets: repeatable(
        '--targets <LIST=URL/GROUP,...>',
        'secondaries that go from marker to marker together: one for each member, in their order; repeatable',
        targetList,
      ),
      interval: option(
        '--interval <TIME>',
        'how often a marker is made (default 1s), or off',
        z.union([z.literal('off'), milliseconds]),
      ),
      roundLimit: option(
        '--round-limit <TIME>',
        'the longest that a marker may hold hosts; it is given up then (default 50ms)',
        milliseconds,
      ),
    }),
    result: z.strictObject({ result: outcome, cut: cutStatus }),
    details:
      'To be typed on one of its systems, which tells the others. Secondaries of a target list apply what they\n' +
      'receive up to a marker only, and all of them the same one.',
  },
  'cut mark': {
    kind: 'change',
    parameters: z.strictObject({
      cut: cutArgument,
      name: option('--name <NAME>', 'to promote at it by this name', groupName),
      at: option(
        '--at <TIME>',
        'when: RFC 3339, such as 2030-01-31T12:00:00Z (default: now)',
        moment,
      ),
      snapshot: option(
        '--snapshot <NAME>',
        'make a snapshot of that name right behind it on all members',
        groupName,
      ),
    }),
    result: z.strictObject({
      result: z.literal('done'),
      marker: markerStatus,
      snapshot: z.string().nullable(),
    }),
    details:
      'It returns when the marker is committed. Where it was given up (cut_aborted) type it again; members\n' +
      'delete a snapshot whose marker was given up.',
  },
  'cut status': {
    kind: 'change',
    parameters: z.strictObject({
      cut: argument('[CUT]', 'only this cut', groupName.optional()),
    }),
    result: z.strictObject({ cuts: z.array(cutStatus) }),
    details:
      'All systems of the cut are asked. What this one knows by itself is in jnbd status --json.',
  },
  'cut promote': {
    kind: 'change',
    parameters: z.strictObject({
      cut: cutArgument,
      targets: argument('--targets <LIST>', 'which target list', groupName),
      marker: option(
        '--marker <MARKER>',
        'its id or its name (default: the newest that all can be brought to)',
        z.string().regex(/^([0-9]+\.[0-9]+|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$/, {
          error: (issue) =>
            `'${String(issue.input)}' is no marker; write EPOCH.SEQUENCE, or its name`,
        }),
      ),
      dryRun: flag('--dry-run', 'say at which marker, and what would be left out; change nothing'),
    }),
    result: z.strictObject({
      result: z.enum(['done', 'already_done', 'would_be_done']),
      marker: markerStatus,
      groups: z.array(
        z.strictObject({
          system: z.string(),
          url: z.string(),
          group: z.string(),
          position: updateNumber.meta({ description: 'the last update that it keeps' }),
          leftOut: updateNumber.meta({
            description: 'updates that it received behind it, which become a branch',
          }),
          obstacle: z.string().meta({ description: 'why it would be refused, else empty' }),
        }),
      ),
    }),
    details:
      'All secondaries of the list become primary at the same marker, or none does. What died in the middle is\n' +
      'completed by typing it again.',
  },
  'cut delete': {
    kind: 'change',
    parameters: z.strictObject({ cut: cutArgument }),
    result: z.strictObject({
      result: outcome,
      unreached: z
        .array(z.string())
        .meta({ description: 'systems that could not be told; type it there' }),
    }),
    details: 'Secondaries of its target lists apply again what they receive.',
  },
} as const;
