/** What is told of consistent cuts over several systems. */
import { z } from 'zod';

const updateNumber = z.int().nonnegative().meta({ description: 'an update number' });

export const markerStatus = z.strictObject({
  id: z.string().meta({ description: 'EPOCH.SEQUENCE: later markers of a cut have higher ones' }),
  name: z.string().meta({ description: 'as it was given by hand, else empty' }),
  at: z.string().meta({ description: 'RFC 3339, by the clock of the system that made it' }),
  ageSeconds: z.number().nonnegative(),
});

const roundsStatus = z.strictObject({
  committed: z.int().nonnegative(),
  aborted: z.int().nonnegative(),
  lastAbort: z
    .strictObject({ reason: z.string(), at: z.string().meta({ description: 'RFC 3339' }) })
    .nullable(),
});

/** What one system knows by itself. */
export const localCutStatus = z.strictObject({
  name: z.string(),
  cutId: z.string(),
  controller: z
    .string()
    .nullable()
    .meta({ description: 'the system that makes its markers; null: not known here' }),
  isController: z.boolean(),
  newest: markerStatus
    .nullable()
    .meta({ description: 'the newest committed marker in the journals of members here' }),
  rounds: roundsStatus.meta({ description: 'of this system, as the controller' }),
  members: z
    .array(z.strictObject({ group: z.string(), heldSeconds: z.number().nonnegative() }))
    .meta({ description: 'groups of this system, and for how long their hosts were held' }),
  targets: z.array(
    z.strictObject({
      list: z.string(),
      group: z.string(),
      heldAt: updateNumber.meta({ description: 'nothing behind it is applied' }),
      target: markerStatus.nullable().meta({ description: 'what it applies towards' }),
      received: markerStatus.nullable().meta({ description: 'the newest committed one here' }),
    }),
  ),
});

const secondaryTargetStatus = z.strictObject({
  system: z.string(),
  url: z.string(),
  group: z.string(),
  state: z.enum(['holding', 'incomplete', 'promoted', 'primary', 'away', 'unreachable']).meta({
    description: '`holding`: it applies up to its target, and nothing behind it',
  }),
  text: z.string().meta({ description: 'why it is not holding, else empty' }),
  target: z.string().nullable().meta({ description: 'the marker that it applies towards' }),
  received: updateNumber,
  applied: updateNumber,
  behindUpdates: updateNumber.meta({ description: 'received, and not applied' }),
});

/** What all systems of a cut say. */
export const cutStatus = z.strictObject({
  name: z.string(),
  cutId: z.string(),
  intervalMilliseconds: z
    .number()
    .nullable()
    .meta({ description: 'null: markers are made by hand alone' }),
  roundLimitMilliseconds: z.number(),
  controller: z
    .string()
    .nullable()
    .meta({ description: 'the system that makes its markers; null: none does' }),
  newest: markerStatus.nullable().meta({ description: 'the newest committed marker' }),
  rounds: roundsStatus.meta({ description: 'of the controller, since it became that' }),
  members: z.array(
    z.strictObject({
      system: z.string(),
      url: z.string(),
      group: z.string(),
      obstacle: z.string().meta({ description: 'why it takes no part in rounds, else empty' }),
      heldMillisecondsPerSecond: z
        .number()
        .nonnegative()
        .meta({ description: 'how long rounds hold its hosts, over the last ten seconds' }),
    }),
  ),
  targets: z.array(
    z.strictObject({
      name: z.string(),
      selectable: markerStatus
        .nullable()
        .meta({ description: 'the newest that all its secondaries could be brought to' }),
      target: markerStatus
        .nullable()
        .meta({ description: 'the newest that all of them apply towards' }),
      secondaries: z.array(secondaryTargetStatus),
    }),
  ),
  nextCommand: z.string().nullable().meta({
    description:
      'where members are not primary any more, what makes the cut anew with those that are; else null',
  }),
});

export type MarkerStatus = z.infer<typeof markerStatus>;
export type CutStatus = z.infer<typeof cutStatus>;
export type LocalCutStatus = z.infer<typeof localCutStatus>;
