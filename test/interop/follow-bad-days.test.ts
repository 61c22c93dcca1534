import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Status, status as statusSchema } from '../../src/control/schema-status.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { must } from '../../src/platform/assert.ts';
import { MiB } from '../../src/platform/limits.ts';
import { jnbd } from '../support/built-program.ts';
import { freePort, runChecked, sleep, until } from '../support/children.ts';
import { type CommandFailed, Daemon, program } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

type GroupStatus = Status['groups'][number];

let directory: TemporaryDirectory;
let daemons: Daemon[] = [];

beforeEach(() => {
  directory = temporaryDirectory('bad-days');
});

afterEach(async () => {
  for (const daemon of daemons) await daemon.kill();
  daemons = [];
  directory.remove();
});

async function start(name: string, wrapper?: readonly string[]): Promise<Daemon> {
  const daemon = await Daemon.start({
    dataDirectory: join(directory.path, name),
    arguments: ['--name', name],
    ...(wrapper ? { wrapper } : {}),
  });
  daemons.push(daemon);
  return daemon;
}

async function startPrimary(): Promise<Daemon> {
  const primary = await start('first');
  await primary.client('group', 'create', 'g', '--journal-size', '64MiB');
  await primary.client('volume', 'create', 'g/v', '--size', '64MiB');
  return primary;
}

const from = (source: Daemon): string[] => ['--from', `http://127.0.0.1:${source.listenPort}`];

/** Read over TCP: a daemon in a mount namespace of its own shows its socket to nobody. */
async function groupOf(daemon: Daemon): Promise<GroupStatus> {
  const url = `http://127.0.0.1:${daemon.listenPort}`;
  const { json } = await jnbd(['status', '--connect', url, '--json']);
  return must(statusSchema.parse(json).groups[0], 'there is a group');
}

async function refusal(command: Promise<unknown>): Promise<{ exitCode: number; text: string }> {
  const failed = await command.then(
    () => undefined,
    (error: CommandFailed) => error,
  );
  return { exitCode: failed?.code ?? 0, text: failed?.stderr ?? '' };
}

async function isLevel(source: Daemon, follower: Daemon): Promise<void> {
  await until(
    () => 'the follower is not level with its source',
    60,
    async () => {
      const [one, other] = [await groupOf(source), await groupOf(follower)];
      return other.watermarks.applied === one.watermarks.newest;
    },
  );
}

describe('a follow command that cannot be done', () => {
  it('says what is wrong, leaves nothing, and works once it is right', async () => {
    const primary = await startPrimary();
    const second = await start('second');
    const nobody = await freePort();

    const wrongUrl = await refusal(
      second.client('follow', 'g', '--from', `http://127.0.0.1:${nobody}`),
    );
    expect(wrongUrl).toMatchObject({ exitCode: 1 });
    expect(wrongUrl.text).toContain(`127.0.0.1:${nobody}`);

    const noUrl = await refusal(second.client('follow', 'g', '--from', 'first'));
    expect(noUrl).toMatchObject({ exitCode: 2 });
    expect(noUrl.text).toContain('http');

    const notOurs = await refusal(
      second.client('follow', 'g', '--from', `http://127.0.0.1:${primary.port}`),
    );
    expect(notOurs).toMatchObject({ exitCode: 1 });

    const wrongGroup = await refusal(second.client('follow', 'h', ...from(primary)));
    expect(wrongGroup).toMatchObject({ exitCode: 3 });
    expect(wrongGroup.text).toContain('h');

    const itself = await refusal(
      primary.client('follow', 'copy', '--source-group', 'g', ...from(primary)),
    );
    expect(itself).toMatchObject({ exitCode: 4 });
    expect(itself.text).toContain('itself');

    expect((await second.client('status')) as Status).toMatchObject({ groups: [] });
    await second.client('follow', 'g', ...from(primary));
    const again = await second.client('follow', 'g', ...from(primary));
    expect(again).toMatchObject({ result: 'already_done' });
    await second.client('wait', 'g', '--for', 'synced', '--timeout', '60s');

    const ring = await refusal(primary.client('follow', 'g', ...from(second)));
    expect(ring).toMatchObject({ exitCode: 4 });
    expect(await groupOf(primary)).toMatchObject({ role: 'primary', state: 'normal' });
  });
});

describe('hosts are not harmed', () => {
  it('by a follower, or whoever calls itself one, that stands still or sends garbage', async () => {
    const primary = await startPrimary();
    const second = await start('second');
    await second.client('follow', 'g', ...from(primary));
    await second.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
    const host = await NbdClient.connectUri(primary.uri('g/v'));
    const bytes = Buffer.alloc(64 * 1024, 1);

    process.kill(second.pid, 'SIGSTOP');
    const strangers = [
      Buffer.from('GET / HTTP/1.1\r\n'),
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'),
      Buffer.from([0x16, 3, 1, 0xff, 0xff, 1, 2, 3]),
      Buffer.alloc(4096, 0xaa),
    ].map((garbage) => {
      const socket = net.connect(primary.listenPort, '127.0.0.1', () => socket.write(garbage));
      socket.on('error', () => undefined);
      return socket;
    });
    let slowestMilliseconds = 0;
    for (let at = 0; at < 200; at += 1) {
      const began = performance.now();
      await host.write(at * bytes.length, bytes);
      slowestMilliseconds = Math.max(slowestMilliseconds, performance.now() - began);
      await sleep(5);
    }
    await host.flush();
    expect(slowestMilliseconds).toBeLessThan(2000);
    const { secondaries, watermarks } = await groupOf(primary);
    expect(must(secondaries[0], 'it follows').received).toBeLessThan(watermarks.newest);

    process.kill(second.pid, 'SIGCONT');
    for (const stranger of strangers) stranger.destroy();
    await isLevel(primary, second);
    await host.close();
  });

  it('by a source that stands still for longer than anybody waits: it goes on by itself', {
    timeout: 120_000,
  }, async () => {
    const primary = await startPrimary();
    const second = await start('second');
    await second.client('follow', 'g', ...from(primary));
    await second.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
    process.kill(primary.pid, 'SIGSTOP');
    try {
      await until(
        () => 'nobody noticed',
        60,
        async () => {
          const { upstream, conditions } = await groupOf(second);
          return upstream?.state === 'waiting' && conditions.length > 0;
        },
      );
      const { upstream } = await groupOf(second);
      expect(must(upstream, 'it follows').lag.received.seconds).toBeGreaterThan(1);
    } finally {
      process.kill(primary.pid, 'SIGCONT');
    }
    const host = await NbdClient.connectUri(primary.uri('g/v'));
    await host.write(0, Buffer.alloc(4096, 7));
    await host.flush();
    await isLevel(primary, second);
    await host.close();
    await until(
      () => 'the condition stays',
      20,
      async () => {
        const { conditions } = await groupOf(second);
        return conditions.length === 0;
      },
    );
  });
});

/** A file system of its own that only the daemon sees: it goes with it. */
function onSmallFileSystem(sizeBytes: number, mounted: string): string[] {
  const script = `mount -t tmpfs -o size=${sizeBytes} tmpfs "$0" && exec "$@"`;
  return ['unshare', '--mount', 'sh', '-c', script, mounted];
}

function mayMount(): boolean {
  const mounted = join(directory.path, 'probe');
  mkdirSync(mounted);
  const [command = '', ...args] = onSmallFileSystem(MiB, mounted);
  return spawnSync(command, [...args, 'true']).status === 0;
}

describe.skipIf(process.getuid?.() !== 0)('a disk that is full', () => {
  it('at the follower stops the follower, says so, and it goes on when there is room', {
    timeout: 120_000,
  }, async ({ skip }) => {
    skip(!mayMount(), 'this container may not mount');
    const primary = await startPrimary();
    const mounted = join(directory.path, 'mounted');
    mkdirSync(mounted);
    const second = await Daemon.start({
      dataDirectory: join(mounted, 'data'),
      arguments: ['--name', 'second'],
      wrapper: onSmallFileSystem(208 * MiB, mounted),
    });
    daemons.push(second);
    const inside = ['--mount', `--target=${second.pid}`];
    const change = (...args: string[]): Promise<unknown> =>
      runChecked(
        'nsenter',
        [inside, process.execPath, program, args, '--data', second.dataDirectory].flat(),
      );
    await change('follow', 'g', ...from(primary));
    const isSynced = () => change('wait', 'g', '--for', 'synced', '--timeout', '60s');
    await isSynced();
    await isLevel(primary, second);
    const filler = join(mounted, 'filler');
    const shell = (script: string) =>
      runChecked('nsenter', [...inside, 'sh', '-c', script, filler]);
    // What is left is less than the volume needs.
    const { stdout } = await shell('df --output=avail -B1 "$(dirname "$0")" | tail -1');
    await shell(`head -c ${Number(stdout) - 4 * MiB} /dev/zero > "$0"`);

    const host = await NbdClient.connectUri(primary.uri('g/v'));
    for (let at = 0; at < 48; at += 1) await host.write(at * MiB, Buffer.alloc(MiB, at + 1));
    await host.flush();
    await until(
      () => 'nobody was told',
      60,
      async () => (await groupOf(second)).conditions.length > 0,
    );
    expect(await groupOf(primary)).toMatchObject({ role: 'primary', state: 'normal' });

    await shell('rm "$0"');
    await isSynced();
    await isLevel(primary, second);
    const copy = await NbdClient.connectUri(second.uri('g/v'));
    for (const at of [0, 17, 47]) {
      const bytes = await copy.read(at * MiB, MiB);
      expect(bytes.equals(Buffer.alloc(MiB, at + 1))).toBe(true);
    }
    await copy.close();
    await host.close();
  });
});
