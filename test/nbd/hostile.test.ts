import net from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeInfoRequest, encodeOption } from '../../src/nbd/option-codec.ts';
import {
  NBD_CMD_DISC,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_OPT_GO,
  NBD_OPT_LIST,
  NBD_OPT_STRUCTURED_REPLY,
} from '../../src/nbd/wire.ts';
import { eventually, type ServedVolumes, serveVolumes } from '../support/nbd-server.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
let served: ServedVolumes | undefined;
const sockets: net.Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await served?.stop();
  served = undefined;
});

async function serve(...args: Parameters<typeof serveVolumes>): Promise<ServedVolumes> {
  served = await serveVolumes(...args);
  return served;
}

/** A socket that says what it is told, and reads only if told to. */
async function connectRaw(volumes: ServedVolumes, halfOpen = false): Promise<net.Socket> {
  const { address } = volumes;
  if (address.kind !== 'tcp') throw new Error('a TCP address');
  const { host, port } = address;
  const socket = net.connect({ host, port, allowHalfOpen: halfOpen, noDelay: true });
  sockets.push(socket);
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

/** Greeting, INFO_EXPORT and ACK. */
const handshakeBytes = 18 + 32 + 20;
const flags = Buffer.from('00000003', 'hex');
const go = encodeOption(NBD_OPT_GO, encodeInfoRequest({ name: '', information: [] }));

function request(type: number, offset: number, length: number, cookie = 1): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt32BE(0x25609513, 0);
  bytes.writeUInt16BE(type, 6);
  bytes.writeUInt32BE(cookie, 12);
  bytes.writeBigUInt64BE(BigInt(offset), 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

/** A second client that is served while `during` happens. */
async function isServed(volumes: ServedVolumes): Promise<void> {
  const before = Date.now();
  const client = await volumes.connect();
  const bytes = Buffer.alloc(300 * KiB, 0x42);
  await client.write(8 * MiB, bytes, { fua: true });
  expect((await client.read(8 * MiB, bytes.length)).equals(bytes)).toBe(true);
  await client.close();
  expect(Date.now() - before).toBeLessThan(2_000);
}

function received(socket: net.Socket): () => Buffer {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  return () => Buffer.concat(chunks);
}

function closed(socket: net.Socket): Promise<void> {
  socket.resume();
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

describe('a client that', () => {
  it('announces a large write and stalls holds no memory', async () => {
    const volumes = await serve([{}], { slabsMax: 8 });
    for (let index = 0; index < 40; index++) {
      const socket = await connectRaw(volumes);
      const some = Buffer.alloc([1, 5_000, 100_000, 300_000][index % 4] ?? 1, 1);
      socket.write(Buffer.concat([flags, go, request(NBD_CMD_WRITE, 0, 16 * MiB), some]));
    }
    await eventually('all are in', () => volumes.server.connections().length === 40);
    await isServed(volumes);
    await eventually('the slabs come back', () => volumes.slabs.inUse === 0);
    await isServed(volumes);
    // They may go on where they stopped.
    const first = sockets[2];
    const answer = received(first ?? new net.Socket());
    first?.write(Buffer.alloc(16 * MiB - 100_000, 1));
    await eventually('the write is answered', () => answer().length === handshakeBytes + 16);
    expect(answer().subarray(-12).readUInt32BE(0)).toBe(0);
    expect(
      volumes.volume.contents.subarray(0, 16 * MiB).every((byte) => byte === 1 || byte === 0x42),
    ).toBe(true);
  });

  it('sends byte by byte holds no slab', async () => {
    const volumes = await serve([{}], { slabsMax: 2 });
    const trickles: NodeJS.Timeout[] = [];
    for (let index = 0; index < 6; index++) {
      const socket = await connectRaw(volumes);
      socket.write(
        Buffer.concat([flags, go, request(NBD_CMD_WRITE, 0, 1 * MiB), Buffer.alloc(20_000)]),
      );
      trickles.push(setInterval(() => socket.write(Buffer.alloc(1)), 20));
    }
    await eventually('all are in', () => volumes.server.connections().length === 6);
    for (let round = 0; round < 3; round++) await isServed(volumes);
    for (const trickle of trickles) clearInterval(trickle);
  });

  it('never reads its replies takes nothing from others', async () => {
    const volumes = await serve([{ sizeBytes: 64 * MiB }], { replyBytesMax: 2 * MiB });
    const reads = Array.from({ length: 200 }, (_, index) =>
      request(NBD_CMD_READ, 0, 1 * MiB, index),
    );
    for (let index = 0; index < 12; index++) {
      const socket = await connectRaw(volumes);
      const form = index % 2 === 0 ? [] : [encodeOption(NBD_OPT_STRUCTURED_REPLY)];
      socket.write(Buffer.concat([flags, ...form, go, ...reads]));
    }
    await eventually('all are in', () => volumes.server.connections().length === 12);
    volumes.volume.setRange(0, 64 * MiB, 0);
    for (let round = 0; round < 4; round++) {
      await isServed(volumes);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(volumes.server.replyBuffersInUse).toBeLessThanOrEqual(8);
  });

  it('pauses in a long read, alone, is waited for', async () => {
    const volumes = await serve([{ sizeBytes: 64 * MiB }], { replyBytesMax: 4 * MiB });
    const socket = await connectRaw(volumes);
    socket.write(Buffer.concat([flags, go, request(NBD_CMD_READ, 0, 32 * MiB)]));
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    let count = 0;
    socket.on('data', (chunk) => (count += chunk.length));
    await eventually('all of it arrives', () => count === handshakeBytes + 16 + 32 * MiB);
  });

  it('never reads the answers to its options is not answered for ever', async () => {
    const volumes = await serve();
    const socket = await connectRaw(volumes);
    socket.write(flags);
    const lists = Buffer.concat(Array.from({ length: 4000 }, () => encodeOption(NBD_OPT_LIST)));
    for (let round = 0; round < 300; round++) socket.write(lists);
    await isServed(volumes);
    expect(socket.writableLength).toBeGreaterThan(0);
  });

  it('floods with flushes is bounded and answered', async () => {
    const volumes = await serve([{ durableMilliseconds: 50, syncMilliseconds: 50 }]);
    const socket = await connectRaw(volumes);
    const answer = received(socket);
    const write = Buffer.concat([request(NBD_CMD_WRITE, 0, 4), Buffer.alloc(4)]);
    const flushes = Array.from({ length: 50_000 }, (_, index) =>
      request(NBD_CMD_FLUSH, 0, 0, index),
    );
    socket.write(Buffer.concat([flags, go, write, ...flushes]));
    await eventually(
      'every flush is answered',
      () => answer().length === handshakeBytes + 16 * 50_001,
      10_000,
    );
    await isServed(volumes);
  });

  it('sends its last requests and half a goodbye is answered', async () => {
    const volumes = await serve([{ durableMilliseconds: 80, syncMilliseconds: 5000 }]);
    const socket = await connectRaw(volumes, true);
    const answer = received(socket);
    const write = Buffer.concat([request(NBD_CMD_WRITE, 0, 4096), Buffer.alloc(4096, 3)]);
    const partial = request(NBD_CMD_WRITE, 0, 4096);
    socket.end(Buffer.concat([flags, go, write, request(NBD_CMD_FLUSH, 0, 0, 2), partial]));
    await new Promise((resolve) => socket.once('end', resolve));
    expect(answer().length).toBe(handshakeBytes + 2 * 16);
    expect(answer().subarray(-12).readUInt32BE(0)).toBe(0);
    expect(volumes.volume.durable).toBe(1);
    socket.destroy();
  });

  it('vanishes in the middle leaves nothing behind', async () => {
    const volumes = await serve([{ readMilliseconds: 30 }]);
    for (let index = 0; index < 30; index++) {
      const socket = await connectRaw(volumes);
      const reads = Array.from({ length: 20 }, () =>
        request(NBD_CMD_READ, 0, 100_000 + index * 20_000),
      );
      socket.write(
        Buffer.concat([
          flags,
          go,
          ...reads,
          request(NBD_CMD_WRITE, 0, 1 * MiB),
          Buffer.alloc(index * 9000),
        ]),
      );
      setTimeout(() => socket.resetAndDestroy(), index * 3);
    }
    await eventually('all are gone', () => volumes.server.connections().length === 0);
    await eventually('all sessions are closed', () => volumes.volume.sessions.size === 0);
    await eventually('all slabs came back', () => volumes.slabs.inUse === 0);
    expect(volumes.server.replyBuffersInUse).toBe(0);
    await isServed(volumes);
  });

  it('sends what is no request is cut off, after the answers it is owed', async () => {
    const volumes = await serve();
    for (const garbage of [
      Buffer.alloc(28, 0xff),
      request(NBD_CMD_WRITE, 0, 65 * MiB),
      Buffer.from('25609514'.padEnd(56, '0'), 'hex'),
    ]) {
      const socket = await connectRaw(volumes);
      const answer = received(socket);
      socket.write(Buffer.concat([flags, go, request(NBD_CMD_READ, 0, 100), garbage]));
      await closed(socket);
      expect(answer().length).toBe(handshakeBytes + 16 + 100);
    }
    for (const garbage of [
      Buffer.alloc(64, 0xff),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'.repeat(4)),
    ]) {
      const socket = await connectRaw(volumes);
      socket.write(garbage);
      await closed(socket);
    }
    await isServed(volumes);
  });

  it('keeps the server busy with endless reads does not stall another', async () => {
    const volumes = await serve([{ sizeBytes: 64 * MiB }]);
    const socket = await connectRaw(volumes);
    socket.resume();
    let isOver = false;
    socket.write(Buffer.concat([flags, go]));
    const reads = Buffer.concat(
      Array.from({ length: 500 }, () => request(NBD_CMD_READ, 0, 2 * MiB)),
    );
    const more = (): void => {
      if (!isOver) socket.write(reads, more);
    };
    more();
    for (let round = 0; round < 3; round++) await isServed(volumes);
    isOver = true;
  });

  it('speaks on after its goodbye disturbs nobody', async () => {
    const volumes = await serve([{ durableMilliseconds: 60, syncMilliseconds: 60 }], {
      slabsMax: 2,
    });
    const socket = await connectRaw(volumes, true);
    const write = request(NBD_CMD_WRITE, 0, 200_000);
    write.writeUInt16BE(NBD_CMD_FLAG_FUA, 4);
    socket.write(
      Buffer.concat([flags, go, write, Buffer.alloc(200_000, 1), request(NBD_CMD_DISC, 0, 0)]),
    );
    await new Promise((resolve) => socket.resume().once('end', resolve));
    await eventually('its slab is free', () => volumes.slabs.inUse === 0);
    const client = await volumes.connect({ replyForm: 'simple' });
    const payload = Buffer.alloc(300_000, 2);
    const { reply, head } = client.prepare({ type: NBD_CMD_WRITE, offset: 0, payload });
    await client.stream.write(head, payload.subarray(0, 240_000));
    await eventually('it takes a slab', () => volumes.slabs.inUse === 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.write(Buffer.alloc(50_000, 0xff));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await client.stream.write(payload.subarray(240_000));
    await reply;
    expect(volumes.volume.contents.subarray(0, payload.length).equals(payload)).toBe(true);
    await client.close();
  });

  it('vanishes while it waits for memory does not take the news with it', async () => {
    const volumes = await serve(
      [
        {
          name: 'stalled',
          unsyncedBytesMax: 1,
          durableMilliseconds: 60_000,
          syncMilliseconds: 60_000,
        },
        { name: 'moving' },
      ],
      { slabsMax: 2 },
    );
    const payload = Buffer.alloc(4096, 5);
    const write = Buffer.concat([request(NBD_CMD_WRITE, 0, 4096), payload]);
    const begin = async (name: string, writes: number): Promise<net.Socket> => {
      const socket = await connectRaw(volumes);
      const goTo = encodeOption(NBD_OPT_GO, encodeInfoRequest({ name, information: [] }));
      socket.resume();
      socket.write(Buffer.concat([flags, goTo, ...Array.from({ length: writes }, () => write)]));
      return socket;
    };
    // Two that the journal says no to, each with a slab; then two that wait for one.
    await begin('stalled', 2);
    await eventually('the first holds a slab', () => volumes.slabs.inUse === 1);
    const second = await begin('stalled', 1);
    await eventually('the second holds the last', () => volumes.slabs.inUse === 2);
    const third = await begin('moving', 1);
    await eventually('the third is in', () => volumes.server.connections().length === 3);
    const fourth = await volumes.connect({ exportName: 'moving' });
    const answered = fourth.write(0, payload);
    await new Promise((resolve) => setTimeout(resolve, 100));
    third.resetAndDestroy();
    await eventually('the third is gone', () => volumes.server.connections().length === 3);
    second.resetAndDestroy();
    await answered;
    await fourth.close();
  });

  it('of a group that stands still leaves the hosts of another group their part', async () => {
    const volumes = await serve(
      [
        {
          name: 'stalled',
          unsyncedBytesMax: 1,
          durableMilliseconds: 60_000,
          syncMilliseconds: 60_000,
        },
        { name: 'moving' },
      ],
      { slabsMax: 8, areGroups: true },
    );
    const payload = Buffer.alloc(4096, 5);
    const goTo = encodeOption(NBD_OPT_GO, encodeInfoRequest({ name: 'stalled', information: [] }));
    const write = Buffer.concat([request(NBD_CMD_WRITE, 0, 4096), payload]);
    for (let count = 0; count < 20; count += 1) {
      const socket = await connectRaw(volumes);
      socket.resume();
      socket.write(Buffer.concat([flags, goTo, write, write]));
    }
    await eventually('they hold all that is to be had', () => volumes.slabs.inUse === 6);
    const client = await volumes.connect({ exportName: 'moving' });
    const large = Buffer.alloc(1024 * 1024, 6);
    for (let count = 0; count < 4; count += 1) await client.write(0, large);
    expect(volumes.slabs.inUse).toBeLessThanOrEqual(8);
    expect(await client.read(0, large.length)).toEqual(large);
    await client.close();
  });
});
