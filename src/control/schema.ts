/**
 * One definition of each verb: what it is called, what it takes, what it gives back. The API checks
 * requests by it, the command line is built from it, and the documentation lists it.
 */
import { z } from 'zod';
import type { Problem } from '../platform/problem.ts';
import { branchVerbs } from './schema-branch.ts';
import { cutVerbs } from './schema-cut.ts';
import { followVerbs } from './schema-follow.ts';
import { pkiVerbs } from './schema-pki.ts';
import { snapshotVerbs } from './schema-snapshot.ts';
import { historyOption, viewVerbs } from './schema-view.ts';
import { rollbackVerbs } from './schema-rollback.ts';
import { verifyVerbs } from './schema-verify.ts';
import { systemEvent } from './schema-events.ts';
import type { VerbName } from './schema-names.ts';
import {
  argument,
  flag,
  groupArgument,
  groupChanged,
  journalDirOption,
  journalSizeOption,
  option,
  outcome,
  parameterTexts,
  repeatable,
  synchronousOptions,
  type VerbDefinition,
} from './schema-parameters.ts';
import {
  areaLayout,
  groupStatus,
  onFull,
  releaseRule,
  secondaryExports,
  status,
  volumeStatus,
} from './schema-status.ts';
import {
  count,
  groupName,
  listenAddress,
  milliseconds,
  pastTime,
  size,
  tcpAddress,
  volumePath,
} from './schema-values.ts';

const path = z.string().min(1, { error: 'give a path' });
const volumeArgument = argument('<GROUP/VOLUME>', 'the volume', volumePath);
const onFullOption = option(
  '--on-full <POLICY>',
  'what a journal that nobody empties means for hosts: suspend, throttle or fail',
  onFull,
);
const syncIntervalOption = option(
  '--sync-interval <TIME>',
  'the longest that an acknowledged write waits to be made durable (default 20ms)',
  milliseconds,
);
const releaseOption = option(
  '--release <RULE>',
  'what lets go of a record: every follower has received it, or has applied it (default received)',
  releaseRule,
);
const copyRateOption = option(
  '--copy-rate <SIZE>',
  'contents of volumes that go to new followers in a second, such as 50MiB, or unlimited (default)',
  z.union([z.literal('unlimited'), size]),
);
const branchBudgetOption = option(
  '--branch-budget <SIZE>',
  'room for updates that a system had alone when another one took over (default: a quarter of the journal)',
  size,
);
const secondaryExportsOption = option(
  '--secondary-exports <WHAT>',
  'volumes of a secondary: read-only (default; they change under whoever reads them) or hidden',
  secondaryExports,
);
const checksumsOption = option(
  '--checksums <WHAT>',
  'checksums of volumes, by which source and followers show that they hold the same: on (default) or off',
  z.enum(['on', 'off']),
);
const deleteDelayOption = option(
  '--delete-delay <TIME>',
  'how long a follower keeps the file of a volume that was deleted at its source (default 10m)',
  milliseconds,
);
const areasOption = option(
  '--areas <LAYOUT>',
  'journal directories in turn (striped), or one in use and the others in reserve (spare)',
  areaLayout,
);

const volumeChanged = z.strictObject({
  result: outcome,
  group: z.string(),
  volume: volumeStatus,
});
const deleted = z.strictObject({ result: outcome });

export const verbs = {
  serve: {
    kind: 'local',
    isAlone: true,
    parameters: z.strictObject({
      data: option('--data <DIR>', 'the data directory (default ./jnbd-data)', path),
      name: option('--name <NAME>', 'name of a new system (default: of its host)', groupName),
      rename: option('--rename <NAME>', 'give the system another name', groupName),
      nbd: repeatable(
        '--nbd <ADDRESS>',
        'serve NBD on HOST:PORT or unix:PATH; repeatable (default 127.0.0.1:10809)',
        listenAddress,
      ),
      listen: option(
        '--listen <ADDRESS>',
        'serve status and metrics on HOST:PORT (default 127.0.0.1:10810)',
        tcpAddress,
      ),
      config: option('--config <FILE>', 'read these options from a YAML file', path),
      memory: option('--memory <SIZE>', 'memory for data in flight (default 192MiB)', size),
      tls: option(
        '--tls <MODE>',
        'TLS for NBD: off (default), allow or require',
        z.enum(['off', 'allow', 'require']),
      ),
      tlsDir: option(
        '--tls-dir <DIR>',
        'directory with ca-cert.pem, server-cert.pem and server-key.pem',
        path,
      ),
      pskFile: option(
        '--psk-file <FILE>',
        'pre-shared keys, one USER:HEXADECIMAL-KEY a line',
        path,
      ),
      clientCerts: option(
        '--client-certs <MODE>',
        'certificates of clients: optional (default) or required',
        z.enum(['optional', 'required']),
      ),
      confirmPrimary: flag(
        '--confirm-primary',
        'serve no group before another system that has it said that nobody took over (default: wait 2s)',
      ),
      insecure: flag('--insecure', 'allow addresses beyond loopback without TLS'),
      hooks: option(
        '--hooks <DIR>',
        'run the executables in it when roles and states change',
        path,
      ),
      hookTimeout: option(
        '--hook-timeout <TIME>',
        'how long each of them may take (default 30s)',
        milliseconds,
      ),
    }),
    result: z.strictObject({
      result: z.literal('listening'),
      name: z.string(),
      dataDirectory: z.string(),
      processId: z.int(),
      nbd: z.array(z.string()),
      listen: z.string(),
      groups: z.array(z.string()).meta({ description: 'their names' }),
    }),
    details:
      'Options in --config FILE have the same names without the dashes; what stands on the command\n' +
      'line goes first. With --json one line is printed once the system listens.',
  },
  status: {
    kind: 'read',
    parameters: z.strictObject({
      watch: flag('--watch', 'show it again every second'),
    }),
    result: status,
  },
  events: {
    kind: 'local',
    parameters: z.strictObject({
      group: argument('[GROUP]', 'only what concerns this group', groupName.optional()),
      since: option(
        '--since <TIME>',
        'from then on: so long ago (10m), or an RFC 3339 time (default: all that is known)',
        pastTime,
      ),
      follow: flag('--follow', 'go on with what happens from now on'),
    }),
    result: systemEvent,
    details:
      'The daemon keeps some thousands of events in memory, until it ends; its log has the same ones.\n' +
      'With --json each is one line. Ctrl-C ends --follow.',
  },
  version: {
    kind: 'local',
    parameters: z.strictObject({}),
    result: z.strictObject({ program: z.string(), daemon: z.string().nullable() }),
  },
  'group create': {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      journalSize: journalSizeOption,
      journalDir: journalDirOption,
      areas: areasOption,
      onFull: onFullOption,
      syncInterval: syncIntervalOption,
    }),
    result: groupChanged,
  },
  'group list': {
    kind: 'read',
    parameters: z.strictObject({}),
    result: z.strictObject({ groups: z.array(groupStatus) }),
  },
  'group show': {
    kind: 'read',
    parameters: z.strictObject({ group: groupArgument }),
    result: groupStatus,
  },
  'group configure': {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      onFull: onFullOption,
      syncInterval: syncIntervalOption,
      areas: areasOption,
      release: releaseOption,
      copyRate: copyRateOption,
      branchBudget: branchBudgetOption,
      secondaryExports: secondaryExportsOption,
      deleteDelay: deleteDelayOption,
      history: historyOption,
      checksums: checksumsOption,
      ...synchronousOptions,
    }),
    result: groupChanged,
  },
  'group delete': {
    kind: 'change',
    parameters: z.strictObject({
      group: groupArgument,
      force: flag('--force', 'also when it has volumes: all their data is lost'),
    }),
    result: deleted,
  },
  'volume create': {
    kind: 'change',
    parameters: z.strictObject({
      volume: volumeArgument,
      size: option('--size <SIZE>', 'size; with --from, not less than there', size),
      from: option(
        '--from <FILE|URI>',
        'fill it with the contents of a file or of an NBD export',
        path,
      ),
      journalOnly: flag('--journal-only', 'journal what is written, store nothing'),
    }),
    result: volumeChanged,
    details:
      'With --from the volume can be used once the copy is complete; stopping the command deletes it.',
  },
  'volume list': {
    kind: 'read',
    parameters: z.strictObject({
      group: argument('[GROUP]', 'only the volumes of this group', groupName.optional()),
    }),
    result: z.strictObject({
      volumes: z.array(z.strictObject({ group: z.string(), volume: volumeStatus })),
    }),
  },
  'volume show': {
    kind: 'read',
    parameters: z.strictObject({ volume: volumeArgument }),
    result: z.strictObject({ group: z.string(), volume: volumeStatus }),
  },
  'volume resize': {
    kind: 'change',
    parameters: z.strictObject({
      volume: volumeArgument,
      size: argument('--size <SIZE>', 'the new size; volumes only grow', size),
    }),
    result: volumeChanged,
    details: 'NBD clients see the new size when they connect again.',
  },
  'volume configure': {
    kind: 'change',
    parameters: z.strictObject({
      volume: volumeArgument,
      maxHosts: option(
        '--max-hosts <COUNT>',
        'refuse connections from more different hosts than this; 0: no limit',
        count(0),
      ),
    }),
    result: volumeChanged,
  },
  'volume delete': {
    kind: 'change',
    parameters: z.strictObject({
      volume: volumeArgument,
      force: flag('--force', 'needed, because all its data is lost'),
    }),
    result: deleted,
  },
  ...rollbackVerbs,
  ...pkiVerbs,
  ...followVerbs,
  ...branchVerbs,
  ...cutVerbs,
  ...snapshotVerbs,
  ...viewVerbs,
  ...verifyVerbs,
} as const satisfies Record<VerbName, VerbDefinition>;

/** Parameters as they travel: texts as people write them. */
export type Input<Name extends VerbName> = z.input<(typeof verbs)[Name]['parameters']>;
export type Parameters<Name extends VerbName> = z.output<(typeof verbs)[Name]['parameters']>;
export type Result<Name extends VerbName> = z.output<(typeof verbs)[Name]['result']>;

export type ChangeVerbName = {
  [Name in VerbName]: (typeof verbs)[Name]['kind'] extends 'change' ? Name : never;
}[VerbName];

/** One line of the answer to a verb that takes long; the last one has `result` or `error`. */
export interface AnswerLine {
  readonly progress?: { readonly bytes: number; readonly totalBytes: number };
  readonly result?: unknown;
  readonly error?: Problem;
}

/** Where a verb that changes something is posted. */
export function verbPath(name: VerbName): string {
  return `/verbs/${name.replaceAll(' ', '-')}`;
}

/** The first thing that is wrong with parameters, by the name the user knows it under. */
export function firstIssue(parameters: z.ZodObject, error: z.ZodError): string {
  const issue = error.issues[0];
  if (!issue) return error.message;
  if (issue.code === 'unrecognized_keys') return `there is no option ${issue.keys.join(', ')}`;
  const [name] = issue.path;
  const schema: unknown = typeof name === 'string' ? parameters.shape[name] : undefined;
  const text = schema instanceof z.ZodType ? parameterTexts.get(schema) : undefined;
  const label = text?.form.split(' ')[0] ?? String(name ?? '');
  return issue.code === 'invalid_value'
    ? `${label}: write ${issue.values.map(String).join(' or ')}, not '${String(issue.input)}'`
    : `${label}: ${issue.message}`;
}
