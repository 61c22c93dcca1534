import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NbdClient } from '../../src/nbd/client.ts';
import { build, jnbd } from '../support/built-program.ts';
import { Daemon } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

const MiB = 1024 * 1024;
let directory: TemporaryDirectory;
let daemon: Daemon;

beforeAll(async () => {
  await build();
  directory = temporaryDirectory('snapshots');
  daemon = await Daemon.start({ dataDirectory: join(directory.path, 'data') });
  await daemon.client('group', 'create', 'g', '--journal-size', '64MiB');
  await daemon.client('volume', 'create', 'g/v', '--size', '8MiB');
  await daemon.client('volume', 'create', 'g/w', '--size', '1MiB');
}, 120_000);

afterAll(async () => {
  await daemon?.kill();
  directory?.remove();
});

async function fill(name: string, byte: number): Promise<void> {
  const client = await NbdClient.connectUri(daemon.uri(name));
  await client.write(0, Buffer.alloc(MiB, byte));
  await client.close();
}

async function firstByte(name: string): Promise<number | undefined> {
  const client = await NbdClient.connectUri(daemon.uri(name));
  const bytes = await client.read(0, MiB);
  await client.close();
  expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
  return bytes[0];
}

async function refused(...words: string[]): Promise<{ code: number | null; stderr: string }> {
  const { code, stderr } = await jnbd([...words, '--data', daemon.dataDirectory]);
  return { code, stderr };
}

describe('jnbd snapshot', () => {
  it('keeps all volumes of a group as they are at one instant, over a restart', async () => {
    await fill('g/v', 1);
    await fill('g/w', 1);
    await daemon.client('snapshot', 'create', 'g@one');
    await fill('g/v', 2);
    await daemon.client('snapshot', 'create', 'g@two');
    await fill('g/v', 3);
    await fill('g/w', 3);
    const check = async (): Promise<void> => {
      const names = ['g/v', 'g/w', 'g/v@one', 'g/w@one', 'g/v@two', 'g/w@two', 'v@two'];
      const bytes = await Promise.all(names.map(firstByte));
      expect(bytes).toEqual([3, 3, 1, 1, 2, 1, 2]);
    };
    await check();
    await daemon.kill();
    daemon = await Daemon.start({ dataDirectory: daemon.dataDirectory });
    await check();
  }, 60_000);

  it('tells what there is', async () => {
    const { snapshots } = (await daemon.client('snapshot', 'list', 'g')) as {
      snapshots: { name: string; state: string; volumes: { name: string; exports: string[] }[] }[];
    };
    expect(snapshots).toMatchObject([
      { name: 'one', state: 'normal', volumes: [{ name: 'v' }, { name: 'w' }] },
      { name: 'two', state: 'normal' },
    ]);
    expect(snapshots[0]?.volumes[0]?.exports).toEqual(['g/v@one', 'v@one']);
    const { volumes } = (await daemon.client('volume', 'list')) as { volumes: unknown[] };
    expect(volumes).toHaveLength(2);
    expect(await daemon.client('snapshot', 'create', 'g@one')).toMatchObject({
      result: 'already_done',
    });
  });

  it('is not written to, and not deleted while it is read', async () => {
    const client = await NbdClient.connectUri(daemon.uri('g/v@one'));
    await expect(client.write(0, Buffer.alloc(4096))).rejects.toThrow(/read-only/);
    const { code, stderr } = await refused('snapshot', 'delete', 'g@one');
    expect([code, stderr]).toEqual([4, expect.stringContaining('in use by')]);
    await client.close();
    const volume = await refused('volume', 'delete', 'g/w', '--force');
    expect([volume.code, volume.stderr]).toEqual([4, expect.stringContaining('g@one, g@two')]);
    expect((await refused('snapshot', 'create', 'g')).code).toBe(2);
  });

  it('gives back what only it needs', async () => {
    const used = async (): Promise<number> => {
      const { snapshots } = (await daemon.client('snapshot', 'list', 'g')) as {
        snapshots: { preservedBytes: number }[];
      };
      return snapshots.reduce((sum, { preservedBytes }) => sum + preservedBytes, 0);
    };
    expect(await used()).toBeGreaterThan(0);
    for (const name of ['g@one', 'g@two']) {
      // The server hears of a closed connection a moment later.
      for (;;) {
        const { code, stderr } = await refused('snapshot', 'delete', name);
        if (code === 0) break;
        expect(stderr).toContain('in use by');
      }
    }
    expect(await used()).toBe(0);
    expect(await daemon.client('snapshot', 'delete', 'g@one')).toEqual({ result: 'already_done' });
    expect(await firstByte('g/v')).toBe(3);
  });
});
