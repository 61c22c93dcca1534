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
  directory = temporaryDirectory('views');
  daemon = await Daemon.start({ dataDirectory: join(directory.path, 'data') });
  await daemon.client('group', 'create', 'g', '--journal-size', '512MiB');
  await daemon.client('volume', 'create', 'g/v', '--size', '8MiB');
}, 120_000);

afterAll(async () => {
  await daemon?.kill();
  directory?.remove();
});

interface GroupShown {
  readonly watermarks: { readonly newest: number; readonly applied: number };
  readonly history: { readonly from: number; readonly promisedSeconds: number };
  readonly lastProven: unknown;
}

async function group(): Promise<GroupShown> {
  return (await daemon.client('group', 'show', 'g')) as GroupShown;
}

/** The number behind which the volume holds that. */
async function fill(byte: number): Promise<number> {
  const client = await NbdClient.connectUri(daemon.uri('g/v'));
  await client.write(0, Buffer.alloc(MiB, byte));
  await client.flush();
  await client.close();
  return (await group()).watermarks.newest;
}

async function firstByte(name: string): Promise<number | undefined> {
  const client = await NbdClient.connectUri(daemon.uri(name));
  const bytes = await client.read(0, MiB);
  await client.close();
  expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
  return bytes[0];
}

async function run(...words: string[]): Promise<{ code: number | null; stderr: string }> {
  const { code, stderr } = await jnbd([...words, '--data', daemon.dataDirectory]);
  return { code, stderr };
}

async function untilApplied(): Promise<void> {
  for (;;) {
    const { watermarks } = await group();
    if (watermarks.applied === watermarks.newest) return;
  }
}

describe('jnbd view', () => {
  it('shows instants of the window, over a kill, while hosts go on', async () => {
    await daemon.client('group', 'configure', 'g', '--history', '2h');
    const numbers: number[] = [];
    for (const byte of [1, 2, 3]) numbers.push(await fill(byte));
    await untilApplied();
    const [one = 0, two = 0] = numbers;
    expect(await run('view', 'create', 'g', '--at', String(one), '--name', 'one')).toMatchObject({
      code: 0,
    });
    await daemon.client('view', 'create', 'g', '--at', String(two));
    await fill(4);
    const names = ['g/v', 'g/v@one', `v@at-${two}`];
    expect(await Promise.all(names.map(firstByte))).toEqual([4, 1, 2]);
    await daemon.kill();
    daemon = await Daemon.start({ dataDirectory: daemon.dataDirectory });
    await untilOpen();
    expect(await Promise.all(names.map(firstByte))).toEqual([4, 1, 2]);
    const { history } = await group();
    expect(history.promisedSeconds).toBe(7200);
    expect(history.from).toBeLessThanOrEqual(one);
  }, 60_000);

  it('tells what changed between two instants', async () => {
    const { watermarks } = await group();
    const diff = await daemon.client('view', 'diff', 'g', String(watermarks.newest), 'latest');
    expect(diff).toMatchObject({ volumes: [{ name: 'v', changedBytes: 0, extents: [] }] });
    const client = await NbdClient.connectUri(daemon.uri('g/v'));
    await client.write(3 * MiB, Buffer.alloc(8192, 9));
    await client.flush();
    await client.close();
    const from = String(watermarks.newest);
    expect(await daemon.client('view', 'diff', 'g', from, 'latest')).toMatchObject({
      volumes: [{ changedBytes: 8192, extents: [{ offset: 3 * MiB, length: 8192 }] }],
    });
  });

  it('refuses what cannot be', async () => {
    expect((await run('view', 'create', 'g', '--at', 'soon')).code).toBe(2);
    expect((await run('view', 'create', 'g', '--at', '999999')).code).toBe(4);
    expect((await run('view', 'create', 'g', '--at', 'snapshot:none')).code).toBe(3);
    expect((await run('group', 'configure', 'g', '--history', '10')).code).toBe(2);
    const client = await NbdClient.connectUri(daemon.uri('g/v@one'));
    await expect(client.write(0, Buffer.alloc(4096))).rejects.toThrow(/read-only/);
    const { code, stderr } = await run('view', 'delete', 'g@one');
    expect([code, stderr]).toEqual([4, expect.stringContaining('in use by')]);
    expect((await run('view', 'delete', 'g@one', '--force')).code).toBe(0);
    await client.close().catch(() => undefined);
    expect(await daemon.client('view', 'delete', 'g@one')).toEqual({ result: 'already_done' });
  });
});

describe('jnbd drill', () => {
  it('notes what a check says', async () => {
    const good = 'test -n "$JNBD_URI_v" && test "$JNBD_VOLUMES" = v';
    expect(await daemon.client('drill', 'g', '--check', good)).toMatchObject({ result: 'passed' });
    expect((await group()).lastProven).toMatchObject({ result: 'passed' });
    expect((await daemon.get('/metrics')).body).toContain('jnbd_last_proven_recoverable_seconds{');
    expect((await run('drill', 'g', '--check', 'exit 3')).code).toBe(7);
    expect((await group()).lastProven).toMatchObject({
      result: 'failed',
      passedAt: expect.any(String),
    });
    expect((await run('drill', 'g', '--check', 'sleep 20', '--timeout', '300ms')).code).toBe(5);
    expect((await run('drill', 'g', '--check', 'exit 75')).code).toBe(2);
    const { views } = (await daemon.client('view', 'list', 'g')) as { views: { name: string }[] };
    expect(views.filter(({ name }) => name.startsWith('drill'))).toEqual([]);
  });
});

async function untilOpen(): Promise<void> {
  for (;;) {
    const { views } = (await daemon.client('view', 'list', 'g')) as { views: { state: string }[] };
    if (views.every(({ state }) => state === 'open')) return;
  }
}
