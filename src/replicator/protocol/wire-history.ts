/** What a system says of the history of a group that it has: GET /v1/groups/{groupId}/lineage. */
import { z } from 'zod';
import { namePattern, updateNumberMax } from '../../platform/limits.ts';
import { lineageSchema } from './wire-json.ts';

const name = z.string().regex(namePattern);

export const historySchema = z.object({
  groupId: z.string().regex(/^[0-9a-f]{32}$/),
  systemId: z.int().min(0).max(updateNumberMax),
  /** Of the system, and of the group there. */
  name,
  groupName: name,
  role: z.enum(['primary', 'secondary', 'diverged']),
  lineage: lineageSchema,
  /** The highest number that is durable there. */
  newest: z.int().min(0).max(updateNumberMax),
});
export type ToldGroup = z.infer<typeof historySchema>;
