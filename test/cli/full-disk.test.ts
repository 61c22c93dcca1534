import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { status as statusSchema } from '../../src/control/schema-status.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { build, jnbd } from '../support/built-program.ts';
import { runChecked, until } from '../support/children.ts';
import { Daemon, program } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

const MiB = 1024 * 1024;
let directory: TemporaryDirectory;
let mounted: string;
let daemon: Daemon | undefined;

beforeAll(() => build(), 120_000);

beforeEach(() => {
  directory = temporaryDirectory('full');
  mounted = join(directory.path, 'mounted');
  mkdirSync(mounted);
});

afterEach(async () => {
  await daemon?.kill();
  directory.remove();
});

/** A file system of its own that only the daemon sees: it goes with it. */
function onSmallFileSystem(sizeBytes: number): string[] {
  const script = `mount -t tmpfs -o size=${sizeBytes} tmpfs "$0" && exec "$@"`;
  return ['unshare', '--mount', 'sh', '-c', script, mounted];
}

function mayMount(): boolean {
  const [command = '', ...args] = onSmallFileSystem(MiB);
  return spawnSync(command, [...args, 'true']).status === 0;
}

/** Runs a command where the daemon sees its files. */
async function change(running: Daemon, ...args: string[]): Promise<void> {
  const inside = ['--mount', `--target=${running.pid}`, process.execPath, program];
  await runChecked('nsenter', [...inside, ...args, '--data', running.dataDirectory]);
}

it.skipIf(process.getuid?.() !== 0)(
  'a full disk is told to hosts and to people',
  async ({ skip }) => {
    skip(!mayMount(), 'this container may not mount');
    daemon = await Daemon.start({
      dataDirectory: join(mounted, 'data'),
      wrapper: onSmallFileSystem(256 * MiB),
    });
    await change(daemon, 'group', 'create', 'g', '--journal-size', '64MiB');
    await change(daemon, 'volume', 'create', 'g/v', '--size', '1GiB');
    const url = `http://127.0.0.1:${daemon.listenPort}`;
    const conditions = async () => {
      const { json } = await jnbd(['status', '--connect', url, '--json']);
      return statusSchema.parse(json).groups[0]?.conditions.map(({ code }) => code);
    };
    expect(await conditions()).toEqual([]);

    const client = await NbdClient.connectUri(daemon.uri('g/v'));
    const bytes = Buffer.alloc(MiB, 7);
    let taken = 0;
    // What is being applied counts twice for a moment, so that the first refusal may be too early.
    for (let round = 0; round < 4; round += 1) {
      await expect(
        (async () => {
          for (; taken < 256; taken += 1) await client.write(taken * MiB, bytes);
        })(),
      ).rejects.toThrow(/no room/);
      await setTimeout(500);
    }
    expect(taken).toBeGreaterThan(32);
    expect(await conditions()).toEqual(['volume_space']);
    const { stdout } = await jnbd(['status', '--connect', url]);
    expect(stdout).toContain('hosts of group g are refused what needs new space');
    expect(stdout).toMatch(/^error volume_space: .* is full: .*\n {2}next: df /m);
    expect(await daemon.metric('jnbd_group_conditions')).toBe(1);
    // What has its space is written, and what was answered stays.
    await client.write(0, bytes, { fua: true });
    expect((await client.read((taken - 1) * MiB, MiB)).equals(bytes)).toBe(true);

    await client.trim(0, taken * MiB);
    await until(
      () => 'the condition stays',
      10,
      async () => (await conditions())?.length === 0,
    );
    await client.write(900 * MiB, bytes, { fua: true });
    await client.close();
    const lines = daemon.output.split('\n').filter((line) => line.includes('volume_space'));
    expect(lines.slice(-2).map((line) => JSON.parse(line) as object)).toMatchObject([
      { level: 'warn', code: 'volume_space', nextCommand: expect.stringMatching(/^df /) },
      {
        level: 'info',
        code: 'volume_space_cleared',
        message: expect.stringMatching(/^the file system below .* has room: writes .* succeed$/),
      },
    ]);
  },
);
