import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GroupStatus } from '../../../src/control/schema-status.ts';
import { NbdClient } from '../../../src/nbd/client.ts';
import { NBD_CMD_READ, NBD_CMD_WRITE } from '../../../src/nbd/wire.ts';
import { until } from '../../support/children.ts';
import type { Daemon } from '../../support/daemon.ts';
import { groupOf, systemsOf } from '../../support/systems.ts';

const block = 4096;
const shutdown = 108;

const start = systemsOf('synchronous');
let primary: Daemon;
let follower: Daemon;
const hosts: NbdClient[] = [];

beforeEach(async () => {
  primary = await start('primary');
  follower = await start('follower');
  await primary.client('group', 'create', 'g', '--journal-size', '64MiB');
  await primary.client('volume', 'create', 'g/v', '--size', '4MiB');
  await primary.client('group', 'configure', 'g', '--sync-timeout', '1s');
});

afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close().catch(() => undefined);
});

async function host(): Promise<NbdClient> {
  const client = await NbdClient.connectUri(primary.uri('g/v'));
  hosts.push(client);
  return client;
}

function bytes(fill: number): Buffer {
  return Buffer.alloc(block, fill);
}

/** Whether it is settled within 300 ms. */
function isSettled(promise: Promise<unknown>): Promise<boolean> {
  return Promise.race([
    promise.then(
      () => true,
      () => true,
    ),
    new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 300)),
  ]);
}

async function protectedBy(onLoss: 'stall' | 'degrade'): Promise<void> {
  await primary.client('group', 'configure', 'g', '--on-sync-loss', onLoss);
  await follower.client(
    'follow',
    'g',
    '--sync',
    '--from',
    `http://127.0.0.1:${primary.listenPort}`,
  );
  await untilState('protected');
}

async function untilState(state: GroupStatus['synchronous']['state']): Promise<void> {
  let last: unknown;
  await until(
    () => `not ${state}: ${JSON.stringify(last)}\n${primary.output}\n${follower.output}`,
    30,
    async () => {
      const { synchronous, conditions } = await groupOf(primary);
      last = { synchronous, conditions };
      return synchronous.state === state;
    },
  );
}

async function untilCondition(code: string, isThere: boolean): Promise<void> {
  await until(
    () => `${code} ${isThere ? 'is not raised' : 'stays'}\n${primary.output}`,
    30,
    async () => (await groupOf(primary)).conditions.some((each) => each.code === code) === isThere,
  );
}

describe('a synchronous follower', () => {
  it('has every write that was acknowledged, when its primary is killed in mid-write', async () => {
    await protectedBy('stall');
    const client = await host();
    const acknowledged: number[] = [];
    const writing = (async () => {
      for (let number = 0; number < 1_000_000; number += 1) {
        await client.write((number % 1000) * block, bytes((number % 255) + 1));
        acknowledged.push(number);
      }
    })();
    writing.catch(() => undefined);
    await until(
      () => `${acknowledged.length} writes`,
      30,
      () => acknowledged.length > 300,
    );
    await primary.kill();
    await expect(writing).rejects.toBeInstanceOf(Error);
    await follower.client('promote', 'g');
    const reader = await NbdClient.connectUri(follower.uri('g/v'));
    hosts.push(reader);
    const contents = new Map(acknowledged.map((number) => [number % 1000, (number % 255) + 1]));
    // One write more may have been under way.
    const next = acknowledged.length;
    contents.delete(next % 1000);
    for (const [at, fill] of contents) {
      expect((await reader.read(at * block, block)).equals(bytes(fill)), `block ${at}`).toBe(true);
    }
    expect((await groupOf(follower)).synchronous.state).toBe('none');
  });

  it('that is killed makes hosts wait (stall), readers of what was not answered too, until it is back', async () => {
    await protectedBy('stall');
    const writer = await host();
    const reader = await host();
    await writer.write(0, bytes(1));
    await follower.kill();
    const write = writer.write(0, bytes(2));
    expect(await isSettled(write)).toBe(false);
    const read = reader.read(0, block);
    expect(await isSettled(read)).toBe(false);
    // On another connection, after a reconnect, elsewhere: only what would show it waits.
    const other = await host();
    const again = other.read(block - 512, 1024);
    expect(await isSettled(again)).toBe(false);
    const elsewhere = await (await host()).read(2 * block, block);
    expect(elsewhere.equals(bytes(0))).toBe(true);
    await untilCondition('sync_stalled', true);
    expect(await groupOf(primary)).toMatchObject({
      limitedBy: 'followers',
      synchronous: { state: 'protected', members: ['follower'], heldUpdates: 1 },
      secondaries: [{ name: 'follower', synchronous: 'lost' }],
    });
    expect(await isSettled(write)).toBe(false);
    await follower.start();
    await write;
    expect((await read).equals(bytes(2))).toBe(true);
    await again;
    await untilCondition('sync_stalled', false);
  });

  it('that is away is waited for by trim, zeroes, flush, block status and long reads, and a read shows nothing written behind it', async () => {
    await protectedBy('stall');
    const first = await host();
    await first.write(0, bytes(1));
    await first.write(100 * block, Buffer.alloc(block, 9));
    await follower.kill();
    // In one packet: the read is before the write, and was answered before it is.
    const read = first.prepare({ type: NBD_CMD_READ, offset: 0, length: block });
    const write = first.prepare({ type: NBD_CMD_WRITE, offset: 0, payload: bytes(2) });
    await first.stream.write(Buffer.concat([read.head, write.head, write.body]), new Uint8Array());
    expect((await read.reply).data.equals(bytes(1))).toBe(true);
    const [trimmer, zeroer, flusher] = [await host(), await host(), await host()];
    const trim = trimmer.trim(100 * block, block);
    expect(await isSettled(trim)).toBe(false);
    const zeroes = zeroer.writeZeroes(200 * block, block);
    expect(await isSettled(zeroes)).toBe(false);
    const flush = flusher.flush();
    expect(await isSettled(flush)).toBe(false);
    const told = (await host()).blockStatus(100 * block, block);
    expect(await isSettled(told)).toBe(false);
    const long = (await host()).read(50 * block, 400 * block);
    expect(await isSettled(long)).toBe(false);
    const beside = await (await host()).read(300 * block, 400 * block);
    expect(beside.equals(Buffer.alloc(400 * block))).toBe(true);
    expect(await isSettled(Promise.race([write.reply, trim, zeroes, flush, told, long]))).toBe(
      false,
    );
    await follower.start();
    await Promise.all([write.reply, trim, zeroes, flush, told]);
    expect((await long).equals(Buffer.alloc(400 * block))).toBe(true);
  });

  it('that is killed is waited for no longer than its lease (degrade), which is told, until it is back', async () => {
    await protectedBy('degrade');
    const client = await host();
    await client.write(0, bytes(1));
    const { newest } = (await groupOf(primary)).watermarks;
    await follower.kill();
    const began = performance.now();
    await client.write(0, bytes(2));
    expect(performance.now() - began).toBeLessThan(5000);
    const { synchronous, conditions } = await groupOf(primary);
    expect(synchronous).toMatchObject({
      state: 'unprotected',
      sinceUpdate: newest + 1,
      lost: ['follower'],
    });
    expect(conditions).toMatchObject([{ code: 'sync_lost', severity: 'error' }]);
    expect(conditions[0]?.message).toContain(`updates from ${newest + 1} on`);
    await follower.start();
    await untilState('protected');
    await untilCondition('sync_lost', false);
    // It learns at the same place of the order what held when.
    await until(
      () => `the follower does not say so\n${follower.output}`,
      30,
      async () => (await groupOf(follower)).synchronous.state === 'protected',
    );
  });

  it('is waited for again after its primary was killed, which shows nothing that was held', async () => {
    await protectedBy('stall');
    await (await host()).write(0, bytes(1));
    await follower.kill();
    const writer = await host();
    const write = writer.request({ type: NBD_CMD_WRITE, offset: 0, payload: bytes(2) });
    write.catch(() => undefined);
    expect(await isSettled(write)).toBe(false);
    await primary.kill();
    await primary.start();
    const read = (await host()).read(0, block);
    expect(await isSettled(read)).toBe(false);
    await untilCondition('sync_stalled', true);
    await follower.start();
    expect([1, 2]).toContain((await read)[0]);
    await (await host()).write(0, bytes(3));
  });

  it('leaves no host without an answer when its primary ends, and none that says that all is well', async () => {
    await protectedBy('stall');
    const client = await host();
    await follower.kill();
    const write = client.request({ type: NBD_CMD_WRITE, offset: 0, payload: bytes(2) });
    expect(await isSettled(write)).toBe(false);
    const began = performance.now();
    await primary.stop();
    expect(performance.now() - began).toBeLessThan(8000);
    expect(await write).toMatchObject({ errno: shutdown });
  });

  it('is handed the group while a host writes, and has everything; the old primary waits for nobody', async () => {
    await protectedBy('stall');
    const client = await host();
    let acknowledged = 0;
    const writing = (async () => {
      for (let number = 1; ; number += 1) {
        await client.write((number % 100) * block, bytes(number % 255));
        acknowledged = number;
      }
    })();
    writing.catch(() => undefined);
    await until(
      () => `${acknowledged} writes`,
      30,
      () => acknowledged > 100,
    );
    await primary.client('handoff', 'g', '--to', 'follower');
    await expect(writing).rejects.toBeInstanceOf(Error);
    await follower.client('wait', 'g', '--for', 'primary', '--timeout', '30s');
    const heir = await NbdClient.connectUri(follower.uri('g/v'));
    hosts.push(heir);
    const last = await heir.read((acknowledged % 100) * block, block);
    expect(last.equals(bytes(acknowledged % 255))).toBe(true);
    await heir.write(0, bytes(7));
    await primary.client('wait', 'g', '--for', 'synced', '--timeout', '30s');
    expect(await groupOf(primary)).toMatchObject({ role: 'secondary', conditions: [] });
    expect(await groupOf(follower)).toMatchObject({
      role: 'primary',
      synchronous: { state: 'none' },
    });
  });

  it('is waited for no more where a user says so, while hosts wait', async () => {
    await protectedBy('stall');
    const client = await host();
    await follower.kill();
    const first = client.write(0, bytes(1));
    expect(await isSettled(first)).toBe(false);
    await primary.client('group', 'configure', 'g', '--on-sync-loss', 'degrade');
    await first;
    await follower.start();
    await untilState('protected');
    await primary.client('group', 'configure', 'g', '--on-sync-loss', 'stall');
    await follower.kill();
    const second = client.write(0, bytes(2));
    expect(await isSettled(second)).toBe(false);
    await primary.client('secondary', 'remove', 'g', 'follower');
    await second;
    expect((await groupOf(primary)).conditions).toEqual([]);
  });
});
