import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GroupStatus, Status } from '../../src/control/schema-status.ts';
import { must } from '../../src/platform/assert.ts';
import { Child, run, until as untilTrue } from '../support/children.ts';
import { type CommandFailed, Daemon, program as jnbd } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';
import { program } from '../support/tools.ts';

const qemuIo = program('qemu-io');

interface RollbackResult {
  readonly result: string;
  readonly to: number;
  readonly volumes: readonly string[];
  readonly newer: readonly string[];
  readonly lost: { readonly updates: number; readonly bytes: number; readonly seconds: number };
  readonly hosts: readonly string[];
}

async function statusOf(daemon: Daemon): Promise<GroupStatus> {
  const status = (await daemon.client('status')) as Status;
  return must(status.groups[0], 'there is a group');
}

async function io(daemon: Daemon, volume: string, ...commands: string[]) {
  const all = commands.flatMap((command) => ['-c', command]);
  const mode = commands.every((command) => command.startsWith('read')) ? ['-r'] : [];
  const options = ['-f', 'raw', ...mode, ...all, daemon.uri(`g/${volume}`)];
  const done = await run(qemuIo ?? '', options);
  return { code: done.code, output: done.stdout + done.stderr };
}

function until(what: string, ask: () => Promise<boolean>): Promise<void> {
  return untilTrue(() => what, 60, ask);
}

/** Everything that it is to hold: one pattern for each MiB. */
async function holds(daemon: Daemon, volume: string, patterns: readonly number[]): Promise<void> {
  const reads = patterns.map((pattern, at) => `read -P ${pattern} ${at}M 1M`);
  const { code, output } = await io(daemon, volume, ...reads);
  expect(output).not.toContain('Pattern verification failed');
  expect(output).not.toContain("can't open");
  expect(code).toBe(0);
}

async function write(daemon: Daemon, volume: string, patterns: readonly number[]): Promise<void> {
  const writes = patterns.map((pattern, at) => `write -P ${pattern} ${at}M 1M`);
  expect(await io(daemon, volume, ...writes, 'flush')).toMatchObject({ code: 0 });
}

function refused(daemon: Daemon, ...args: string[]): Promise<CommandFailed> {
  return daemon.client(...args).then(
    () => expect.unreachable(`jnbd ${args.join(' ')} was not refused`),
    (error: CommandFailed) => error,
  );
}

async function rollBack(daemon: Daemon, target: string, at: string, ...more: string[]) {
  return (await daemon.client('volume', 'rollback', target, '--at', at, ...more)) as RollbackResult;
}

async function withSystems(
  name: string,
  names: readonly string[],
  run: (systems: Daemon[], directory: TemporaryDirectory) => Promise<void>,
): Promise<void> {
  const directory = temporaryDirectory(name);
  const systems = await Promise.all(
    names.map((each) =>
      Daemon.start({ dataDirectory: join(directory.path, each), arguments: ['--name', each] }),
    ),
  );
  try {
    await run(systems, directory);
  } finally {
    for (const system of systems) await system.stop().catch(() => system.kill());
    directory.remove();
  }
}

async function prepare(daemon: Daemon, sizes: Record<string, string>): Promise<void> {
  await daemon.client('group', 'create', 'g', '--journal-size', '256MiB');
  for (const [volume, size] of Object.entries(sizes))
    await daemon.client('volume', 'create', `g/${volume}`, '--size', size);
  await daemon.client('group', 'configure', 'g', '--history', '1h');
}

const first = [1, 2, 3, 4];
const second = [5, 2, 6, 7];

describe.skipIf(qemuIo === undefined)('going back', { timeout: 180_000 }, () => {
  it('to a number, a time and a snapshot, with force, and back again', async () => {
    await withSystems('rollback', ['one'], async ([one]) => {
      const daemon = must(one, 'one');
      await prepare(daemon, { a: '4MiB', b: '4MiB' });
      await write(daemon, 'a', first);
      await write(daemon, 'b', first);
      const { newest } = (await statusOf(daemon)).watermarks;
      const then = new Date().toISOString();
      await new Promise((resolve) => setTimeout(resolve, 50));
      await daemon.client('snapshot', 'create', 'g@s');
      await write(daemon, 'a', second);
      await io(daemon, 'b', 'write -z -u 1M 3M', 'flush');
      await daemon.client('volume', 'create', 'g/c', '--size', '1MiB');
      const before = (await statusOf(daemon)).watermarks.newest;

      const unforced = await refused(daemon, 'volume', 'rollback', 'g', '--at', String(newest));
      expect(unforced).toMatchObject({ code: 4 });
      expect(unforced.stderr + unforced.stdout).toMatch(/takes back what \d+ updates .*--force/);
      const dry = await rollBack(daemon, 'g', String(newest), '--dry-run');
      expect(dry).toMatchObject({ result: 'would_be_done', to: newest, newer: ['c'] });
      expect(dry.lost.updates).toBeGreaterThanOrEqual(before - newest);
      expect(dry.lost.bytes).toBeGreaterThanOrEqual(7 * 1024 * 1024);
      await holds(daemon, 'a', second);

      expect(await rollBack(daemon, 'g/a', then, '--force')).toMatchObject({
        result: 'done',
        volumes: ['a'],
      });
      await holds(daemon, 'a', first);
      await holds(daemon, 'b', [1, 0, 0, 0]);
      expect(await rollBack(daemon, 'g/a', String(newest), '--force')).toMatchObject({
        result: 'already_done',
      });
      expect(await rollBack(daemon, 'g', 'snapshot:s', '--force')).toMatchObject({
        result: 'done',
      });
      await holds(daemon, 'b', first);
      await rollBack(daemon, 'g', String(before), '--force');
      await holds(daemon, 'a', second);
      await holds(daemon, 'b', [1, 0, 0, 0]);
      expect(
        await refused(daemon, 'volume', 'rollback', 'g', '--at', '1', '--force'),
      ).toMatchObject({ code: 4 });
      expect(
        await refused(daemon, 'volume', 'rollback', 'g/x', '--at', '1', '--force'),
      ).toMatchObject({ code: 3 });
      expect(
        await refused(daemon, 'volume', 'rollback', 'g/c', '--at', String(newest), '--force'),
      ).toMatchObject({ code: 4 });
      expect(await refused(daemon, 'volume', 'rollback', 'g/a/b', '--at', '1')).toMatchObject({
        code: 2,
      });
    });
  });

  it('puts hosts out, keeps them out while it goes on, and goes on behind a SIGKILL', async () => {
    await withSystems('rollback-kill', ['one'], async ([one], directory) => {
      const daemon = must(one, 'one');
      await prepare(daemon, { a: '24MiB' });
      const before = Array.from({ length: 24 }, (_, at) => (at % 200) + 1);
      await write(daemon, 'a', before);
      const { newest } = (await statusOf(daemon)).watermarks;
      await write(
        daemon,
        'a',
        before.map((pattern) => pattern + 20),
      );
      // Slow enough to be met on the way.
      await daemon.client('group', 'configure', 'g', '--copy-rate', '4MiB');
      const host = new Child(qemuIo ?? '', [
        '-f',
        'raw',
        '-c',
        'read 0 4k',
        '-c',
        'sleep 60000',
        daemon.uri('g/a'),
      ]);
      await until('a host is connected', async () => {
        return ((await statusOf(daemon)).volumes[0]?.clients.length ?? 0) > 0;
      });
      const command = new Child(process.execPath, [
        jnbd,
        'volume',
        'rollback',
        'g',
        '--at',
        String(newest),
        '--force',
        '--data',
        daemon.dataDirectory,
      ]);
      await until('it writes', async () => {
        const { rollback } = await statusOf(daemon);
        return rollback?.state === 'writing' && rollback.doneBytes > 0;
      });
      const status = await statusOf(daemon);
      expect(status.volumes[0]).toMatchObject({ state: 'unused', clients: [] });
      const outside = await io(daemon, 'a', 'read 0 4k');
      expect(outside.code).not.toBe(0);
      expect(outside.output).toContain('being rolled back to update');
      expect(await refused(daemon, 'snapshot', 'create', 'g@s')).toMatchObject({ code: 4 });
      expect(await refused(daemon, 'volume', 'resize', 'g/a', '--size', '128MiB')).toMatchObject({
        code: 4,
      });
      await daemon.kill();
      await command.exit;
      host.signal('SIGKILL');
      await host.exit;
      await daemon.start();
      expect((await io(daemon, 'a', 'read 0 4k')).code).not.toBe(0);
      await daemon.client('wait', 'g', '--for', 'primary', '--timeout', '60s');
      await holds(daemon, 'a', before);
      expect(existsSync(join(directory.path, 'one/groups/g/rollbacks'))).toBe(false);
      expect((await statusOf(daemon)).conditions).toEqual([]);
    });
  });

  it('promotes a follower as of what it has applied, and another one follows it', async () => {
    await withSystems('rollback-promote', ['one', 'two', 'three'], async ([one, two, three]) => {
      const [a, b, c] = [must(one, 'one'), must(two, 'two'), must(three, 'three')];
      await prepare(a, { v: '4MiB' });
      for (const follower of [b, c]) {
        await follower.client('follow', 'g', '--from', `http://127.0.0.1:${a.listenPort}`);
        await follower.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
        await follower.client('group', 'configure', 'g', '--history', '1h');
      }
      await until('the past is kept', async () => {
        return (await statusOf(b)).history.fromTime !== null;
      });
      await write(a, 'v', first);
      const { newest } = (await statusOf(a)).watermarks;
      await write(a, 'v', second);
      for (const follower of [b, c])
        await follower.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
      const last = (await statusOf(a)).watermarks.newest;
      await a.kill();
      const dry = (await b.client('promote', 'g', '--at', String(newest), '--dry-run')) as {
        readonly rollback: { readonly to: number; readonly lost: { readonly updates: number } };
      };
      expect(dry.rollback).toMatchObject({ to: newest, lost: { updates: last - newest } });
      await b.client('promote', 'g', '--at', String(newest));
      await b.client('wait', 'g', '--for', 'primary', '--timeout', '60s');
      await holds(b, 'v', first);
      const promoted = await statusOf(b);
      expect(promoted).toMatchObject({ role: 'primary', generation: 2 });
      expect(promoted.watermarks.newest).toBeGreaterThan(last);
      // Nothing was left out of the history: nobody has to be copied, or to go back.
      await c.client('follow', 'g', '--from', `http://127.0.0.1:${b.listenPort}`);
      await c.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
      await holds(c, 'v', first);
      expect((await statusOf(c)).generation).toBe(2);
      await a.start();
      await a.client('follow', 'g', '--from', `http://127.0.0.1:${b.listenPort}`);
      await a.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
      await holds(a, 'v', first);
      for (const system of [a, b, c]) expect((await statusOf(system)).branches).toEqual([]);
    });
  });

  it('goes on where a follower is promoted in the middle of it, if its own past reaches', async () => {
    await withSystems('rollback-middle', ['one', 'two', 'three'], async ([one, two, three]) => {
      const [a, b, c] = [must(one, 'one'), must(two, 'two'), must(three, 'three')];
      const before = Array.from({ length: 24 }, (_, at) => (at % 200) + 1);
      await prepare(a, { v: '24MiB' });
      for (const follower of [b, c])
        await follower.client('follow', 'g', '--from', `http://127.0.0.1:${a.listenPort}`);
      await b.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
      await b.client('group', 'configure', 'g', '--history', '1h');
      await until('the past is kept', async () => {
        return (await statusOf(b)).history.fromTime !== null;
      });
      await write(a, 'v', before);
      const { newest } = (await statusOf(a)).watermarks;
      await write(
        a,
        'v',
        before.map((pattern) => pattern + 20),
      );
      await a.client('group', 'configure', 'g', '--copy-rate', '4MiB');
      for (const follower of [b, c])
        await follower.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
      const command = new Child(process.execPath, [
        jnbd,
        'volume',
        'rollback',
        'g',
        '--at',
        String(newest),
        '--force',
        '--data',
        a.dataDirectory,
      ]);
      await until('the followers know', async () => {
        const [known, other] = [await statusOf(b), await statusOf(c)];
        return known.rollback !== null && other.rollback !== null;
      });
      expect((await io(b, 'v', 'read 0 4k')).output).toContain('being rolled back to update');
      await a.kill();
      await command.exit;
      // Without a window it can only be ended.
      await c.client('promote', 'g', '--force');
      await until('it says that it cannot go on', async () => {
        return (await statusOf(c)).conditions.some(({ code }) => code === 'rollback_stopped');
      });
      expect((await io(c, 'v', 'read 0 4k')).code).not.toBe(0);
      expect(await refused(c, 'volume', 'rollback', 'g', '--at', 'latest')).toMatchObject({
        code: 4,
      });
      await rollBack(c, 'g', 'latest', '--force');
      expect((await io(c, 'v', 'read 0 4k')).code).toBe(0);
      expect((await statusOf(c)).conditions).toEqual([]);
      await b.client('promote', 'g');
      await b.client('wait', 'g', '--for', 'primary', '--timeout', '60s');
      await holds(b, 'v', before);
    });
  });
});
