import { afterEach, describe, expect, it } from 'vitest';
import { NbdError } from '../../src/nbd/client.ts';
import type { ReplyForm } from '../../src/nbd/negotiation.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_RESIZE,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
} from '../../src/nbd/wire.ts';
import type { MemoryExportSettings } from '../support/memory-export.ts';
import {
  eventually,
  type ServedVolumes,
  type ServeSettings,
  serveVolumes,
} from '../support/nbd-server.ts';

const MiB = 1024 * 1024;
const EPERM = 1;
const EIO = 5;
const EINVAL = 22;
const ENOSPC = 28;
const EOVERFLOW = 75;
const forms: ReplyForm[] = ['simple', 'structured', 'extended'];

let served: ServedVolumes | undefined;

async function serve(
  settings: MemoryExportSettings = {},
  options: ServeSettings = {},
): Promise<ServedVolumes> {
  served = await serveVolumes([settings], options);
  return served;
}

afterEach(async () => {
  await served?.stop();
  served = undefined;
});

/** Contents that differ at every place. */
function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed * 2654435761;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = (state >>> 16) | 1;
  }
  return bytes;
}

/** Simple replies have no place for a sentence. */
function sentence(replyForm: ReplyForm, text: string): string {
  return replyForm === 'simple' ? '' : text;
}

describe.each(forms)('with %s replies', (replyForm) => {
  it('reads back what was written, whatever the size and place', async () => {
    const { connect, volume } = await serve({ sizeBytes: 48 * MiB });
    const client = await connect({ replyForm });
    expect(client.replyForm).toBe(replyForm);
    let seed = 1;
    for (const length of [1, 511, 4096, 4097, 65_536, 262_000, 262_144, 1 * MiB + 3, 33 * MiB]) {
      for (const offset of [0, 1, 4095, 1 * MiB - 7]) {
        const bytes = pattern(length, seed++);
        await client.write(offset, bytes);
        expect(volume.contents.subarray(offset, offset + length).equals(bytes)).toBe(true);
        expect((await client.read(offset, length)).equals(bytes)).toBe(true);
      }
    }
    await client.close();
  });

  it('answers requests beyond the end as the protocol says', async () => {
    const { connect, volume } = await serve({ sizeBytes: 1 * MiB });
    const client = await connect({ replyForm });
    const ask = async (type: number, offset: number, length: number, flags = 0): Promise<number> =>
      (await client.request({ type, offset, length, flags })).errno;
    for (const [offset, length] of [
      [1 * MiB, 1],
      [1 * MiB - 1, 2],
      [2 ** 52, 512],
      [0, 1 * MiB + 1],
    ] as const) {
      expect(await ask(NBD_CMD_READ, offset, length)).toBe(EINVAL);
      expect(await ask(NBD_CMD_TRIM, offset, length)).toBe(EINVAL);
      expect(await ask(NBD_CMD_CACHE, offset, length)).toBe(EINVAL);
      expect(await ask(NBD_CMD_WRITE_ZEROES, offset, length)).toBe(ENOSPC);
      expect(await ask(NBD_CMD_BLOCK_STATUS, offset, length)).toBe(EINVAL);
    }
    const reply = await client.request({
      type: NBD_CMD_WRITE,
      offset: 1 * MiB - 512,
      payload: pattern(600_000),
    });
    expect(reply.errno).toBe(ENOSPC);
    expect(reply.text).toBe(
      sentence(replyForm, 'the request reaches beyond the end of the export'),
    );
    expect(volume.newest).toBe(0);
    // The payload was read over: the connection is still in step.
    await client.write(0, pattern(4096));
    await client.close();
  });

  it('refuses unknown commands and flags that do not belong', async () => {
    const { connect } = await serve();
    const client = await connect({ replyForm });
    const ask = async (type: number, flags: number): Promise<number> =>
      (await client.request({ type, flags, offset: 0, length: 4096 })).errno;
    expect(await ask(NBD_CMD_RESIZE, 0)).toBe(EINVAL);
    expect(await ask(999, 0)).toBe(EINVAL);
    expect(await ask(NBD_CMD_READ, NBD_CMD_FLAG_NO_HOLE)).toBe(EINVAL);
    expect(await ask(NBD_CMD_READ, 1 << 15)).toBe(EINVAL);
    expect(await ask(NBD_CMD_READ, NBD_CMD_FLAG_DF)).toBe(replyForm === 'simple' ? EINVAL : 0);
    expect(await ask(NBD_CMD_TRIM, NBD_CMD_FLAG_NO_HOLE)).toBe(EINVAL);
    expect(await ask(NBD_CMD_FLUSH, NBD_CMD_FLAG_REQ_ONE)).toBe(EINVAL);
    expect(await ask(NBD_CMD_CACHE, NBD_CMD_FLAG_DF)).toBe(EINVAL);
    expect(await ask(NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_REQ_ONE)).toBe(EINVAL);
    // With extended headers it would announce a payload.
    const payloadLength = replyForm === 'extended' ? 1 << 14 : NBD_CMD_FLAG_PAYLOAD_LEN;
    expect(await ask(NBD_CMD_READ, payloadLength)).toBe(EINVAL);
    const write = await client.request({
      type: NBD_CMD_WRITE,
      flags: NBD_CMD_FLAG_DF,
      payload: pattern(10_000),
    });
    expect(write.errno).toBe(EINVAL);
    // FUA goes with everything.
    for (const type of [NBD_CMD_READ, NBD_CMD_FLUSH, NBD_CMD_TRIM, NBD_CMD_CACHE]) {
      expect(await ask(type, NBD_CMD_FLAG_FUA)).toBe(0);
    }
    expect(await ask(NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_FAST_ZERO)).toBe(0);
    await client.close();
  });

  it('takes requests of no length without closing', async () => {
    const { connect, volume } = await serve();
    const client = await connect({ replyForm });
    for (const type of [
      NBD_CMD_READ,
      NBD_CMD_WRITE,
      NBD_CMD_TRIM,
      NBD_CMD_CACHE,
      NBD_CMD_WRITE_ZEROES,
    ]) {
      expect((await client.request({ type, offset: 4096, length: 0 })).errno).toBe(0);
    }
    const status = await client.request({ type: NBD_CMD_BLOCK_STATUS, length: 0 });
    expect(status.errno).toBe(replyForm === 'simple' ? EINVAL : 0);
    expect(volume.newest).toBe(0);
    await client.close();
  });

  it('refuses changes to a read-only export', async () => {
    const { connect, volume } = await serve({ readOnly: true });
    const client = await connect({ replyForm });
    for (const type of [NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES]) {
      expect((await client.request({ type, offset: 0, length: 4096 })).errno).toBe(EPERM);
    }
    const payload = pattern(300_000);
    expect((await client.request({ type: NBD_CMD_WRITE, payload })).errno).toBe(EPERM);
    await client.flush();
    expect((await client.read(0, 4096)).equals(Buffer.alloc(4096))).toBe(true);
    expect(volume.newest).toBe(0);
    await client.close();
  });

  it('trims and zeroes with the effect that was asked for', async () => {
    const { connect, volume } = await serve();
    const client = await connect({ replyForm });
    await client.write(0, pattern(64 * 1024));
    await client.trim(0, 8192);
    await client.writeZeroes(8192, 8192);
    await client.writeZeroes(16_384, 8192, { noHole: true });
    await client.writeZeroes(24_576, 4096, { noHole: true, fast: true, fua: true });
    expect([...volume.blocks.subarray(0, 8)]).toEqual([3, 3, 3, 3, 2, 2, 2, 0]);
    expect((await client.read(0, 28_672)).equals(Buffer.alloc(28_672))).toBe(true);
    await client.cache(0, 1 * MiB);
    await client.close();
  });

  it('answers FUA and FLUSH when they are durable and not before', async () => {
    const { connect, volume } = await serve({ durableMilliseconds: 60, syncMilliseconds: 500 });
    const client = await connect({ replyForm });
    await client.write(0, pattern(4096));
    expect(volume.durable).toBe(0);
    let isAnswered = false;
    const fua = client.write(4096, pattern(4096), { fua: true }).then(() => {
      isAnswered = true;
    });
    const trim = client.trim(65_536, 4096, { fua: true });
    // Writes behind them are not held up.
    await client.write(8192, pattern(4096));
    expect(isAnswered).toBe(false);
    await fua;
    expect(volume.durable).toBeGreaterThanOrEqual(2);
    await trim;
    await client.write(0, pattern(100));
    await client.flush();
    expect(volume.durable).toBe(volume.newest);
    // Nothing to wait for.
    const { syncs } = volume;
    await client.flush();
    expect(volume.syncs).toBe(syncs);
    await client.close();
  });

  it('fails what will never be durable, and only that', async () => {
    const { connect, volume } = await serve({
      durableMilliseconds: 10_000,
      syncMilliseconds: 10_000,
    });
    const client = await connect({ replyForm });
    const flushed = client.write(0, pattern(10), { fua: true });
    const failed = flushed.catch((error: unknown) => error);
    await eventually('the write arrives', () => volume.newest === 1);
    volume.failDurable(EIO, 'the area failed');
    const error = await failed;
    expect(error).toBeInstanceOf(NbdError);
    expect((error as NbdError).errno).toBe(EIO);
    expect((error as NbdError).message).toContain(sentence(replyForm, 'the area failed'));
    await client.write(0, pattern(10));
    await client.close();
  });

  it('passes on what the volume and the journal say no to', async () => {
    const { connect, volume } = await serve();
    const client = await connect({ replyForm });
    volume.failNextStamp = ENOSPC;
    expect((await client.request({ type: NBD_CMD_WRITE, payload: pattern(4096) })).errno).toBe(
      ENOSPC,
    );
    volume.failNextCommit = EIO;
    const reply = await client.request({ type: NBD_CMD_WRITE, payload: pattern(4096) });
    expect(reply.errno).toBe(EIO);
    expect(reply.text).toBe(sentence(replyForm, 'the journal says no'));
    volume.failNextCommit = EIO;
    expect((await client.request({ type: NBD_CMD_WRITE, payload: pattern(700_000) })).errno).toBe(
      EIO,
    );
    volume.failNextStamp = ENOSPC;
    expect((await client.request({ type: NBD_CMD_WRITE, payload: pattern(700_000) })).errno).toBe(
      ENOSPC,
    );
    await client.write(0, pattern(1 * MiB));
    volume.failReads = EIO;
    expect((await client.request({ type: NBD_CMD_READ, length: 4096 })).errno).toBe(EIO);
    expect((await client.request({ type: NBD_CMD_READ, length: 1 * MiB })).errno).toBe(EIO);
    volume.failReads = undefined;
    await client.write(0, pattern(700_000));
    expect((await client.read(0, 700_000)).equals(pattern(700_000))).toBe(true);
    expect(volume.metrics.errors.read).toBe(2);
    await client.close();
  });

  it('answers reads that the disk is slow with, long ones too', async () => {
    const { connect, volume } = await serve({ readMilliseconds: 15 });
    const client = await connect({ replyForm });
    const bytes = pattern(3 * MiB);
    await client.write(1000, bytes);
    const lengths = [1, 4096, 100_000, 2 * MiB, 300_000, 12, 250_000, 1 * MiB];
    const answers = lengths.map((length, index) => client.read(1000 + index * 7, length));
    for (const [index, answer] of (await Promise.all(answers)).entries()) {
      const start = index * 7;
      expect(answer.equals(bytes.subarray(start, start + (lengths[index] ?? 0)))).toBe(true);
    }
    volume.failReads = EIO;
    const errors = await Promise.all(
      [1, 4096, 100_000].map((length) => client.request({ type: NBD_CMD_READ, length })),
    );
    expect(errors.map((reply) => reply.errno)).toEqual([EIO, EIO, EIO]);
    await client.close();
    await eventually('the session is closed', () => volume.sessions.size === 0);
  });

  it('counts what it does', async () => {
    const { connect, volume } = await serve();
    const client = await connect({ replyForm });
    await client.write(0, pattern(10_000));
    await client.read(0, 5000);
    await client.flush();
    await client.trim(0, 4096);
    await client.request({ type: NBD_CMD_READ, offset: 2 ** 40, length: 1 });
    const { metrics } = volume;
    expect(metrics.operations).toMatchObject({ read: 2, write: 1, flush: 1, trim: 1 });
    expect(metrics.bytes).toMatchObject({ read: 5000, write: 10_000, trim: 4096 });
    expect(metrics.errors).toMatchObject({ read: 1, write: 0 });
    expect(metrics.latencyNanoseconds.write.count).toBe(1);
    await client.close();
  });
});

describe('structured reads', () => {
  it('leave holes out, unless told not to', async () => {
    const { connect } = await serve();
    const client = await connect();
    await client.write(1 * MiB, pattern(128 * 1024));
    const chunks = await client.readChunks(0, 4 * MiB);
    expect(
      chunks.filter((chunk) => chunk.kind === 'data').reduce((sum, each) => sum + each.length, 0),
    ).toBe(128 * 1024);
    expect(chunks.length).toBeLessThan(8);
    const whole = await client.request({
      type: NBD_CMD_READ,
      length: 65_536,
      flags: NBD_CMD_FLAG_DF,
    });
    expect(whole.chunks).toEqual([{ kind: 'data', offset: 0, length: 65_536 }]);
    const tooLong = await client.request({
      type: NBD_CMD_READ,
      length: 4 * MiB,
      flags: NBD_CMD_FLAG_DF,
    });
    expect(tooLong.errno).toBe(EOVERFLOW);
    await client.close();
  });

  it('answer a volume of many small extents', async () => {
    const { connect, volume } = await serve({ sizeBytes: 8 * MiB });
    const client = await connect();
    for (let at = 0; at < 8 * MiB; at += 8192) {
      volume.contents.fill(at / 8192 + 1, at, at + 4096);
      volume.setRange(at, 4096, 0);
    }
    for (const length of [65_536, 200_000, 1 * MiB, 8 * MiB]) {
      expect((await client.read(0, length)).equals(volume.contents.subarray(0, length))).toBe(true);
    }
    await client.close();
  });
});

describe('BLOCK_STATUS', () => {
  it.each(['structured', 'extended'] as const)('tells of extents, %s', async (replyForm) => {
    const { connect } = await serve({ sizeBytes: 16 * MiB });
    const client = await connect({ replyForm });
    await client.write(1 * MiB, pattern(8192));
    await client.writeZeroes(1 * MiB + 8192, 4096, { noHole: true });
    const extents = await client.blockStatus(0, 16 * MiB);
    expect(extents).toEqual([
      { offset: 0, length: 1 * MiB, isHole: true, isZero: true },
      { offset: 1 * MiB, length: 8192, isHole: false, isZero: false },
      { offset: 1 * MiB + 8192, length: 4096, isHole: false, isZero: true },
      { offset: 1 * MiB + 12_288, length: 15 * MiB - 12_288, isHole: true, isZero: true },
    ]);
    const one = await client.blockStatus(512, 1024, { one: true });
    expect(one).toEqual([{ offset: 512, length: 1024, isHole: true, isZero: true }]);
    await client.close();
  });

  it('needs a context', async () => {
    const { connect } = await serve();
    for (const replyForm of ['structured', 'extended'] as const) {
      const client = await connect({ replyForm, metaContexts: [] });
      expect((await client.request({ type: NBD_CMD_BLOCK_STATUS, length: 4096 })).errno).toBe(
        EINVAL,
      );
      await client.close();
    }
    const simple = await connect({ replyForm: 'simple' });
    expect((await simple.request({ type: NBD_CMD_BLOCK_STATUS, length: 4096 })).errno).toBe(EINVAL);
    await simple.close();
  });

  it('takes a list of contexts as payload', async () => {
    const { connect } = await serve();
    const client = await connect();
    const [id = 0] = [...client.metaContexts.keys()];
    const ask = async (...words: number[]): Promise<number> => {
      const payload = Buffer.alloc(4 * words.length);
      words.forEach((word, index) => payload.writeUInt32BE(word, 4 * index));
      return (await client.request({ type: NBD_CMD_BLOCK_STATUS, payload })).errno;
    };
    expect(await ask(0, 65_536, id)).toBe(0);
    expect(await ask(0, 65_536, id, id)).toBe(EINVAL);
    expect(await ask(0, 65_536, id + 1)).toBe(EINVAL);
    expect(await ask(0, 65_536)).toBe(EINVAL);
    expect(await ask(1, 0, id)).toBe(EINVAL);
    expect(await ask(...Array.from({ length: 5000 }, () => 7))).toBe(EINVAL);
    // Any other command with a payload: it is read over.
    const odd = await client.request({ type: NBD_CMD_TRIM, payload: pattern(100_000) });
    expect(odd.errno).toBe(EINVAL);
    await client.write(0, pattern(100));
    await client.close();
  });
});
