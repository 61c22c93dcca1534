/** The verbs about following other systems, and about systems that follow. */
import { z } from 'zod';
import {
  argument,
  flag,
  groupArgument,
  groupChanged,
  journalDirOption,
  journalSizeOption,
  option,
  repeatable,
} from './schema-parameters.ts';
import {
  groupStatus,
  knownLossStatus,
  lag,
  secondaryStatus,
  updateNumber,
} from './schema-status.ts';
import {
  batchSize,
  count,
  groupName,
  milliseconds,
  pace,
  seed,
  pastPosition,
} from './schema-values.ts';
import { takenBack } from './schema-rollback-status.ts';

const sourceUrl = z
  .string()
  .regex(/^https?:\/\/[^/\s]+\/?$/, {
    error: (issue) =>
      `'${String(issue.input)}' is no source; write http://HOST:PORT or https://HOST:PORT`,
  })
  .transform((url) => url.replace(/\/$/, ''));
const secondaryArgument = argument('<SYSTEM>', 'name of the system', groupName);

export const followVerbs = {
  follow: {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      from: argument('--from <URL>', 'where the other system listens: http://HOST:PORT', sourceUrl),
      relief: repeatable(
        '--relief <URL>',
        'read from here while the first source is busy or away, then go back; repeatable',
        sourceUrl,
      ),
      seed: repeatable(
        '--seed <VOLUME=FILE>',
        'begin the volume with this image, and copy what differs; repeatable',
        seed,
      ),
      sourceGroup: option(
        '--source-group <NAME>',
        "the group's name there (default: the same)",
        groupName,
      ),
      journalOnly: flag('--journal-only', 'keep the journal alone, and no volumes'),
      sync: flag(
        '--sync',
        "replies to the source's hosts wait until this system has what they wrote",
      ),
      noSync: flag('--no-sync', 'they wait for this system no more'),
      rewind: flag(
        '--rewind',
        'where both have another history: save what is only here as a branch, and go back; where the source has released what comes next: compare',
      ),
      compare: flag(
        '--compare',
        'with --rewind: also where not all of that is in the journal any more, by hashes',
      ),
      pace: option(
        '--pace <PACE>',
        'when to read: immediate (default), interval:TIME or adaptive[:INPUT,...]',
        pace,
      ),
      batchSize: option(
        '--batch-size <SIZE>',
        'how much to read at once: adaptive (default) or a size',
        batchSize,
      ),
      links: option('--links <COUNT>', 'connections used at the same time (default 2)', count(1)),
      whenFull: option(
        '--when-full <WHAT>',
        'what the own journal has no room for: keep it in memory (default), or drop it and ask again',
        z.enum(['keep', 'drop']),
      ),
      journalSize: journalSizeOption,
      journalDir: journalDirOption,
    }),
    result: groupChanged,
    details:
      'A group that is not here yet is created and copied. One that is here goes on from the new source\n' +
      'behind its newest update. A source with another history is refused, or followed with --rewind: what\n' +
      'is on this system only becomes a branch, and only what differs is copied.',
  },
  unfollow: {
    kind: 'change',
    parameters: z.strictObject({ group: groupArgument }),
    result: groupChanged,
  },
  suspend: {
    kind: 'change',
    parameters: z.strictObject({ group: groupArgument }),
    result: groupChanged,
    details: 'The source keeps what comes meanwhile, as far as its journal has room.',
  },
  resume: {
    kind: 'change',
    parameters: z.strictObject({ group: groupArgument }),
    result: groupChanged,
  },
  promote: {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      at: option(
        '--at <POSITION>',
        'as of an earlier update: NUMBER, GENERATION:NUMBER, a time (RFC 3339), -10m, snapshot:NAME or marker:NAME',
        pastPosition,
      ),
      dryRun: flag('--dry-run', 'show what would be lost, and change nothing'),
      force: flag('--force', 'also when contents are not complete'),
    }),
    result: z.strictObject({
      result: z.enum(['done', 'already_done', 'would_be_done']),
      position: z.int().nonnegative().meta({ description: 'the last update that is kept' }),
      lost: lag.meta({
        description: 'what the source had, as far as is known, and this system has not',
      }),
      loss: knownLossStatus
        .nullable()
        .meta({ description: 'of what hosts were answered; null: it was primary already' }),
      rollsBack: z.boolean().meta({
        description:
          'a resync is under way: volumes become what they were before it, as of position',
      }),
      branch: z
        .strictObject({ first: updateNumber, newest: updateNumber, bytes: z.int().nonnegative() })
        .nullable()
        .meta({ description: 'with --at: the updates that become a branch; null: there are none' }),
      rollback: takenBack.nullable().meta({
        description:
          'with --at, where what is behind it is in the volumes: they are rolled back before hosts are let in',
      }),
      others: z
        .array(
          z.strictObject({
            name: z.string(),
            url: z.string().nullable(),
            newest: updateNumber,
            aheadUpdates: updateNumber.meta({ description: 'those that are not here' }),
            newerGeneration: z
              .int()
              .nullable()
              .meta({ description: 'it knows of one: another system was promoted already' }),
            isHeard: z.boolean().meta({
              description: 'it answered now (asked with --dry-run only); else it is as told last',
            }),
          }),
        )
        .meta({
          description: 'others that have the group, beside the source; those first that have most',
        }),
      obstacle: z
        .string()
        .nullable()
        .meta({ description: 'with --dry-run: why it would be refused' }),
      group: groupStatus,
    }),
    details:
      'With --at what stands behind that update is saved as a branch first (jnbd branch list, export), and\n' +
      'without room for it nothing changes. Where it is in the volumes already it stays in the history, and the\n' +
      'volumes are rolled back, as far as the own history or a snapshot reaches: hosts are refused until then\n' +
      '(jnbd wait GROUP --for primary). With\n' +
      '--dry-run the other systems that have the group are asked whether one has more of it.\n' +
      'What came and is not durable or applied yet is waited for, 30 seconds at most (not with --at).\n' +
      'Stop the hosts of the old primary first: what they write there afterwards is not here. Clients of\n' +
      'read-only exports are disconnected; they can write once they connect again.',
  },
  demote: {
    kind: 'change',
    parameters: z.strictObject({ group: groupArgument }),
    result: groupChanged,
  },
  handoff: {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      to: argument('--to <SYSTEM>', 'name of a system that follows', groupName),
      timeout: option(
        '--timeout <TIME>',
        'how long it may take to catch up (default 30s)',
        milliseconds,
      ),
    }),
    result: z.strictObject({
      result: z.literal('done'),
      position: z.int().nonnegative().meta({ description: 'the last update of this primary' }),
      group: groupStatus,
    }),
    details:
      'Clients are disconnected when the other system may take over, and find the volumes there. Should it be\n' +
      'lost before it has begun, promote --force makes this one primary again.',
  },
  'secondary list': {
    kind: 'read',
    parameters: z.strictObject({ group: groupArgument }),
    result: z.strictObject({
      secondaries: z.array(secondaryStatus),
      allowed: z
        .array(z.string())
        .meta({ description: 'names of systems that may follow from elsewhere' }),
    }),
  },
  'secondary allow': {
    kind: 'change',
    parameters: z.strictObject({ group: groupArgument, secondary: secondaryArgument }),
    result: groupChanged,
  },
  'secondary add': {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      secondary: secondaryArgument,
      url: argument('--url <URL>', 'where it listens: http://HOST:PORT', sourceUrl),
      groupName: option('--group <NAME>', 'what the group is to be called there', groupName),
      journalOnly: flag('--journal-only', 'it keeps the journal alone, and no volumes'),
      sync: flag('--sync', 'replies to hosts here wait until it has what they wrote'),
      journalSize: journalSizeOption,
    }),
    result: groupChanged,
    details:
      'The other system is asked to follow, as with jnbd follow there. From another machine it takes that\n' +
      'only from a certificate that may change things (jnbd pki issue without --read-only).',
  },
  'secondary remove': {
    kind: 'change',
    parameters: z.strictObject({ group: groupArgument, secondary: secondaryArgument }),
    result: groupChanged,
  },
  wait: {
    kind: 'local',
    parameters: z.strictObject({
      group: groupArgument,
      for: argument(
        '--for <WHAT>',
        'synced (all of the source is received and applied), primary, or applied=NUMBER',
        z.string().regex(/^(synced|primary|applied=\d{1,15})$/, {
          error: (issue) =>
            `'${String(issue.input)}' is nothing to wait for; write synced, primary or applied=NUMBER`,
        }),
      ),
      timeout: option('--timeout <TIME>', 'give up after so long (default 60s)', milliseconds),
    }),
    result: z.strictObject({ result: z.literal('reached'), group: groupStatus }),
  },
} as const;
