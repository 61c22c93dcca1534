import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type BatchBuffer, BatchBuffers } from '../../../src/replicator/source/batch-buffers.ts';

const buffersMax = 8;

interface Held {
  readonly reader: object;
  readonly buffer: BatchBuffer;
}

/** What was granted so far, once promises have gone on. */
function taker(buffers: BatchBuffers) {
  const held: Held[] = [];
  return {
    held,
    take: async (reader: object): Promise<void> => {
      void buffers.take(reader).then((buffer) => buffer && held.push({ reader, buffer }));
      await settle();
    },
    giveBack: async (reader: object): Promise<boolean> => {
      const at = held.findIndex((one) => one.reader === reader);
      const [one] = at < 0 ? [] : held.splice(at, 1);
      if (one) buffers.giveBack(reader, one.buffer);
      await settle();
      return one !== undefined;
    },
    count: (reader: object) => held.filter((one) => one.reader === reader).length,
  };
}

function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

describe('buffers for answers', () => {
  test('are never more than there may be, and no reader keeps another one waiting', async () => {
    const step = fc.record({ reader: fc.nat(3), kind: fc.constantFrom('take', 'give', 'give') });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const buffers = new BatchBuffers(buffersMax, 64);
        const { held, take, giveBack, count } = taker(buffers);
        const readers = [{}, {}, {}, {}];
        for (const reader of readers) buffers.join(reader);
        const wanted = new Map<object, number>();
        for (const { reader: at, kind } of steps) {
          const reader = readers[at] ?? {};
          if (kind === 'take') {
            await take(reader);
            wanted.set(reader, (wanted.get(reader) ?? 0) + 1);
          } else if (await giveBack(reader)) {
            wanted.set(reader, (wanted.get(reader) ?? 0) - 1);
          }
          expect(held.length).toBe(buffers.inUse);
          expect(held.length).toBeLessThanOrEqual(buffersMax);
          expect(new Set(held.map(({ buffer }) => buffer)).size).toBe(held.length);
          const waitsInVain = readers.some((one) => (wanted.get(one) ?? 0) > 0 && count(one) === 0);
          expect(waitsInVain).toBe(false);
        }
        for (let i = 0; i < 200; i += 1) for (const reader of readers) await giveBack(reader);
        expect(buffers.inUse).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test('leave something for a reader that comes later', async () => {
    const buffers = new BatchBuffers(buffersMax, 64);
    const { take, count } = taker(buffers);
    const slow = [{}, {}];
    for (const reader of slow) buffers.join(reader);
    for (let i = 0; i < 20; i += 1) for (const reader of slow) await take(reader);
    const late = {};
    buffers.join(late);
    await take(late);
    expect(count(late)).toBe(1);
  });

  test('are for more readers than there are buffers, one after the other', async () => {
    const buffers = new BatchBuffers(2, 64);
    const { held, take, giveBack } = taker(buffers);
    const readers = Array.from({ length: 5 }, () => ({}));
    for (const reader of readers) buffers.join(reader);
    for (const reader of readers) await take(reader);
    const served: object[] = [];
    while (held.length > 0) {
      const reader = held[0]?.reader ?? {};
      served.push(reader);
      await giveBack(reader);
    }
    expect(served).toEqual(readers);
  });

  test('are not waited for by a reader that left', async () => {
    const buffers = new BatchBuffers(1, 64);
    const [one, other] = [{}, {}];
    for (const reader of [one, other]) buffers.join(reader);
    const first = await buffers.take(one);
    const waiting = buffers.take(other);
    buffers.leave(other);
    expect(await waiting).toBeUndefined();
    if (first) buffers.giveBack(one, first);
    expect(buffers.inUse).toBe(0);
  });
});
