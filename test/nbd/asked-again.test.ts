import { afterEach, describe, expect, it } from 'vitest';
import { errno } from '../../src/group/apply/export.ts';
import type { ReplyForm } from '../../src/nbd/negotiation.ts';
import { must } from '../../src/platform/assert.ts';
import type { MemorySession } from '../support/memory-export.ts';
import { type ServedVolumes, serveVolumes } from '../support/nbd-server.ts';

const MiB = 1024 * 1024;
const forms: ReplyForm[] = ['simple', 'structured', 'extended'];

let served: ServedVolumes | undefined;

afterEach(async () => {
  await served?.stop();
  served = undefined;
});

/** The session takes every other write only when it is asked again, as where a snapshot needs what is there. */
function hesitate(session: MemorySession): () => number {
  let refused = 0;
  let isTaken = false;
  const takes = (): boolean => {
    isTaken = !isTaken;
    if (isTaken) return true;
    refused += 1;
    setImmediate(() => {
      if (!session.isClosed) session.client.admitted();
    });
    return false;
  };
  const write = session.stampWrite.bind(session);
  const range = session.stampRange.bind(session);
  session.stampWrite = (...what) => (takes() ? write(...what) : 0);
  session.stampRange = (...what) => (takes() ? range(...what) : 0);
  return () => refused;
}

describe.each(forms)('what a volume does not take at once (%s replies)', (replyForm) => {
  it('is asked for again, whole, cut in parts, or without a payload', async () => {
    served = await serveVolumes([{}], {});
    const { connect, volume } = served;
    const client = await connect({ replyForm });
    const [session] = volume.sessions;
    if (!session) throw new Error('the client has a session');
    const refused = hesitate(session);
    const lengths = [4096, 100, 700_000, 4096, 300_000, 65_536];
    const contents = lengths.map((length, at) => Buffer.alloc(length, at + 1));
    await client.write(8 * MiB, Buffer.alloc(MiB, 99));
    await Promise.all([
      ...contents.map((bytes, at) => client.write(at * MiB, bytes, { fua: at % 2 === 0 })),
      client.trim(8 * MiB, 4096),
      client.writeZeroes(8 * MiB + 65_536, 8192),
    ]);
    const found = await Promise.all(lengths.map((length, at) => client.read(at * MiB, length)));
    expect(found.map((bytes, at) => bytes.equals(contents[at] ?? bytes))).toEqual(
      lengths.map(() => true),
    );
    expect([...(await client.read(8 * MiB + 65_536 - 1, 2))]).toEqual([99, 0]);
    expect(refused()).toBeGreaterThanOrEqual(lengths.length);
    await client.close();
  });
});

it.each(['structured', 'extended'] as const)(
  'what is not to be shown yet is neither read nor described before it is asked again (%s replies)',
  async (replyForm) => {
    served = await serveVolumes([{}], {});
    const { connect, volume } = served;
    const client = await connect({ replyForm });
    const session = must([...volume.sessions][0], 'the client has a session');
    await client.write(0, Buffer.alloc(4096, 7));
    let refused = 0;
    let isShown = true;
    session.admitsRead = () => {
      isShown = !isShown;
      if (isShown) return true;
      refused += 1;
      setImmediate(() => session.client.admitted());
      return false;
    };
    const extents = session.extents.bind(session);
    session.extents = (...what) => (isShown ? extents(...what) : errno.EIO);
    const read = session.read.bind(session);
    session.read = (...what) => (isShown ? read(...what) : errno.EIO);
    expect(await client.blockStatus(0, 8192)).toMatchObject([
      { offset: 0, length: 4096, isZero: false },
      { offset: 4096, length: 4096, isZero: true },
    ]);
    expect((await client.read(0, 4096))[0]).toBe(7);
    expect(refused).toBe(2);
    await client.close();
  },
);
