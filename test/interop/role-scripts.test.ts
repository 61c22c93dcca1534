import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GroupStatus, Status } from '../../src/control/schema-status.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { must } from '../../src/platform/assert.ts';
import { MiB } from '../../src/platform/limits.ts';
import { run } from '../support/children.ts';
import { Daemon } from '../support/daemon.ts';
import { writeScript } from '../support/executables.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

const scripts = fileURLToPath(new URL('../../scripts', import.meta.url));
const sizeBytes = 8 * MiB;

let directory: TemporaryDirectory;
let daemons: Daemon[];

beforeEach(() => {
  directory = temporaryDirectory('role-scripts');
  daemons = [];
});

afterEach(async () => {
  for (const daemon of daemons) await daemon.kill();
  directory.remove();
});

async function start(name: string, ...args: string[]): Promise<Daemon> {
  const dataDirectory = join(directory.path, name);
  const daemon = await Daemon.start({ dataDirectory, arguments: ['--name', name, ...args] });
  daemons.push(daemon);
  return daemon;
}

async function groupOf(daemon: Daemon): Promise<GroupStatus> {
  const status = (await daemon.client('status')) as Status;
  return must(status.groups[0], 'there is a group');
}

/** A primary that two systems follow, and their names are first, second and third. */
async function threeSystems(...args: string[]): Promise<[Daemon, Daemon, Daemon]> {
  const first = await start('first');
  await first.client('group', 'create', 'g', '--journal-size', '64MiB');
  // No point of theirs reaches one secondary that another, suspended a moment earlier, lacks.
  await first.client('group', 'configure', 'g', '--checksums', 'off');
  await first.client('volume', 'create', 'g/v', '--size', String(sizeBytes));
  const second = await start('second', ...args);
  const third = await start('third');
  for (const daemon of [second, third]) await follow(daemon, first);
  return [first, second, third];
}

async function follow(daemon: Daemon, source: Daemon): Promise<void> {
  await daemon.client('follow', 'g', '--from', `http://127.0.0.1:${source.listenPort}`);
  await synced(daemon);
}

async function synced(daemon: Daemon): Promise<void> {
  await daemon.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
}

async function write(daemon: Daemon, block: number, value: number): Promise<void> {
  const client = await NbdClient.connectUri(daemon.uri('g/v'));
  await client.write(block * 4096, Buffer.alloc(4096, value), { fua: true });
  await client.close();
}

async function contents(daemon: Daemon): Promise<Buffer> {
  const client = await NbdClient.connectUri(daemon.uri('g/v'));
  const bytes = await client.read(0, sizeBytes);
  await client.close();
  return bytes;
}

function script(name: string, args: readonly string[], environment: Record<string, string> = {}) {
  return run(join(scripts, name), args, { environment });
}

describe('promote-replica', () => {
  it('promotes the replica that has most, and lets the others follow it', async () => {
    const [first, second, third] = await threeSystems();
    const systems = [third.dataDirectory, second.dataDirectory];
    const early = await script('promote-replica', ['--timeout', '1', 'g', ...systems]);
    expect(early.stderr).toMatch(/the primary of group g is heard at .*scripts\/handoff/);
    expect(early.code).toBe(4);

    await third.kill();
    await write(first, 7, 0x77);
    await synced(second);
    await first.kill();
    await third.start();
    const shown = await script('promote-replica', ['--dry-run', 'g', ...systems]);
    expect(shown.stdout).toContain(`${second.dataDirectory} has most`);
    expect(await groupOf(second)).toMatchObject({ role: 'secondary' });

    const { code, stdout, stderr } = await script('promote-replica', ['g', ...systems]);
    expect(stderr).toBe('');
    expect(stdout).toContain('group g is primary at system second, generation 2');
    expect(stdout).toContain(`  ${second.uri('g/v')}\n`);
    expect(code).toBe(0);
    await write(second, 8, 0x88);
    await synced(third);
    const bytes = await contents(third);
    expect([bytes[7 * 4096], bytes[8 * 4096]]).toEqual([0x77, 0x88]);
    expect(bytes.equals(await contents(second))).toBe(true);
  });

  it('is refused by the hook of the replica', async () => {
    const hooks = join(directory.path, 'hooks');
    mkdirSync(hooks);
    const fence = writeScript(hooks, 'before-promote', 'echo the host does not let go\nexit 1');
    const [first, second] = await threeSystems('--hooks', hooks);
    await first.kill();
    const refused = await script('promote-replica', ['g', second.dataDirectory]);
    expect(refused.stdout).toContain('the host does not let go');
    expect(refused.code).not.toBe(0);
    expect(await groupOf(second)).toMatchObject({ role: 'secondary' });
    rmSync(fence);
    const { code } = await script('promote-replica', ['g', second.dataDirectory]);
    expect(code).toBe(0);
    expect(await groupOf(second)).toMatchObject({ role: 'primary' });
  });

  it.each([
    [['g'], 2, /write GROUP and at least one SYSTEM/],
    [['--nothing', 'g', 'x'], 2, /there is no option --nothing/],
    [['a/b', 'x'], 2, /'a\/b' is no name of a group/],
    [['g', '/nowhere'], 6, /\/nowhere cannot be asked; is its daemon running\?/],
  ])('refuses %j', async (args, code, text) => {
    const result = await script('promote-replica', args);
    expect(result.stderr).toMatch(text);
    expect(result.code).toBe(code);
  });
});

describe('handoff', () => {
  it('moves a group to a system that ssh reaches, with all its followers', async () => {
    const [first, second, third] = await threeSystems();
    const called = join(directory.path, 'called');
    // What follows the host's name is for its shell.
    writeScript(
      directory.path,
      'ssh',
      `touch '${called}'\nwhile [ "$#" -gt 1 ]; do shift; done; exec bash -c "$1"`,
    );
    const environment = {
      PATH: `${directory.path}:${process.env['PATH'] ?? ''}`,
      JNBD_REMOTE: join(scripts, 'jnbd'),
    };
    await write(first, 3, 0x33);
    const words = ['g', first.dataDirectory, `there:${second.dataDirectory}`, third.dataDirectory];
    const { code, stdout, stderr } = await script('handoff', words, environment);
    expect(stderr).toBe('');
    expect(stdout).toContain('group g is primary at system second, generation 2');
    expect(code).toBe(0);
    expect(existsSync(called)).toBe(true);

    await write(second, 4, 0x44);
    for (const daemon of [first, third]) {
      await synced(daemon);
      expect((await contents(daemon)).equals(await contents(second))).toBe(true);
      expect(await groupOf(daemon)).toMatchObject({
        role: 'secondary',
        upstream: { name: 'second', state: 'reading' },
      });
    }
    const again = await script('handoff', words, environment);
    expect(again.stdout).toContain('(already done)');
    expect(again.code).toBe(0);
  });
});

describe('failback', () => {
  it('brings an old primary back by the difference, and makes it primary again', async () => {
    const [first, second, third] = await threeSystems();
    await write(first, 1, 0x11);
    for (const daemon of [second, third]) {
      await synced(daemon);
      await daemon.client('suspend', 'g');
    }
    await write(first, 2, 0x22);
    await first.kill();
    for (const daemon of [second, third]) await daemon.client('resume', 'g');
    const others = [second.dataDirectory, third.dataDirectory];
    expect((await script('promote-replica', ['g', ...others])).code).toBe(0);
    await write(second, 3, 0x33);

    await first.start();
    const words = ['--timeout', '60', 'g', first.dataDirectory, ...others];
    const stayed = await script('failback', ['--stay', ...words]);
    expect(stayed.stderr).toBe('');
    expect(stayed.stdout).toContain('group g is primary at system second, generation 2');
    expect(stayed.code).toBe(0);
    const bytes = await contents(first);
    expect([1, 2, 3].map((block) => bytes[block * 4096])).toEqual([0x11, 0, 0x33]);
    const listed = (await first.client('branch', 'list', 'g')) as { branches: unknown[] };
    expect(listed.branches).toHaveLength(1);

    const { code, stdout, stderr } = await script('failback', words);
    expect(stderr).toBe('');
    expect(stdout).toContain('group g is primary at system first, generation 3');
    expect(code).toBe(0);
    await write(first, 4, 0x44);
    for (const daemon of [second, third]) {
      await synced(daemon);
      expect((await contents(daemon)).equals(await contents(first))).toBe(true);
    }
  });
});
