/**
 * `jnbd status --json` and GET /status. Scripts rely on it: members are added, never renamed, never
 * removed, and an array or null stands for what a system does not have.
 */
import { z } from 'zod';
import { localCutStatus } from './schema-cut-status.ts';
import { cloneStatus, snapshotStatus } from './schema-snapshot-status.ts';
import { checksumStatus, followerChecksums } from './schema-checksum-status.ts';
import { historyStatus, provenStatus, viewStatus } from './schema-view-status.ts';
import { rollbackStatus } from './schema-rollback-status.ts';
import { verificationStatus } from './schema-verify-status.ts';

export const updateNumber = z.int().nonnegative().meta({ description: 'an update number' });
const bytes = z.int().nonnegative();

/** How far behind: `seconds` is the age of the oldest update not there yet, 0 when all is there. */
export const lag = z.strictObject({
  updates: updateNumber,
  bytes,
  seconds: z.number().nonnegative(),
});
const lags = z.strictObject({ received: lag, applied: lag });

const client = z.strictObject({
  address: z.string().meta({ description: 'address and port, or the path of a Unix socket' }),
  export: z.string(),
  tls: z.boolean(),
  connectedSince: z.string().meta({ description: 'RFC 3339' }),
});

export const volumeStatus = z.strictObject({
  name: z.string(),
  sizeBytes: bytes,
  allocatedBytes: bytes,
  state: z
    .enum(['normal', 'primary', 'secondary', 'abnormal', 'unused'])
    .meta({ description: 'as hosts get it: abnormal also where its group is' }),
  failure: z.string().meta({ description: 'why it is abnormal, else empty' }),
  journalOnly: z.boolean(),
  maxHosts: z.int().nonnegative().meta({ description: '0: any number' }),
  backingFile: z.string().nullable().meta({ description: 'null: it stores nothing' }),
  exports: z.array(z.string()).meta({ description: 'the names that clients may open now' }),
  uris: z.array(z.string()),
  clients: z.array(client),
  removedAt: z.string().nullable().meta({
    description: 'of a volume that the source of the group deleted: when its file goes (RFC 3339)',
  }),
});

/** `jnbd group configure` sets these. */
export const onFull = z.enum(['suspend', 'throttle', 'fail']);
export const releaseRule = z.enum(['received', 'applied']);
export const onSyncLoss = z.enum(['degrade', 'stall']);
export const secondaryExports = z.enum(['read-only', 'hidden']);
export const areaLayout = z.enum(['striped', 'spare']);

export const condition = z.strictObject({
  code: z.string(),
  severity: z.enum(['warning', 'error']),
  message: z.string(),
  nextCommand: z.string(),
});

/** Whether replies to hosts wait for followers. */
const synchronousStatus = z.strictObject({
  state: z.enum(['none', 'protected', 'unprotected']).meta({
    description:
      '`protected`: every acknowledged update is durable on as many followers as are to be waited for',
  }),
  since: z.string().nullable().meta({ description: 'RFC 3339' }),
  sinceUpdate: updateNumber.nullable().meta({
    description: 'protected: from this update on. Unprotected: it may not hold from this update on',
  }),
  needed: z.int().nonnegative().meta({ description: 'how many followers replies wait for now' }),
  members: z.array(z.string()).meta({ description: 'of whom' }),
  lost: z.array(z.string()).meta({ description: 'for whom the promise ended' }),
  heldUpdates: updateNumber.meta({ description: 'updates that wait for followers now' }),
  wait: z.union([z.literal('all'), z.int().positive()]),
  timeoutMilliseconds: z.number().positive(),
  onLoss: onSyncLoss,
});

/** Whether what hosts were answered is here. */
export const knownLossStatus = z.strictObject({
  state: z.enum(['zero', 'unknown']).meta({
    description: '`zero`: every update that was acknowledged to hosts is here',
  }),
  text: z.string(),
});

export const secondaryStatus = z.strictObject({
  name: z.string(),
  state: z.string().meta({
    description:
      '`away`: it is not heard any more, and this system is not the primary; it may follow another one',
  }),
  synchronous: z
    .enum(['catching-up', 'in-step', 'lost'])
    .nullable()
    .meta({ description: '`in-step`: replies to hosts wait for it; null: they never do' }),
  sent: updateNumber,
  received: updateNumber,
  applied: updateNumber,
  lag: lags,
  dirtyBytes: bytes.nullable().meta({
    description:
      'of one that was left behind: what changed since, and is all it is given when it returns; null: it was not, or that is not known',
  }),
  checksums: followerChecksums.meta({
    description: 'what its checksums showed where it compared them',
  }),
});

export const branchStatus = z.strictObject({
  name: z.string(),
  fork: updateNumber.meta({ description: 'the last update that the group has too' }),
  first: updateNumber,
  newest: updateNumber,
  bytes,
  savedAt: z.string().meta({ description: 'RFC 3339' }),
});

export const groupStatus = z.strictObject({
  name: z.string(),
  role: z.enum(['primary', 'secondary', 'diverged']),
  state: z.enum(['recovering', 'normal', 'abnormal', 'closing', 'closed']),
  connection: z.string().meta({ description: '`none` for a group that follows no other system' }),
  generation: z.int().positive(),
  generationSystem: z.int().positive(),
  limitedBy: z
    .enum(['space', 'journal', 'apply', 'sync', 'followers'])
    .nullable()
    .meta({ description: 'what makes hosts wait, or be refused, now' }),
  watermarks: z.strictObject({
    released: updateNumber,
    applied: updateNumber,
    durable: updateNumber,
    newest: updateNumber,
  }),
  lag: z
    .strictObject({ durable: lag, applied: lag })
    .meta({ description: 'how far durable and applied are behind the newest update' }),
  journal: z.strictObject({
    capacityBytes: bytes,
    usedBytes: bytes,
    unsyncedBytes: bytes,
    minutesToFull: z.number().nonnegative().nullable(),
    onFull,
    syncIntervalMilliseconds: z.number().positive(),
    release: releaseRule.meta({ description: 'what lets go of a record at followers' }),
    copyBytesPerSecond: bytes.nullable(),
    areaLayout,
    areas: z.array(
      z.strictObject({
        path: z.string(),
        role: z.enum(['journal', 'emergency']),
        state: z.enum(['healthy', 'slow', 'failed', 'missing']),
        failure: z.string(),
      }),
    ),
  }),
  deleteDelaySeconds: z.number().nonnegative().meta({
    description: 'how long files of volumes that the source deleted stay here',
  }),
  secondaryExports: secondaryExports.meta({
    description: 'what hosts get of its volumes while it is secondary here',
  }),
  history: historyStatus.meta({ description: 'the window of the past that can be shown' }),
  checksums: checksumStatus.meta({ description: 'whether volumes are shown to be the same' }),
  volumes: z.array(volumeStatus),
  snapshots: z.array(snapshotStatus).meta({ description: 'in the order in which they were made' }),
  snapshotSchedule: z.string().meta({ description: 'as it is typed; none' }),
  clones: z
    .array(cloneStatus)
    .meta({ description: 'writable clones of snapshots, of this system alone' }),
  views: z.array(viewStatus).meta({ description: 'instants of the past that hosts can read' }),
  rollback: rollbackStatus
    .nullable()
    .meta({ description: 'volumes that go back to an earlier update; null: none do' }),
  lastProven: provenStatus
    .nullable()
    .meta({ description: 'what the last drill said; null: there was none' }),
  deletedVolumes: z
    .array(volumeStatus)
    .meta({ description: 'deleted at the source, hidden from hosts, and still on disk here' }),
  pairs: z.array(
    z.strictObject({
      volume: z.string(),
      secondary: z.string(),
      state: z.string(),
      copyCompletionBytes: bytes,
    }),
  ),
  upstream: z
    .strictObject({
      url: z.string(),
      relief: z.array(z.string()).meta({ description: 'what is read from while that is busy' }),
      whenFull: z
        .enum(['keep', 'drop'])
        .meta({ description: 'what becomes of what its own journal has no room for' }),
      preferredUrl: z.string().meta({ description: 'where it reads unless that is busy' }),
      name: z.string().meta({ description: 'of the source' }),
      state: z.string(),
      failure: z.string().meta({ description: 'why it waits or was refused, else empty' }),
      limitedBy: z.string().nullable().meta({ description: 'what holds the next read back' }),
      loss: knownLossStatus,
      contents: z
        .strictObject({
          missingBytes: bytes,
          bytesPerSecond: bytes,
          secondsLeft: z.number().nonnegative().nullable(),
        })
        .nullable()
        .meta({
          description: 'of volumes that are copied, or resynced, here; null: nothing is missing',
        }),
      lag: lags,
    })
    .nullable(),
  secondaries: z.array(secondaryStatus),
  synchronous: synchronousStatus,
  allowedSecondaries: z.array(z.string()),
  members: z
    .array(
      z.strictObject({
        name: z.string(),
        received: updateNumber,
        url: z.string().nullable().meta({ description: 'where it listens, if that is known' }),
      }),
    )
    .meta({ description: 'all other systems that have the group, as far as is known here' }),
  branches: z
    .array(branchStatus)
    .meta({ description: 'what this system had that the group has not' }),
  takenOver: z
    .strictObject({
      generation: z.int().positive(),
      fork: updateNumber,
      system: z.string().meta({ description: 'who told of it' }),
      url: z.string().nullable(),
      updates: updateNumber.meta({ description: 'how many are on this system only' }),
    })
    .nullable()
    .meta({ description: 'while the role is diverged: the newer generation elsewhere' }),
  verification: verificationStatus,
  conditions: z.array(condition),
});

export const status = z.strictObject({
  formatVersion: z.literal(1),
  system: z.strictObject({
    name: z.string(),
    version: z.string(),
    uptimeSeconds: z.number().nonnegative(),
    dataDirectory: z.string(),
    nbd: z.array(z.string()).meta({ description: 'where NBD clients connect' }),
    listenUrl: z.string().meta({ description: 'what other systems write to follow this one' }),
    memoryBytes: bytes,
    residentBytes: bytes,
  }),
  groups: z.array(groupStatus),
  cuts: z
    .array(localCutStatus)
    .meta({ description: 'cuts over several systems that groups here are in, as known here' }),
});

export type Status = z.infer<typeof status>;
export type GroupStatus = z.infer<typeof groupStatus>;
export type VolumeStatus = z.infer<typeof volumeStatus>;
export type SecondaryStatus = z.infer<typeof secondaryStatus>;
