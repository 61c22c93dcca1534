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
