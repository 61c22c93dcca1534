import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { NbdClient } from '../../src/nbd/client.ts';
import { must } from '../../src/platform/assert.ts';
import { jnbd } from '../support/built-program.ts';
import { until } from '../support/children.ts';
import type { Daemon } from '../support/daemon.ts';
import { groupOf, systemsOf } from '../support/systems.ts';
import { flipBit, volumeFile } from './verified-pair.ts';

const start = systemsOf('checksums');

async function write(daemon: Daemon, count: number, fill: number): Promise<void> {
  const client = await NbdClient.connectUri(daemon.uri('g/v'));
  for (let at = 0; at < count; at += 1) {
    const offset = ((at * 7919) % 16_000) * 1000;
    await client.write(offset, Buffer.alloc(1 + ((at * 37) % 30_000), fill + at));
  }
  await client.flush();
  await client.close();
}

/** What the source knows of its only follower. */
async function toldOf(daemon: Daemon) {
  const [secondary] = (await groupOf(daemon)).secondaries;
  return must(secondary, 'somebody follows').checksums;
}

/** A point behind that update agreed, or there is a difference. */
async function compared(daemon: Daemon, newest: number) {
  await until(
    () => 'nothing is compared',
    30,
    async () => {
      const { agreedAt, differing } = (await groupOf(daemon)).checksums;
      return (agreedAt ?? 0) > newest || differing.length > 0;
    },
  );
  return (await groupOf(daemon)).checksums;
}

/** Whether a checkpoint says so: before one does the next start builds them anew. */
function isKept(dataDirectory: string): Promise<boolean> {
  const slots = readFileSync(join(dataDirectory, 'groups/g/checkpoint'));
  return Promise.resolve([70, 4096 + 70].some((at) => slots[at] === 1));
}

/** As if apply had written something else: not what the volume holds changes, but what is known of it. */
function spoil(dataDirectory: string): void {
  const file = openSync(join(dataDirectory, 'groups/g/checksums/0001.checksums'), 'r+');
  // Of a block that nobody writes: what is done again after the death leaves it as it is.
  writeSync(file, Uint8Array.of(1), 0, 1, 4 * 4090);
  closeSync(file);
}

it('two systems behind a primary agree, over deaths of all, and tell when they do not', async () => {
  const names = ['paris', 'rome', 'oslo'] as const;
  let [paris, rome, oslo] = [await start('paris'), await start('rome'), await start('oslo')];
  await paris.client('group', 'create', 'g', '--journal-size', '64MiB');
  await paris.client('volume', 'create', 'g/v', '--size', '16MiB');
  await write(paris, 100, 1);
  await rome.client('follow', 'g', '--from', `http://127.0.0.1:${paris.listenPort}`);
  await rome.client('wait', 'g', '--for', 'synced', '--timeout', '30s');
  await oslo.client('follow', 'g', '--from', `http://127.0.0.1:${rome.listenPort}`);
  await oslo.client('wait', 'g', '--for', 'synced', '--timeout', '30s');
  const { newest } = (await groupOf(paris)).watermarks;
  await write(paris, 200, 2);
  for (const daemon of [rome, oslo])
    expect(await compared(daemon, newest)).toMatchObject({ state: 'kept', differing: [] });
  const { stdout } = await jnbd(['group', 'show', 'g', '--data', oslo.dataDirectory]);
  expect(stdout).toMatch(/checksums: +on; same as the source at update \d+, at 20/);

  await until(
    () => 'no checkpoint has checksums',
    40,
    () => isKept(rome.dataDirectory),
  );
  for (const daemon of [oslo, rome, paris]) await daemon.kill();
  spoil(rome.dataDirectory);
  [paris, rome, oslo] = [await start(names[0]), await start(names[1]), await start(names[2])];
  await rome.client('follow', 'g', '--from', `http://127.0.0.1:${paris.listenPort}`);
  await oslo.client('follow', 'g', '--from', `http://127.0.0.1:${rome.listenPort}`);
  const behind = (await groupOf(paris)).watermarks.newest;
  await write(paris, 50, 3);
  expect((await compared(oslo, behind)).differing).toEqual([]);
  expect((await compared(rome, behind)).differing).toEqual(['v']);
  const { conditions } = await groupOf(rome);
  expect(conditions).toMatchObject([
    { code: 'checksum_differs', severity: 'error', nextCommand: 'jnbd verify g' },
  ]);
  await rome.client('group', 'configure', 'g', '--checksums', 'off');
  expect((await groupOf(rome)).checksums).toMatchObject({ state: 'off', differing: [] });
}, 180_000);

it('a source knows when its follower had the same last, and which volume it has not', async () => {
  const [paris, rome] = [await start('paris'), await start('rome')];
  await paris.client('group', 'create', 'g', '--journal-size', '64MiB');
  await paris.client('volume', 'create', 'g/v', '--size', '16MiB');
  await write(paris, 100, 1);
  await rome.client('follow', 'g', '--from', `http://127.0.0.1:${paris.listenPort}`);
  await rome.client('wait', 'g', '--for', 'synced', '--timeout', '30s');
  let { newest } = (await groupOf(paris)).watermarks;
  await write(paris, 20, 2);
  await compared(rome, newest);
  const isTold = (state: string) =>
    until(
      () => `paris does not know: ${state}`,
      30,
      async () => {
        const told = await toldOf(paris);
        return told.state === state && (told.comparedAt ?? 0) > newest;
      },
    );
  await isTold('same');
  const { agreedAt, agreedTime } = await toldOf(paris);
  const shown = await jnbd(['status', '--data', paris.dataDirectory]);
  expect(shown.stdout).toContain(`same at: update ${agreedAt}, ${agreedTime}`);

  // Of a block that is written in part next: the rest of it is read back.
  const blockAt = 4000 * 4096;
  flipBit(volumeFile(rome, 1), blockAt + 1000);
  newest = (await groupOf(paris)).watermarks.newest;
  const client = await NbdClient.connectUri(paris.uri('g/v'));
  await client.write(blockAt, Buffer.alloc(100, 9));
  await client.close();
  await isTold('differs');
  expect(await toldOf(paris)).toMatchObject({ agreedAt, differing: ['v'] });
  expect((await groupOf(paris)).conditions).toMatchObject([
    { code: 'follower_differs', severity: 'error', nextCommand: 'jnbd verify g' },
  ]);
  const { body } = await paris.get('/metrics');
  const labels = '\\{group="g",follower="rome"\\}';
  expect(body).toMatch(
    new RegExp(`^jnbd_follower_checksums_agreed_update${labels} ${agreedAt}$`, 'm'),
  );
  expect(body).toMatch(new RegExp(`^jnbd_follower_checksums_differing_volumes${labels} 1$`, 'm'));

  await rome.client('verify', 'g', '--repair-from', 'paris').catch(() => undefined);
  newest = (await groupOf(paris)).watermarks.newest;
  await write(paris, 20, 3);
  await isTold('same');
  expect((await groupOf(paris)).conditions).toEqual([]);
}, 180_000);
