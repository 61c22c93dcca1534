/** Verifying in `jnbd status --json` and GET /status. */
import { z } from 'zod';

const bytes = z.int().nonnegative();

export const verificationStatus = z.strictObject({
  running: z
    .strictObject({ comparedBytes: bytes, totalBytes: bytes })
    .nullable()
    .meta({ description: 'null: none is under way here' }),
  last: z
    .strictObject({
      at: z.string().meta({ description: 'RFC 3339' }),
      number: z.int().positive().nullable().meta({
        description: 'the update as of which volumes were compared; null: with nobody',
      }),
      result: z.enum(['same', 'different', 'damaged', 'failed']),
      systems: z.array(z.string()).meta({ description: 'with whom the group was compared' }),
      differingBytes: bytes,
      damages: z.int().nonnegative(),
    })
    .nullable()
    .meta({ description: 'what the newest one found that came to its end here' }),
});
export type VerificationStatus = z.infer<typeof verificationStatus>;
