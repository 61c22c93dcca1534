import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, jnbd } from '../support/built-program.ts';
import { runChecked, until } from '../support/children.ts';
import { Daemon } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';
import { missingPrograms, requireProgram } from '../support/tools.ts';

const missing = missingPrograms('nbdcopy', 'qemu-io', 'nbdinfo');
if (missing.length > 0) console.warn(`writable views skipped: missing ${missing.join(', ')}`);

const MiB = 1024 * 1024;
const volumeBytes = 16 * MiB;
let directory: TemporaryDirectory;
let daemon: Daemon;
let contents: Buffer;

async function copyOf(name: string): Promise<Buffer> {
  const path = join(directory.path, 'copy');
  await runChecked(requireProgram('nbdcopy'), [daemon.uri(name), path]);
  return readFileSync(path);
}

async function qemuIo(name: string, ...commands: string[]): Promise<void> {
  const words = commands.flatMap((command) => ['-c', command]);
  await runChecked(requireProgram('qemu-io'), ['-f', 'raw', ...words, daemon.uri(name)]);
}

async function run(...words: string[]): Promise<{ code: number | null; stderr: string }> {
  const { code, stderr } = await jnbd([...words, '--data', daemon.dataDirectory]);
  return { code, stderr };
}

async function shown(): Promise<{ name: string; state: string; allocatedBytes: number }[]> {
  const { views } = (await daemon.client('view', 'list', 'g')) as {
    views: { name: string; state: string; allocatedBytes: number }[];
  };
  return views;
}

async function untilOpen(): Promise<void> {
  await until(
    () => 'no view is open',
    20,
    async () => (await shown()).every(({ state }) => state === 'open'),
  );
}

beforeAll(async () => {
  if (missing.length > 0) return;
  await build();
  directory = temporaryDirectory('writable-view');
  daemon = await Daemon.start({ dataDirectory: join(directory.path, 'data') });
  await daemon.client('group', 'create', 'g', '--journal-size', '256MiB');
  await daemon.client('volume', 'create', 'g/v', '--size', String(volumeBytes));
  await daemon.client('group', 'configure', 'g', '--history', '2h');
  contents = Buffer.alloc(volumeBytes);
  randomBytes(4 * MiB).copy(contents, MiB);
  const image = join(directory.path, 'image');
  writeFileSync(image, contents);
  await runChecked(requireProgram('nbdcopy'), ['--flush', image, daemon.uri('g/v')]);
}, 240_000);

afterAll(async () => {
  await daemon?.kill();
  directory?.remove();
});

describe.skipIf(missing.length > 0)('a view that can be written to', () => {
  it('is a disk of its own for qemu-io and nbdcopy, over kill -9 and a restart', async () => {
    expect(
      await run('view', 'create', 'g', '--at', 'latest', '--name', 'lab', '--writable'),
    ).toEqual({ code: 0, stderr: expect.any(String) });
    const { stdout } = await runChecked(requireProgram('nbdinfo'), [
      '--json',
      daemon.uri('g/v@lab'),
    ]);
    expect(JSON.parse(stdout)).toMatchObject({
      exports: [{ is_read_only: false, can_flush: true }],
    });
    // The volume goes on, and so does the view.
    await qemuIo('g/v', 'write -P 7 0 8M', 'flush');
    await qemuIo('g/v@lab', 'write -P 1 100k 50k', 'write -z 2M 1M', 'discard 3M 64k', 'flush');
    const expected = Buffer.from(contents);
    expected.fill(1, 100 * 1024, 150 * 1024);
    expected.fill(0, 2 * MiB, 3 * MiB);
    expected.fill(0, 3 * MiB, 3 * MiB + 64 * 1024);
    expect((await copyOf('g/v@lab')).equals(expected)).toBe(true);
    await daemon.kill();
    await daemon.start();
    await untilOpen();
    expect((await copyOf('g/v@lab')).equals(expected)).toBe(true);
    await qemuIo('g/v@lab', 'write -f -P 9 512 1k');
    expected.fill(9, 512, 1536);
    await daemon.kill();
    await daemon.start();
    await untilOpen();
    expect((await copyOf('g/v@lab')).equals(expected)).toBe(true);
    // A stop syncs what nobody flushed.
    await qemuIo('g/v@lab', 'write -P 5 12M 4k');
    expected.fill(5, 12 * MiB, 12 * MiB + 4096);
    await daemon.stop();
    await daemon.start();
    await untilOpen();
    expect((await copyOf('g/v@lab')).equals(expected)).toBe(true);
    expect((await copyOf('g/v')).subarray(0, MiB).every((byte) => byte === 7)).toBe(true);
    const [view] = await shown();
    expect(view?.allocatedBytes).toBeGreaterThan(50 * 1024);
  }, 120_000);

  it('is deleted by force alone, and what is wrong is said', async () => {
    const other = await run('view', 'create', 'g', '--at', 'latest', '--name', 'lab');
    expect([other.code, other.stderr]).toEqual([4, expect.stringContaining('can be written to')]);
    const deleted = await run('view', 'delete', 'g@lab');
    expect([deleted.code, deleted.stderr]).toEqual([4, expect.stringContaining('add --force')]);
    expect((await run('view', 'create', 'g', '--at', 'latest', '--writable', 'lab')).code).toBe(2);
    expect((await run('view', 'create', 'g', '--at', '-5h', '--writable')).code).toBe(4);
    expect((await run('view', 'delete', 'g@lab', '--force')).code).toBe(0);
    const files = join(daemon.dataDirectory, 'groups/g/writable-views');
    expect(existsSync(files) ? readdirSync(files) : []).toEqual([]);
  });

  it('lets the check of a drill write', async () => {
    const check = `${requireProgram('qemu-io')} -f raw -c 'write -P 3 0 4k' "$JNBD_URI_v"`;
    expect((await run('drill', 'g', '--check', check)).code).toBe(7);
    expect((await run('drill', 'g', '--check', check, '--writable')).code).toBe(0);
    expect(await shown()).toEqual([]);
  });
});
