/** The verbs about the past of a group: its volumes as they were at any update of the window. */
import { z } from 'zod';
import { argument, flag, groupArgument, option, outcome } from './schema-parameters.ts';
import { provenStatus, viewStatus } from './schema-view-status.ts';
import { groupName, historyLimit, milliseconds, pastPosition, viewPath } from './schema-values.ts';

const viewArgument = argument('<GROUP@NAME>', 'the group, and what the view is called', viewPath);
const positionForms =
  'latest, NUMBER, GENERATION:NUMBER, a time (RFC 3339), -10m, snapshot:NAME or marker:NAME';
const updateNumber = z.int().nonnegative();

export const historyOption = option(
  '--history <LIMIT>',
  'how far back the group can be shown here: a time (24h), what may be kept of it (10GiB), or off (default)',
  historyLimit,
);

export const viewVerbs = {
  'view create': {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      at: argument('--at <POSITION>', positionForms, pastPosition),
      name: option('--name <NAME>', 'what it is called (default at-NUMBER)', groupName),
      writable: flag('--writable', 'hosts can write to it; that is kept on this system alone'),
    }),
    result: z.strictObject({ result: outcome, group: z.string(), view: viewStatus }),
    details:
      'Each volume is read as GROUP/VOLUME@NAME, while hosts go on writing and whatever role the group has\n' +
      'here. How far back a view can be is set by: jnbd group configure GROUP --history 24h\n' +
      'What is written to a writable one is safe once it was flushed, as on a disk, and takes space. It ends with the\n' +
      'view: where the journal has no more room for the past, too. What is to stay is better a clone of a snapshot.',
  },
  'view list': {
    kind: 'read',
    parameters: z.strictObject({ group: groupArgument }),
    result: z.strictObject({ views: z.array(viewStatus) }),
  },
  'view delete': {
    kind: 'change',
    parameters: z.strictObject({
      view: viewArgument,
      force: flag(
        '--force',
        'also while clients are connected to it; needed where it was written to, because that is lost',
      ),
    }),
    result: z.strictObject({ result: outcome }),
  },
  'view diff': {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      from: argument('<FROM>', positionForms, pastPosition),
      to: argument('<TO>', 'the same', pastPosition),
    }),
    result: z.strictObject({
      group: z.string(),
      from: updateNumber,
      to: updateNumber,
      volumes: z.array(
        z.strictObject({
          name: z.string(),
          changedBytes: updateNumber,
          extents: z.array(z.strictObject({ offset: updateNumber, length: updateNumber })),
        }),
      ),
    }),
    details:
      'What updates behind FROM, up to TO, wrote, in order of address; what was written may be what stood there.\n' +
      'Both have to be in the journal, or in the history.',
  },
  'view prove': {
    kind: 'change',
    parameters: z.strictObject({
      view: viewArgument,
      result: argument(
        '--result <RESULT>',
        'what a check said: passed or failed',
        provenStatus.shape.result,
      ),
    }),
    result: z.strictObject({ result: outcome, proven: provenStatus }),
    details:
      'Status and metrics show since when the group is known to be recoverable. jnbd drill does this by itself.',
  },
  drill: {
    kind: 'local',
    parameters: z.strictObject({
      group: groupArgument,
      check: option(
        '--check <COMMAND>',
        'run by a shell; exits with 0 where all is well (default: fsck of what is found, which needs nbdfuse)',
        z.string().min(1, { error: 'give a command' }),
      ),
      timeout: option('--timeout <TIME>', 'how long it may take (default 10m)', milliseconds),
      writable: flag('--writable', 'the check may write to the view, as a mount does'),
    }),
    result: z.strictObject({
      result: z.literal('passed'),
      group: z.string(),
      number: updateNumber,
      seconds: z.number().nonnegative(),
    }),
    details:
      'Makes a view of what is newest, runs the command, deletes the view, and notes what was proved. The command\n' +
      'has JNBD_GROUP, JNBD_NUMBER, JNBD_VOLUMES (names) and for each volume JNBD_URI_NAME, where what is neither a\n' +
      'letter nor a digit is written as _. It exits\n' +
      'with 0 where all is well, with 75 where it cannot tell. Exits with 7 where the check fails, 5 where it takes too long.',
  },
} as const;
