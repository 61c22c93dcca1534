/** Volumes that go back to an earlier instant, in results and in `jnbd status --json`. */
import { z } from 'zod';

const bytes = z.int().nonnegative();
const updateNumber = z.int().nonnegative();

export const takenBack = z.strictObject({
  to: updateNumber.meta({ description: 'volumes become what they were at this update' }),
  volumes: z.array(z.string()),
  newer: z
    .array(z.string())
    .meta({ description: 'volumes that were not there then, and stay as they are' }),
  lost: z.strictObject({
    updates: updateNumber.meta({ description: 'of the group, behind that one' }),
    bytes: bytes.meta({ description: 'written since; so much is compared, and written at most' }),
    seconds: z.number().nonnegative().meta({ description: 'since the first of them' }),
  }),
});

export const rollbackStatus = z.strictObject({
  to: updateNumber,
  volumes: z.array(z.string()).meta({ description: 'hosts are refused there' }),
  state: z.enum(['staging', 'writing', 'waiting', 'stopped']).meta({
    description:
      '`staging`: what they held is gathered, and nothing has changed yet. `stopped`: nothing goes on here now',
  }),
  waitsFor: z.string().meta({ description: 'why it waits, else empty' }),
  doneBytes: bytes.meta({ description: 'compared while staging, else written' }),
  totalBytes: bytes,
});
