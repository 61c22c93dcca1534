import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import type { JnbdError } from '../../../src/platform/errors.ts';
import { KiB } from '../../../src/platform/limits.ts';
import type { HttpPort } from '../../../src/replicator/transport/http-port.ts';
import type { TransportHandler } from '../../../src/replicator/transport/transport.ts';
import { wholeAnswer } from '../../../src/replicator/transport/whole-answer.ts';
import { Gathered, Parts, patient } from './transport-parts.ts';

const parts = new Parts();
const hasty = { connectMilliseconds: 300, pingMilliseconds: 100, silenceMilliseconds: 300 };
const quick = { headMilliseconds: 300, silenceMilliseconds: 300 };
const post = { method: 'POST', path: '/x', headers: {}, body: Buffer.alloc(2000, 7) } as const;
const answerAll: TransportHandler = (_, answer) => {
  answer.head(200, { 'jnbd-first': '1', 'content-length': String(40 * KiB) });
  answer.send(Buffer.alloc(40 * KiB, 9), () => answer.end());
};

let port: HttpPort;
/** What one good exchange looks like on its way, in each direction. */
const asked: Buffer[] = [];
const answered: Buffer[] = [];

beforeAll(async () => {
  port = await parts.port(
    answerAll,
    {},
    { requestMilliseconds: 200, stallMilliseconds: 200, silenceMilliseconds: 400 },
  );
  const way = await parts.tappedWay(
    port.address.port,
    (chunk) => asked.push(chunk),
    (chunk) => answered.push(chunk),
  );
  const client = parts.client(way);
  await wholeAnswer(client, post, patient);
  client.close();
});
afterAll(() => parts.close());

interface Change {
  readonly at: number;
  readonly remove: number;
  readonly insert: Uint8Array;
}

/** Some bytes changed, left out, put in; more often near the beginning, where what matters stands. */
const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.record({
    at: fc.oneof(fc.nat(200), fc.nat(50_000)),
    remove: fc.nat(12),
    insert: fc.uint8Array({ maxLength: 12 }),
  }),
  { minLength: 1, maxLength: 3 },
);

function changed(bytes: Buffer, all: readonly Change[]): Buffer {
  let result: Buffer = bytes;
  for (const { at, remove, insert } of all) {
    const start = at % (result.length + 1);
    result = Buffer.concat([result.subarray(0, start), insert, result.subarray(start + remove)]);
  }
  return result;
}

describe('whatever is sent', () => {
  it('to a port, it serves the next client', async () => {
    const good = Buffer.concat(asked);
    await fc.assert(
      fc.asyncProperty(changes, async (all) => {
        const socket = parts.socket(port.address.port);
        socket.write(changed(good, all));
        await new Promise((resolve) => setTimeout(resolve, 2));
        socket.destroy();
      }),
      { numRuns: 300 },
    );
    const client = parts.client(port.address.port);
    expect((await wholeAnswer(client, post, patient)).status).toBe(200);
  });

  it('to a client, it tells what came of its request', async () => {
    // The first frame is the source's settings; the client asks once it has them.
    const settings = answered[0] ?? Buffer.alloc(0);
    const good = Buffer.concat(answered.slice(1));
    expect(good.length).toBeGreaterThan(40 * KiB);
    const plans: { readonly first: Buffer; readonly rest: Buffer }[] = [];
    const source = await parts.bare((socket) => {
      const plan = plans.shift() ?? { first: settings, rest: good };
      let heardBytes = 0;
      socket.once('data', () => socket.write(plan.first));
      socket.on('data', (chunk) => {
        const wasAsked = heardBytes > post.body.length;
        heardBytes += chunk.length;
        if (!wasAsked && heardBytes > post.body.length) socket.write(plan.rest);
      });
    });
    const ask = async (): Promise<JnbdError['kind'] | 'ended'> => {
      const client = parts.client(source, {}, hasty);
      const gathered = new Gathered();
      client.request(post, quick, gathered);
      const result = await gathered.over;
      client.close();
      return result === 'ended' ? result : result.kind;
    };
    expect(await ask()).toBe('ended');
    const seen = new Set<string>();
    const plan = fc.tuple(changes, fc.integer({ min: 0, max: 9 })).map(([all, where]) => ({
      first: where === 0 ? changed(settings, all) : settings,
      rest: where === 0 ? good : changed(good, all),
    }));
    // Many wait for what never comes: they do so together.
    await fc.assert(
      fc.asyncProperty(fc.array(plan, { minLength: 20, maxLength: 20 }), async (together) => {
        plans.push(...together);
        for (const kind of await Promise.all(together.map(ask))) seen.add(kind);
      }),
      { numRuns: 10 },
    );
    // Bytes of the body may be others without anybody noticing here.
    expect([...seen].sort()).toEqual(['ended', 'retryable']);
  });
});
