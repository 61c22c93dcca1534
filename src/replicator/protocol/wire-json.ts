/**
 * The JSON of the replication protocol, checked where it comes in. Members that are not known are
 * dropped: a later version may add some.
 */
import { z } from 'zod';
import type { CatalogVolume } from '../../group/catalog/catalog.ts';
import { type CatalogSnapshot, hiddenNamePattern } from '../../group/catalog/snapshots.ts';
import { type ErrorCode, errorCodes, JnbdError } from '../../platform/errors.ts';
import {
  namePattern,
  snapshotsPerGroupMax,
  updateNumberMax,
  volumeSizeBytesMax,
  volumesPerGroupMax,
} from '../../platform/limits.ts';
import { toProblem } from '../../platform/problem.ts';
import { areaBytes } from '../../volume/area-layout.ts';
import { regionsMax } from '../../volume/region-set.ts';
import { pathSystemsMax, type Position, type Stretch, type WireHeaders } from './wire.ts';

const name = z.string().regex(namePattern);
const groupId = z.string().regex(/^[0-9a-f]{32}$/);
const number48 = z.int().min(0).max(updateNumberMax);
const generation = z.int().min(0).max(0xffff_ffff);
const volumeId = z.int().min(0).max(0xffff);

export const stretchSchema = z.object({
  generation,
  system: number48,
  incarnation: number48,
  firstNumber: number48,
}) satisfies z.ZodType<Stretch>;

export const positionSchema = z.object({
  generation,
  incarnation: number48,
  number: number48,
}) satisfies z.ZodType<Position>;

/** Oldest first; both rise. */
export const lineageSchema = z
  .array(stretchSchema)
  .max(20_000)
  .refine(
    (lineage) =>
      lineage.every((stretch, index) => {
        const before = lineage[index - 1];
        return (
          before === undefined ||
          (stretch.firstNumber > before.firstNumber && stretch.generation >= before.generation)
        );
      }),
    { error: 'stretches are not in order' },
  );

export const catalogVolumeSchema = z.object({
  id: volumeId,
  /** What a user calls it, or an area's, which is `@` and its id. */
  name: z.union([name, z.string().regex(/^@[0-9]{1,5}$/)]),
  sizeBytes: z.int().min(0).max(areaBytes(volumeSizeBytesMax)),
  journalOnly: z.boolean(),
  state: z.enum(['normal', 'abnormal', 'unused']),
  maxHosts: z.int().min(0),
  preserves: z
    .object({ volume: volumeId, dataBytes: z.int().min(1).max(volumeSizeBytesMax) })
    .optional(),
  /** Its contents are on their way back to an earlier update. */
  rollback: z
    .object({
      plan: z.string().regex(/^[0-9a-f]{16}$/),
      to: number48,
      number: number48.optional(),
    })
    .optional(),
}) satisfies z.ZodType<CatalogVolume>;

export const catalogSnapshotSchema = z.object({
  number: number48,
  /** What a user calls it, or that of one that is made to compare systems. */
  name: z.union([name, z.string().regex(hiddenNamePattern)]),
  atMilliseconds: z.int().min(0),
  areas: z.array(z.object({ volume: volumeId, area: volumeId })).max(volumesPerGroupMax),
  isDeleted: z.boolean().optional(),
}) satisfies z.ZodType<CatalogSnapshot>;

export const registrationSchema = z.object({
  systemId: number48,
  /** Of the following system. */
  name,
  /** What the follower knows of the group, or null for one that is new to it. */
  groupId: groupId.nullable(),
  /** Of its newest record, or null where it has none. */
  position: positionSchema.nullable(),
  lineage: lineageSchema,
  /** Whose contents are wanted. A follower that has them all names none. */
  copyVolumes: z.union([z.literal('all'), z.array(volumeId).max(volumesPerGroupMax)]),
  journalOnly: z.boolean(),
  /** Where the follower listens, for following it in turn; the host is the one that it asks from. */
  listenPort: z.int().min(1).max(65535).nullable().default(null),
  /** What the group is called there. */
  groupName: name.nullable().default(null),
  /** It compares contents with what it has: records from the first one on are not what it wants. */
  compare: z.boolean().default(false),
  /** Whether replies to the source's hosts are to wait for it; left out: as before. */
  synchronous: z.boolean().optional(),
});
export type Registration = z.infer<typeof registrationSchema>;

export const registeredSchema = z.object({
  groupId,
  /** Of the source. */
  systemId: number48,
  name,
  /** Empty where the source follows itself and has no record yet. */
  lineage: lineageSchema,
  /** The follower's first record is from + 1. */
  from: number48,
  /** Of the source: handoffs up to it are not the follower's, where it is new to the group. */
  newest: number48.default(0),
  /** As of the record `number`; later changes come as records. */
  catalog: z.object({
    number: number48,
    nextVolumeId: z.int().min(0).max(0x1_0000),
    volumes: z.array(catalogVolumeSchema).max(volumesPerGroupMax),
    snapshots: z.array(catalogSnapshotSchema).max(snapshotsPerGroupMax).optional(),
    snapshotSchedule: z
      .array(z.object({ everySeconds: z.int().min(1), keep: z.int().min(1) }))
      .max(snapshotsPerGroupMax)
      .optional(),
  }),
  journalCapacityBytes: z.int().min(0),
  /** Whether the journal alone is not enough: contents come as copy frames. */
  copy: z.boolean(),
  /** As of `jnbd-path`. */
  path: z.array(number48).max(pathSystemsMax).default([]),
  /** For one that was left behind: what changed from its position on up to `through`, which is `from`. */
  resync: z
    .object({
      through: number48,
      /** Volume, offset, length; in order, none touching another. */
      regions: z.array(z.tuple([volumeId, number48, number48])).max(regionsMax),
    })
    .optional(),
});
export type Registered = z.infer<typeof registeredSchema>;

/** What an error says beside its code and text. */
export const problemDetailsSchema = z.object({
  /** group_state: what the follower adopts. */
  state: z.string().max(64).optional(),
  /** diverged: the highest number up to which both histories are the same. */
  fork: number48.optional(),
  /** diverged, generation_newer: the source's history. */
  lineage: lineageSchema.optional(),
  /** position_released: the lowest number that is still there. */
  oldest: number48.optional(),
});
export type ProblemDetails = z.infer<typeof problemDetailsSchema>;

/** Why a follower is not taken, and what it is told beside the error: on both sides. */
export class AdmissionRefused extends JnbdError {
  readonly details: ProblemDetails;

  constructor(code: ErrorCode, message: string, details: ProblemDetails) {
    super(code, message);
    this.details = details;
  }
}

const problemSchema = problemDetailsSchema.extend({
  code: z.string().max(64),
  detail: z.string().max(4096).optional(),
});

export interface JsonAnswer {
  readonly status: number;
  readonly headers: WireHeaders;
  readonly body: Uint8Array;
}

export function jsonAnswer(status: number, value: object): JsonAnswer {
  return answerOf(status, 'application/json', value);
}

const statusOfCode: Partial<Record<ErrorCode, number>> = {
  protocol_violated: 400,
  protocol_unsupported: 400,
  follower_not_allowed: 403,
  certificate_refused: 403,
  address_not_allowed: 403,
  position_released: 410,
  shutting_down: 503,
  group_opening: 503,
};

/** The answer (RFC 9457) that tells of an error. */
export function problemAnswer(error: JnbdError, details: ProblemDetails = {}): JsonAnswer {
  const problem = toProblem(error, statusOfCode[error.code]);
  return answerOf(problem.status, 'application/problem+json', { ...problem, ...details });
}

/** What an answer with a status of 400 or above says. One that cannot be read is a protocol_violated. */
export function readProblem(
  status: number,
  body: Uint8Array,
): { readonly error: JnbdError; readonly details: ProblemDetails } {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    value = undefined;
  }
  const parsed = problemSchema.safeParse(value);
  if (!parsed.success) {
    const text = `the source answered with status ${status} and no error of jnbd; is it jnbd that answers there?`;
    return { error: new JnbdError('protocol_violated', text), details: {} };
  }
  const { code: told, detail, ...details } = parsed.data;
  const code = errorCodes.find((known) => known === told);
  const text = detail ?? told.replaceAll('_', ' ');
  // A code of a later version: what it means is in the text, and it is not tried again unchanged.
  const error = new JnbdError(code ?? 'unsupported', code ? text : `${text} (${told})`);
  return { error, details };
}

/** Throws JnbdError protocol_violated, naming the member. */
export function parseJson<T>(schema: z.ZodType<T>, body: Uint8Array, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body).toString('utf8'));
  } catch (cause) {
    throw new JnbdError('protocol_violated', `${what} is not JSON`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue && issue.path.length > 0 ? `, ${issue.path.join('.')}` : '';
  throw new JnbdError('protocol_violated', `${what}${where}: ${issue?.message ?? 'invalid'}`, {
    cause: parsed.error,
  });
}

function answerOf(status: number, type: string, value: object): JsonAnswer {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  return {
    status,
    headers: { 'content-type': type, 'content-length': String(body.length) },
    body,
  };
}
