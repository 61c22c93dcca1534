import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { NbdClient } from '../../src/nbd/client.ts';
import type { ReplyForm } from '../../src/nbd/negotiation.ts';
import {
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
} from '../../src/nbd/wire.ts';
import type { MemoryExportSettings } from '../support/memory-export.ts';
import { eventually, type ServedVolumes, serveVolumes } from '../support/nbd-server.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const clientBytes = 2 * MiB;

interface DrawnStep {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  readonly seed: number;
}

interface Step extends DrawnStep {
  readonly contents: Buffer;
}

const lengths = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(1, 512, 4096, 4095, 8192, 16 * KiB) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 40 * KiB }) },
  { weight: 2, arbitrary: fc.integer({ min: 200 * KiB, max: 300 * KiB }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 1 * MiB + 5 }) },
);
const steps = fc.array(
  fc.record({
    type: fc.oneof(
      { weight: 8, arbitrary: fc.constant(NBD_CMD_WRITE) },
      {
        weight: 4,
        arbitrary: fc.constantFrom(
          NBD_CMD_READ,
          NBD_CMD_FLUSH,
          NBD_CMD_TRIM,
          NBD_CMD_WRITE_ZEROES,
          NBD_CMD_CACHE,
        ),
      },
    ),
    flags: fc.constantFrom(0, 0, 0, NBD_CMD_FLAG_FUA),
    offset: fc.oneof(
      fc.nat(clientBytes - 1),
      fc.nat(clientBytes / 4096 - 1).map((block) => block * 4096),
    ),
    length: lengths,
    seed: fc.integer(),
  }),
  { minLength: 1, maxLength: 60 },
);

let served: ServedVolumes | undefined;
afterEach(async () => {
  await served?.stop();
  served = undefined;
});

function contents(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed ^ 0x5bd1e995) >>> 0;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** What a step leaves at a place of the volume; `undefined` where it changes nothing. */
function effectOf(step: Step, at: number): number | undefined {
  if (at < step.offset || at >= step.offset + step.length) return undefined;
  if (step.type === NBD_CMD_WRITE) return step.contents[at - step.offset];
  return step.type === NBD_CMD_TRIM || step.type === NBD_CMD_WRITE_ZEROES ? 0 : undefined;
}

/**
 * Sends the steps one behind the other without waiting, the bytes split at the given places, and
 * applies them to a model in the same order. Updates of one connection take effect in order; a read
 * sees all before it, and may see some that were under way with it.
 */
async function drive(
  client: NbdClient,
  base: number,
  drawn: readonly DrawnStep[],
  splits: readonly number[],
  model: Buffer,
): Promise<void> {
  const sequence: Step[] = drawn.map((step) => {
    const length = Math.min(step.length, clientBytes - step.offset);
    const isWrite = step.type === NBD_CMD_WRITE;
    return { ...step, length, contents: isWrite ? contents(length, step.seed) : Buffer.alloc(0) };
  });
  const answers: Promise<void>[] = [];
  const stream: Uint8Array[] = [];
  for (const [index, step] of sequence.entries()) {
    const { type, flags, offset, length } = step;
    const isRanged = type !== NBD_CMD_FLUSH;
    const { reply, head, body } = client.prepare({
      type,
      flags,
      offset: isRanged ? base + offset : 0,
      length: isRanged ? length : 0,
      ...(type === NBD_CMD_WRITE ? { payload: step.contents } : {}),
    });
    stream.push(head, body);
    if (type === NBD_CMD_WRITE) step.contents.copy(model, offset);
    if (type === NBD_CMD_TRIM || type === NBD_CMD_WRITE_ZEROES) {
      model.fill(0, offset, offset + length);
    }
    const before =
      type === NBD_CMD_READ ? Buffer.from(model.subarray(offset, offset + length)) : undefined;
    answers.push(
      reply.then((answer) => {
        expect(answer.errno).toBe(0);
        if (!before || answer.data.equals(before)) return;
        const later = sequence.slice(index + 1);
        before.forEach((byte, at) => {
          const found = answer.data[at];
          if (found === byte || later.some((each) => effectOf(each, offset + at) === found)) return;
          throw new Error(`wrong data at ${offset + at}`);
        });
      }),
    );
  }
  const all = Buffer.concat(stream);
  let at = 0;
  for (const split of [...splits].sort((a, b) => a - b)) {
    const end = Math.floor((split / 1000) * all.length);
    if (end > at) await client.stream.write(all.subarray(at, end));
    at = Math.max(at, end);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await client.stream.write(all.subarray(at));
  await Promise.all(answers);
}

async function check(
  settings: MemoryExportSettings,
  slabsMax: number,
  replyForm: ReplyForm,
  sequences: readonly (readonly DrawnStep[])[],
  splits: readonly number[],
): Promise<void> {
  const volumes = await serveVolumes(
    [{ sizeBytes: sequences.length * clientBytes, durableMilliseconds: 1, ...settings }],
    { slabsMax },
  );
  served = volumes;
  const models = sequences.map(() => Buffer.alloc(clientBytes));
  await Promise.all(
    sequences.map(async (sequence, index) => {
      const client = await volumes.connect({ replyForm });
      const model = models[index] ?? Buffer.alloc(0);
      await drive(client, index * clientBytes, sequence, splits, model);
      await client.close();
    }),
  );
  expect(volumes.volume.contents.equals(Buffer.concat(models))).toBe(true);
  await eventually('all sessions are closed', () => volumes.volume.sessions.size === 0);
  await eventually('every slab came back', () => volumes.slabs.inUse === 0);
  expect(volumes.server.replyBuffersInUse).toBe(0);
  await volumes.stop();
}

const splitPoints = fc.array(fc.nat(1000), { maxLength: 12 });

describe('requests and payloads cut at every kind of slab boundary', () => {
  it.each(['simple', 'structured', 'extended'] as const)('%s', async (replyForm) => {
    await fc.assert(
      fc.asyncProperty(steps, splitPoints, (sequence, splits) =>
        check({}, 64, replyForm, [sequence], splits),
      ),
      { numRuns: 25 },
    );
  });

  it('with the journal pushing back', async () => {
    await fc.assert(
      fc.asyncProperty(steps, splitPoints, (sequence, splits) =>
        check({ unsyncedBytesMax: 64 * KiB }, 64, 'structured', [sequence], splits),
      ),
      { numRuns: 15 },
    );
  });

  it('with several connections and hardly any slabs', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(steps, { minLength: 3, maxLength: 5 }),
        splitPoints,
        (sequences, splits) =>
          check({ unsyncedBytesMax: 300 * KiB }, 3, 'extended', sequences, splits),
      ),
      { numRuns: 12 },
    );
  });

  it('with a slow disk', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(steps, { minLength: 1, maxLength: 2 }),
        splitPoints,
        (sequences, splits) => check({ readMilliseconds: 2 }, 64, 'simple', sequences, splits),
      ),
      { numRuns: 10 },
    );
  });

  it('with bytes still on their way into a slab that is done with', async () => {
    const volumes = await serveVolumes(
      [{ sizeBytes: clientBytes, unsyncedBytesMax: 64 * KiB, syncMilliseconds: 40 }],
      { slabsMax: 8 },
    );
    served = volumes;
    const client = await volumes.connect({ replyForm: 'simple' });
    const model = contents(clientBytes, 5);
    const stream: Uint8Array[] = [];
    const answers: Promise<unknown>[] = [];
    let at = 0;
    const write = (length: number): void => {
      const payload = model.subarray(at, at + length);
      const { reply, head, body } = client.prepare({ type: NBD_CMD_WRITE, offset: at, payload });
      stream.push(head, body);
      answers.push(reply);
      at += length;
    };
    for (let count = 0; count < 56; count++) write(4096);
    write(40_000);
    const all = Buffer.concat(stream);
    // The journal says no early on; while it is silent the rest lands in the slab. When it goes on, the
    // last request is incomplete and has no room there.
    await client.stream.write(all.subarray(0, all.length - 39_000));
    await new Promise((resolve) => setTimeout(resolve, 600));
    await client.stream.write(all.subarray(all.length - 39_000));
    await Promise.all(answers);
    expect(volumes.volume.contents.subarray(0, at).equals(model.subarray(0, at))).toBe(true);
    await client.close();
  });
});
