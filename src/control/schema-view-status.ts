/** Views, and the window that they are made of, in `jnbd status --json` and GET /status. */
import { z } from 'zod';

const bytes = z.int().nonnegative();
const updateNumber = z.int().nonnegative();

export const historyStatus = z.strictObject({
  from: updateNumber.meta({
    description:
      'the oldest update that the group can be shown at; without a window, what is applied',
  }),
  fromTime: z.string().nullable().meta({
    description: 'when that was applied here (RFC 3339); null: nothing that is overwritten is kept',
  }),
  promisedSeconds: z.number().nonnegative().meta({ description: '0: no time is promised' }),
  promisedBytes: bytes.meta({ description: 'what is overwritten may take so much; 0: not said' }),
  keptBytes: bytes.meta({ description: 'what was overwritten, on disk' }),
});

export const provenStatus = z.strictObject({
  number: updateNumber.meta({ description: 'the update that was checked' }),
  at: z.string().meta({ description: 'RFC 3339' }),
  result: z.enum(['passed', 'failed']),
  passedAt: z.string().nullable().meta({ description: 'when a check passed last (RFC 3339)' }),
});

export const viewStatus = z.strictObject({
  name: z.string(),
  number: updateNumber.meta({ description: 'it shows all updates up to this one' }),
  createdAt: z.string().meta({ description: 'RFC 3339' }),
  state: z.enum(['opening', 'open', 'ended']),
  writable: z.boolean(),
  failure: z.string().meta({ description: 'why it cannot be used; empty: it can' }),
  allocatedBytes: bytes.meta({ description: 'what was written to it, on disk' }),
  missing: z.array(z.string()).meta({
    description:
      'volumes that are not in it: deleted since, or on their way back to an earlier update then',
  }),
  volumes: z.array(
    z.strictObject({
      name: z.string(),
      sizeBytes: bytes,
      exports: z.array(z.string()).meta({ description: 'the names that clients may open now' }),
      uris: z.array(z.string()),
      clients: z.array(z.string()).meta({ description: 'addresses' }),
    }),
  ),
});
export type ViewStatus = z.infer<typeof viewStatus>;
