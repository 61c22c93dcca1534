/** Snapshots in `jnbd status --json` and GET /status. */
import { z } from 'zod';

const bytes = z.int().nonnegative();

export const snapshotStatus = z.strictObject({
  name: z.string(),
  number: z.int().positive().meta({ description: 'the update number that it was made with' }),
  createdAt: z.string().meta({ description: 'RFC 3339' }),
  state: z.enum(['normal', 'deleted']).meta({
    description: '`deleted`: it cannot be read, and what it keeps is needed by older ones',
  }),
  preservedBytes: bytes.meta({
    description: 'what was overwritten from its time on until the next one was made, on disk',
  }),
  volumes: z.array(
    z.strictObject({
      name: z.string(),
      sizeBytes: bytes,
      preservedBytes: bytes,
      exports: z.array(z.string()).meta({ description: 'the names that clients may open now' }),
      uris: z.array(z.string()),
    }),
  ),
});
export const cloneStatus = z.strictObject({
  name: z.string(),
  snapshot: z.string().meta({ description: 'what it was when it was made' }),
  createdAt: z.string().meta({ description: 'RFC 3339' }),
  state: z.enum(['normal', 'independent', 'lost', 'failed']).meta({
    description:
      '`normal`: over its snapshot; `independent`: all of it is its own, because its snapshot went; `lost`: that went without it',
  }),
  failure: z.string(),
  allocatedBytes: bytes.meta({ description: 'what is its own, on disk' }),
  volumes: z.array(
    z.strictObject({
      name: z.string(),
      sizeBytes: bytes,
      allocatedBytes: bytes,
      exports: z.array(z.string()).meta({ description: 'the names that clients may open now' }),
      uris: z.array(z.string()),
    }),
  ),
});
export type CloneStatus = z.infer<typeof cloneStatus>;
export type SnapshotStatus = z.infer<typeof snapshotStatus>;
