import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { status as statusSchema } from '../../src/control/schema-status.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { build, jnbd } from '../support/built-program.ts';
import { Child, until } from '../support/children.ts';
import { Daemon, program } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

const KiB = 1024;
let directory: TemporaryDirectory;
let data: string;
const daemons: Daemon[] = [];

beforeAll(() => build(), 120_000);

beforeEach(() => {
  directory = temporaryDirectory('serve');
  data = join(directory.path, 'data');
});

afterEach(async () => {
  for (const daemon of daemons.splice(0)) await daemon.kill();
  directory.remove();
});

async function start(...args: string[]): Promise<Daemon> {
  const daemon = await Daemon.prepare({ dataDirectory: data, arguments: args });
  daemons.push(daemon);
  await daemon.start();
  return daemon;
}

async function fill(daemon: Daemon): Promise<void> {
  await daemon.client('group', 'create', 'g', '--journal-size', '64MiB');
  await daemon.client('volume', 'create', 'g/v', '--size', '8MiB');
}

function connect(daemon: Daemon): Promise<NbdClient> {
  return NbdClient.connect(
    { kind: 'tcp', host: '127.0.0.1', port: daemon.port },
    { exportName: 'g/v' },
  );
}

describe('what serve prints', () => {
  it('is where it listens: one line of JSON, then nothing', async () => {
    const args = ['--nbd', '127.0.0.1:0', '--nbd', `unix:${join(directory.path, 'n')}`];
    const child = new Child(process.execPath, [
      program,
      'serve',
      '--data',
      data,
      '--listen',
      '127.0.0.1:0',
      ...args,
      '--json',
    ]);
    let printed = '';
    child.stdout?.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    await until(
      () => child.output,
      15,
      () => printed.includes('\n'),
    );
    child.signal('SIGTERM');
    expect(await child.exit).toEqual({ code: 0, signal: null });
    expect(JSON.parse(printed)).toMatchObject({
      result: 'listening',
      dataDirectory: data,
      processId: child.pid,
      nbd: [expect.stringMatching(/^127\.0\.0\.1:[1-9]/), `unix:${join(directory.path, 'n')}`],
      listen: expect.stringMatching(/^127\.0\.0\.1:[1-9]/),
    });
  });

  it('says what comes next: a group, or the groups that there are', async () => {
    data = join(directory.path, "it's here");
    const quoted = `--data '${data.replace("'", "'\\''")}'`;
    const next = async (): Promise<{ line: string; groups: unknown }> => {
      const args = ['serve', '--data', data, '--nbd', '127.0.0.1:0', '--listen', '127.0.0.1:0'];
      const child = new Child(process.execPath, [program, ...args]);
      await until(
        () => child.output,
        15,
        () => child.output.includes('next: ') && child.output.includes('"started"'),
      );
      const { groups } = /^\{.*"code":"started".*$/m
        .exec(child.output)
        ?.map((line) => JSON.parse(line) as { groups: unknown })[0] ?? { groups: undefined };
      child.signal('SIGTERM');
      await child.exit;
      return { line: /^next: .*$/m.exec(child.output)?.[0] ?? '', groups };
    };
    expect(await next()).toEqual({
      line: `next: jnbd group create GROUP ${quoted}; Ctrl-C stops`,
      groups: [],
    });
    const daemon = await start();
    await fill(daemon);
    await daemon.stop();
    expect(await next()).toEqual({
      line: `next: jnbd status ${quoted}; Ctrl-C stops`,
      groups: ['g'],
    });
  });

  it('logs one event a line with a stable code', async () => {
    const daemon = await start();
    await fill(daemon);
    await daemon.stop();
    // What it printed last may arrive after its end.
    await until(
      () => daemon.output,
      5,
      () => daemon.output.includes('"stopped"'),
    );
    const codes = daemon.output
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => (JSON.parse(line) as { code: string }).code);
    expect(codes).toEqual([
      'started',
      'group_created',
      'group_opened',
      'volume_created',
      'stopping',
      'stopped',
    ]);
  });
});

describe('the end', () => {
  it('comes within two seconds of SIGTERM, with what was in flight answered', async () => {
    const daemon = await start();
    await fill(daemon);
    const client = await connect(daemon);
    const writes = Array.from({ length: 64 }, (_, i) =>
      client.write(i * 64 * KiB, Buffer.alloc(64 * KiB, i), { fua: true }),
    );
    const ending = Promise.allSettled(writes);
    await writes[0];
    const started = performance.now();
    await daemon.stop();
    expect(performance.now() - started).toBeLessThan(2000);
    expect(daemon.exited).toEqual({ code: 0, signal: null });
    const ends = await ending;
    client.destroy();

    // A write that was answered is there; one that was not may be there.
    await daemon.start();
    const again = await connect(daemon);
    for (const [i, { status }] of ends.entries()) {
      if (status === 'rejected') continue;
      expect((await again.read(i * 64 * KiB, 1))[0]).toBe(i);
    }
    await again.close();
  });

  it('comes at once with a second signal', async () => {
    const daemon = await start();
    process.kill(daemon.pid, 'SIGTERM');
    process.kill(daemon.pid, 'SIGINT');
    await until(
      () => 'still there',
      2,
      () => daemon.exited !== undefined,
    );
  });

  it('leaves no socket behind, and SIGKILL one that does not matter', async () => {
    const daemon = await start();
    await daemon.stop();
    expect(existsSync(join(data, 'control.sock'))).toBe(false);
    await daemon.start();
    await daemon.kill();
    expect(existsSync(join(data, 'control.sock'))).toBe(true);
    const without = await jnbd(['status', '--data', data]);
    expect(without.code).toBe(6);
    await daemon.start();
    await daemon.client('status');
  });
});

describe('a restart', () => {
  it.each(['stop', 'kill'] as const)('after %s keeps everything', async (how) => {
    const daemon = await start();
    await fill(daemon);
    await daemon.client('group', 'configure', 'g', '--on-full', 'throttle', '--areas', 'spare');
    // No point of theirs comes behind the last update that is looked at.
    await daemon.client('group', 'configure', 'g', '--checksums', 'off');
    await daemon.client('volume', 'configure', 'g/v', '--max-hosts', '2');
    await daemon.client('volume', 'create', 'g/gone', '--size', '1MiB');
    await daemon.client('volume', 'delete', 'g/gone', '--force');
    const client = await connect(daemon);
    await client.write(4096, Buffer.from('kept'));
    await client.close();
    await daemon.client('volume', 'resize', 'g/v', '--size', '16MiB');
    const before = statusSchema.parse(await daemon.client('status')).groups[0];

    await daemon[how]();
    await daemon.start();
    const after = statusSchema.parse(await daemon.client('status')).groups[0];
    expect(after?.journal).toMatchObject({ onFull: 'throttle', areaLayout: 'spare' });
    expect(after?.volumes).toMatchObject([
      { name: 'v', sizeBytes: 16 * KiB * KiB, maxHosts: 2, state: 'normal' },
    ]);
    expect(after?.watermarks.newest).toBe(before?.watermarks.newest);
    const again = await connect(daemon);
    expect((await again.read(4096, 4)).toString()).toBe('kept');
    await again.close();
    // An id is never used twice: the deleted volume had 2.
    await daemon.client('volume', 'create', 'g/next', '--size', '1MiB');
    expect(await daemon.volumeFile('g/next')).toMatch(/0003\.volume$/);
  });
});

describe('clients', () => {
  it('are listed, and a second host is kept out where one is the limit', async () => {
    const socket = join(directory.path, 'nbd');
    const daemon = await start('--nbd', `unix:${socket}`);
    await fill(daemon);
    await daemon.client('volume', 'configure', 'g/v', '--max-hosts', '1');
    const client = await connect(daemon);
    const same = await connect(daemon);
    await expect(
      NbdClient.connect({ kind: 'unix', path: socket }, { exportName: 'g/v' }),
    ).rejects.toThrow(/--max-hosts is 1/);
    const { groups } = statusSchema.parse(await daemon.client('status'));
    const clients = groups[0]?.volumes[0]?.clients ?? [];
    expect(clients).toHaveLength(2);
    expect(clients[0]).toMatchObject({
      address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      export: 'g/v',
      tls: false,
    });
    expect(Math.abs(Date.parse(clients[0]?.connectedSince ?? '') - Date.now())).toBeLessThan(
      10_000,
    );
    const refused = await jnbd(['volume', 'delete', 'g/v', '--force', '--data', data, '--json']);
    expect(refused.code).toBe(4);
    expect(refused.json).toMatchObject({ error: { code: 'volume_in_use' } });
    await client.close();
    await same.close();
  });
});

describe('a daemon that does not answer', () => {
  it('is told after ten seconds', async () => {
    const daemon = await start();
    process.kill(daemon.pid, 'SIGSTOP');
    const result = await jnbd(['status', '--data', data, '--json']);
    expect(result.json).toMatchObject({ error: { code: 'timed_out' } });
    expect(result.stderr).toContain(`the daemon of ${data} did not answer within 10 s`);
    expect(result.code).toBe(5);
  });
});
