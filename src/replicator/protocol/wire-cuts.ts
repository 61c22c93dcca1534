/** What systems of a cut ask each other; PROTOCOL.md, "Cuts". Epochs and sequences are whole numbers of any size. */
import { z } from 'zod';
import { namePattern, updateNumberMax } from '../../platform/limits.ts';
import type { JsonAnswer } from './wire-json.ts';

export const cutMembersMax = 32;
export const targetListsMax = 16;
/** Markers that one answer names: the newest. */
export const toldMarkersMax = 10_000;

const name = z.string().regex(namePattern);
const id128 = z.string().regex(/^[0-9a-f]{32}$/);
const number48 = z.int().min(0).max(updateNumberMax);
const milliseconds = z.number().min(0);
const text = z.string().max(4096);
/** Rises without end, so it travels as digits. */
const whole = z
  .string()
  .regex(/^\d{1,18}$/)
  .transform((digits) => BigInt(digits));

/** One group of one system. */
export const cutPlaceSchema = z.object({
  systemId: number48,
  systemName: name,
  /** Where it listens. */
  url: z
    .string()
    .max(200)
    .regex(/^https?:\/\/[^/\s]+$/),
  groupId: id128,
  /** What the group is called there. */
  group: name,
});
export type CutPlace = z.output<typeof cutPlaceSchema>;

/** Who is primary of a member's group now. */
const movedToSchema = cutPlaceSchema.omit({ groupId: true }).extend({
  /** The member that the cut names follows it: it could be its secondary. */
  isFollowed: z.boolean(),
});
export type MovedTo = z.output<typeof movedToSchema>;

export const targetListSchema = z.object({
  name,
  /** One secondary for each member, in their order. */
  places: z.array(cutPlaceSchema).min(1).max(cutMembersMax),
});
export type TargetList = z.output<typeof targetListSchema>;

export const cutDefinitionSchema = z
  .object({
    cutId: id128,
    name,
    members: z.array(cutPlaceSchema).min(1).max(cutMembersMax),
    targets: z.array(targetListSchema).max(targetListsMax),
    /** Null: markers are made by hand alone. */
    intervalMilliseconds: z.number().min(10).nullable(),
    /** The longest that hosts of a member wait for a round. */
    roundLimitMilliseconds: z.number().min(1).max(10_000),
  })
  .refine(
    ({ members, targets }) => targets.every(({ places }) => places.length === members.length),
    { error: 'a target list has one secondary for each member' },
  );
export type CutDefinition = z.output<typeof cutDefinitionSchema>;

/** Members first, then the secondaries of the target lists. */
export function placesOfCut({
  members,
  targets,
}: Pick<CutDefinition, 'members' | 'targets'>): CutPlace[] {
  return [...members, ...targets.flatMap(({ places }) => places)];
}

const markerId = { epoch: whole, sequence: whole };
const namedMarker = { ...markerId, wallTimeMilliseconds: z.number(), name: z.string().max(64) };
const markerSchema = z.object({
  ...namedMarker,
  number: number48,
  isCommitted: z.boolean(),
});
/** As it stands in the journal of one place. */
export type PlaceMarker = z.output<typeof markerSchema>;
const idSchema = z.object(markerId);
export type CutMarkerId = z.output<typeof idSchema>;

const nothing = z.object({});
const ofGroup = z.object({ groupId: id128, ...markerId });
const ofTarget = z.object({ list: name, groupId: id128, ...markerId });
const roundsSchema = z.object({
  committed: z.int().min(0),
  aborted: z.int().min(0),
  lastAbort: z.object({ reason: text, atMilliseconds: z.number() }).nullable(),
});
export type RoundCounts = z.output<typeof roundsSchema>;

/**
 * `holding`: applied is what was released to it, and nothing behind that. `incomplete`: contents are missing, so
 * it applies what comes. `promoted`: at the marker of its promotion.
 */
export const targetStates = ['holding', 'incomplete', 'promoted', 'primary', 'away'] as const;
export type TargetState = (typeof targetStates)[number];

/** What is asked, by name, and what is answered. */
export const cutExchanges = {
  /** What would stand against this place being in the cut. */
  inspect: {
    ask: z.object({ name, group: name, part: z.enum(['member', 'target']) }),
    told: z.object({ place: cutPlaceSchema.omit({ url: true }), obstacle: text }),
  },
  define: {
    ask: z.object({ definition: cutDefinitionSchema }),
    told: z.object({ result: z.enum(['done', 'already_done']) }),
  },
  remove: { ask: nothing, told: z.object({ result: z.enum(['done', 'already_done']) }) },
  survey: {
    ask: z.object({ isControlling: z.boolean() }),
    told: z.object({
      promised: whole,
      /** Since the system started; 0: none. */
      claimed: whole,
      /** Who claimed it. */
      controller: z.string().max(64),
      isControlling: z.boolean(),
      rounds: roundsSchema,
      groups: z.array(
        z.object({
          groupId: id128,
          /** Why it takes no part in rounds, or empty. */
          obstacle: text,
          heldMillisecondsPerSecond: milliseconds,
          newest: markerSchema.nullable(),
          /** Where it is not primary: who is, as far as it knows. */
          movedTo: movedToSchema.optional(),
        }),
      ),
    }),
  },
  claim: { ask: z.object({ epoch: whole }), told: nothing },
  /** What a snapshot right behind the next marker needs; without it nobody makes one. */
  'prepare-snapshot': { ask: z.object({ groupId: id128, snapshot: name }), told: nothing },
  mark: {
    ask: z.object({ groupId: id128, ...namedMarker, snapshot: name.optional() }),
    told: z.object({ number: number48 }),
  },
  told: { ask: ofGroup, told: z.object({ isHeld: z.boolean() }) },
  release: { ask: ofGroup, told: nothing },
  commit: { ask: ofGroup, told: nothing },
  /** The member that is asked makes a marker at once, as the controller. */
  round: {
    ask: z.object({ name: z.string().max(64), snapshot: name.optional() }),
    told: z.object(namedMarker),
  },
  targets: {
    ask: z.object({
      list: name,
      groupId: id128,
      isControlling: z.boolean(),
      /** No marker that it has leads the list on. */
      needsMore: z.boolean().optional(),
    }),
    told: z.object({
      state: z.enum(targetStates),
      text,
      /** From `heldAt` on, oldest first. */
      markers: z.array(markerSchema).max(toldMarkersMax),
      heldAt: number48,
      received: number48,
      applied: number48,
      released: idSchema.nullable(),
      next: idSchema.nullable(),
      promotion: z.object({ ...markerId, attempt: z.string().max(64) }).nullable(),
    }),
  },
  prepare: { ask: ofTarget, told: nothing },
  apply: { ask: ofTarget, told: nothing },
  'prepare-promotion': {
    ask: ofTarget.extend({ attempt: z.string().max(64), isDryRun: z.boolean() }),
    told: z.object({
      number: number48,
      /** Received, and left out. */
      updatesBehind: number48,
      obstacle: text,
    }),
  },
  'cancel-promotion': {
    ask: z.object({ list: name, groupId: id128, attempt: z.string().max(64) }),
    told: nothing,
  },
  promote: {
    ask: z.object({ list: name, groupId: id128, attempt: z.string().max(64) }),
    told: z.object({ result: z.enum(['done', 'already_done']) }),
  },
} as const;

export type CutExchange = keyof typeof cutExchanges;
export type CutAsk<Name extends CutExchange> = z.output<(typeof cutExchanges)[Name]['ask']>;
export type CutTold<Name extends CutExchange> = z.output<(typeof cutExchanges)[Name]['told']>;

export function cutPath(cutId: string, what: CutExchange): string {
  return `/v1/cuts/${cutId}/${what}`;
}

/** `undefined`: it is about something else. */
export function cutRouteOf(
  method: string,
  path: string,
): { readonly cutId: string; readonly what: CutExchange } | undefined {
  const match = /^\/v1\/cuts\/([0-9a-f]{32})\/([a-z-]{1,32})$/.exec(path);
  const [, cutId = '', what = ''] = match ?? [];
  if (method !== 'POST' || !Object.hasOwn(cutExchanges, what)) return undefined;
  return { cutId, what: what as CutExchange };
}

export function encodeCutJson(value: object): Buffer {
  return Buffer.from(
    JSON.stringify(value, (_, member: unknown) =>
      typeof member === 'bigint' ? member.toString() : member,
    ),
  );
}

export function cutAnswer(value: object): JsonAnswer {
  const body = encodeCutJson(value);
  return {
    status: 200,
    headers: { 'content-type': 'application/json', 'content-length': String(body.length) },
    body,
  };
}
