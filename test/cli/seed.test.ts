import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SystemEvent } from '../../src/control/schema-events.ts';
import type { Status } from '../../src/control/schema-status.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { build } from '../support/built-program.ts';
import { run, until } from '../support/children.ts';
import { type CommandFailed, Daemon, program } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

const sizeBytes = 48 * MiB;

let directory: TemporaryDirectory;
let first: Daemon;
let second: Daemon;
let image: string;

async function start(name: string): Promise<Daemon> {
  return Daemon.start({
    dataDirectory: join(directory.path, name),
    arguments: ['--name', name],
  });
}

beforeAll(async () => {
  await build();
  directory = temporaryDirectory('seed');
  image = join(directory.path, 'image');
  writeFileSync(image, randomBytes(sizeBytes));
  first = await start('first');
  second = await start('second');
  await first.client('group', 'create', 'g', '--journal-size', '64MiB');
  await first.client('volume', 'create', 'g/v', '--from', image);
  await first.client('volume', 'create', 'g/w', '--size', '4MiB');
}, 120_000);

afterAll(async () => {
  await first?.kill();
  await second?.kill();
  directory?.remove();
});

async function write(offset: number, bytes: Buffer): Promise<void> {
  const client = await NbdClient.connect(
    { kind: 'tcp', host: '127.0.0.1', port: first.port },
    { exportName: 'g/v' },
  );
  await client.write(offset, bytes);
  await client.flush();
  await client.close();
}

async function events(daemon: Daemon): Promise<SystemEvent[]> {
  const args = [program, 'events', 'g', '--json', '--data', daemon.dataDirectory];
  const { stdout } = await run(process.execPath, args);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as SystemEvent);
}

describe('jnbd follow --seed', { timeout: 120_000 }, () => {
  it('refuses an image that is none of the group', async () => {
    const url = `http://127.0.0.1:${first.listenPort}`;
    const failed = await second
      .client('follow', 'g', '--from', url, '--seed', `x=${image}`)
      .catch((error: CommandFailed) => error);
    expect(failed).toMatchObject({ code: 3 });
    const { groups } = (await first.client('status')) as Status;
    expect(groups[0]?.secondaries).toEqual([]);
  });

  it('copies what differs from the image, and no more', async () => {
    await write(5 * MiB + 4096, Buffer.alloc(8 * KiB, 1));
    await write(40 * MiB, Buffer.alloc(64 * KiB, 2));
    const url = `http://127.0.0.1:${first.listenPort}`;
    await second.client('follow', 'g', '--from', url, '--seed', `v=${image}`);
    await write(20 * MiB, Buffer.alloc(4 * KiB, 3));
    await second.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
    const found = (await events(second)).find(({ code }) => code === 'comparison_done');
    // Two units of one volume, or three where the last write was in time, and all of the other.
    expect(found?.message).toMatch(/4\.\d+MiB in [34] regions/);
    const paths = await Promise.all([first, second].map((each) => each.volumeFile('g/v')));
    await first.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
    const [a, b] = paths.map((path) => readFileSync(path));
    expect(a?.equals(b ?? Buffer.alloc(0))).toBe(true);
    const { groups } = (await second.client('status')) as Status;
    expect(groups[0]).toMatchObject({ upstream: { state: 'reading' }, conditions: [] });
  });

  it('shows what is not for mounting, and volumes that are deleted at the source', async () => {
    const show = async (volume: string): Promise<string> => {
      const args = [program, 'volume', 'show', volume, '--data', second.dataDirectory];
      return (await run(process.execPath, args)).stdout;
    };
    expect(await show('g/v')).toContain('do not mount them');
    expect(await show('g/w')).not.toContain('its file goes at');
    await first.client('volume', 'delete', 'g/w', '--force');
    await until(
      () => 'the volume is not hidden',
      10,
      async () => (await show('g/w')).includes('its file goes at'),
    );
    const { groups } = (await second.client('status')) as Status;
    expect(groups[0]?.volumes.map(({ name }) => name)).toEqual(['v']);
    expect(groups[0]?.deletedVolumes).toMatchObject([{ name: 'w', exports: [] }]);
    await second.client('group', 'configure', 'g', '--secondary-exports', 'hidden');
    expect(await show('g/v')).not.toContain('nbd://');
  });
});
