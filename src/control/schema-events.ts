/** `jnbd events --json` and GET /events: one JSON object a line. Members are added, never renamed. */
import { z } from 'zod';

export const systemEvent = z.strictObject({
  sequence: z.int().positive().meta({ description: 'from 1 in each life of the daemon, gapless' }),
  time: z.string().meta({ description: 'RFC 3339' }),
  severity: z.enum(['info', 'warning']),
  code: z.string().meta({ description: 'stable' }),
  message: z.string(),
  group: z.string().nullable(),
  nextCommand: z.string().nullable().meta({ description: 'what to type, where that helps' }),
});

export type SystemEvent = z.infer<typeof systemEvent>;
