/** What checksums show of a group, in `jnbd status --json` and GET /status. */
import { z } from 'zod';

const updateNumber = z.int().nonnegative();

export const checksumStatus = z.strictObject({
  state: z.enum(['off', 'building', 'kept']).meta({
    description: '`building`: those of some volumes are not known yet, which are not compared',
  }),
  agreedAt: updateNumber.nullable().meta({
    description:
      'of a secondary: the last point at which its volumes were what its source had; null: none since it was opened',
  }),
  agreedTime: z.string().nullable().meta({ description: 'when that was seen (RFC 3339)' }),
  differing: z
    .array(z.string())
    .meta({ description: 'volumes that are not what the source had, at the newest point' }),
});

/** What a follower told of it. */
export const followerChecksums = z.strictObject({
  state: z.enum(['unknown', 'off', 'same', 'differs']).meta({
    description:
      '`unknown`: it told nothing since this system or the follower was started; `off`: it keeps no checksums',
  }),
  comparedAt: updateNumber.nullable().meta({ description: 'the newest point that was compared' }),
  agreedAt: updateNumber.nullable().meta({
    description: 'the last update at which both sides were proved to be the same',
  }),
  agreedTime: z
    .string()
    .nullable()
    .meta({ description: 'when the follower saw that, by its own clock (RFC 3339)' }),
  differing: z
    .array(z.string())
    .meta({ description: 'volumes of which it has not what the primary had' }),
});
