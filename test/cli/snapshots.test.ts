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

  it('makes clones that can be written to, and are safe once they were flushed', async () => {
    const made = (await daemon.client('snapshot', 'export', 'g@one', '--writable', 'lab')) as {
      result: string;
      clone: { state: string; volumes: { exports: string[] }[] };
    };
    expect(made).toMatchObject({ result: 'done', clone: { state: 'normal' } });
    expect(made.clone.volumes[0]?.exports).toEqual(['g/v@lab', 'v@lab']);
    expect(await firstByte('g/v@lab')).toBe(1);
    const client = await NbdClient.connectUri(daemon.uri('g/v@lab'));
    await client.write(512, Buffer.alloc(5000, 9));
    await client.flush();
    await client.close();
    await daemon.kill();
    daemon = await Daemon.start({ dataDirectory: daemon.dataDirectory });
    const again = await NbdClient.connectUri(daemon.uri('v@lab'));
    const bytes = await again.read(0, 8192);
    expect([0, 511, 512, 5511, 5512, 8191].map((at) => bytes[at])).toEqual([1, 1, 9, 9, 1, 1]);
    const used = await refused('snapshot', 'delete', 'g@lab', '--force');
    expect([used.code, used.stderr]).toEqual([4, expect.stringContaining('in use by')]);
    await again.close();
    expect(await firstByte('g/v@one')).toBe(1);
    const under = await refused('snapshot', 'delete', 'g@one');
    expect([under.code, under.stderr]).toEqual([4, expect.stringContaining('g@lab')]);
    const { clones } = (await daemon.client('snapshot', 'list')) as { clones: unknown[] };
    expect(clones).toMatchObject([{ group: 'g', name: 'lab', snapshot: 'one' }]);
    const written = await refused('snapshot', 'delete', 'g@lab');
    expect([written.code, written.stderr]).toEqual([4, expect.stringContaining('--force')]);
    expect(await daemon.client('snapshot', 'delete', 'g@lab', '--force')).toEqual({
      result: 'done',
    });
  });

  it('makes them by itself', async () => {
    const scheduled = await daemon.client('snapshot', 'schedule', 'g', 'hourly:2,daily:1');
    expect(scheduled).toEqual({ result: 'done', group: 'g', schedule: 'hourly:2,daily:1' });
    const names = async (): Promise<string[]> => {
      const { snapshots } = (await daemon.client('snapshot', 'list', 'g')) as {
        snapshots: { name: string }[];
      };
      return snapshots.map(({ name }) => name).filter((name) => /^auto-\d{8}-\d{6}$/.test(name));
    };
    await expect.poll(names, { timeout: 20_000 }).toHaveLength(1);
    const [name] = await names();
    expect((await refused('snapshot', 'create', 'g@auto-20300131-120000')).code).toBe(2);
    await daemon.client('snapshot', 'schedule', 'g', 'none');
    await daemon.client('snapshot', 'delete', `g@${name}`);
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
