import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { MiB } from '../../src/platform/limits.ts';
import { type PastSystem, pastSystemsOf } from '../snapshots/past-systems.ts';
import { Child, run, until as untilTrue } from '../support/children.ts';
import { type CommandFailed, program as jnbd } from '../support/daemon.ts';
import { program } from '../support/tools.ts';

const qemuIo = program('qemu-io');
const { start } = pastSystemsOf('rollback');

interface RollbackResult {
  readonly result: string;
  readonly to: number;
  readonly volumes: readonly string[];
  readonly newer: readonly string[];
  readonly lost: { readonly updates: number; readonly bytes: number; readonly seconds: number };
  readonly hosts: readonly string[];
}

async function io({ daemon }: PastSystem, volume: string, ...commands: string[]) {
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
async function holds(
  system: PastSystem,
  volume: string,
  patterns: readonly number[],
): Promise<void> {
  const reads = patterns.map((pattern, at) => `read -P ${pattern} ${at}M 1M`);
  const { code, output } = await io(system, volume, ...reads);
  expect(output).not.toContain('Pattern verification failed');
  expect(output).not.toContain("can't open");
  expect(code).toBe(0);
}

async function write(
  system: PastSystem,
  volume: string,
  patterns: readonly number[],
): Promise<void> {
  const writes = patterns.map((pattern, at) => `write -P ${pattern} ${at}M 1M`);
  expect(await io(system, volume, ...writes, 'flush')).toMatchObject({ code: 0 });
}

function refused({ daemon }: PastSystem, ...args: string[]): Promise<CommandFailed> {
  return daemon.client(...args).then(
    () => expect.unreachable(`jnbd ${args.join(' ')} was not refused`),
    (error: CommandFailed) => error,
  );
}

async function rollBack({ daemon }: PastSystem, target: string, at: string, ...more: string[]) {
  return (await daemon.client('volume', 'rollback', target, '--at', at, ...more)) as RollbackResult;
}

/** A command that goes on to the end of its daemon, or its own. */
function beginRollback({ daemon }: PastSystem, at: number): Child {
  const options = ['--at', String(at), '--force', '--data', daemon.dataDirectory];
  return new Child(process.execPath, [jnbd, 'volume', 'rollback', 'g', ...options]);
}

async function setCopyRate({ control }: PastSystem, copyRate: string): Promise<void> {
  await control.change('group configure', { group: 'g', copyRate });
}

function pastIsKept(system: PastSystem): Promise<void> {
  return until('the past is kept', async () => (await system.status()).history.fromTime !== null);
}

async function newestOf(system: PastSystem): Promise<number> {
  return (await system.status()).watermarks.newest;
}

const first = [1, 2, 3, 4];
const second = [5, 2, 6, 7];
const history = ['--history', '1h'] as const;
const long = Array.from({ length: 8 }, (_, at) => at + 1);
const otherwise = long.map((pattern) => pattern + 20);
/** With it that takes two seconds to gather, and one to write. */
const gatheringRate = '8MiB';
/** With it writing takes so long that it is met on the way. */
const slowRate = '1MiB';

describe.skipIf(qemuIo === undefined)('going back', { timeout: 180_000 }, () => {
  it('to a number, a time and a snapshot, with force, and back again', async () => {
    const one = await start('one');
    const { daemon } = one;
    await one.createGroup('256MiB', { a: 4 * MiB, b: 4 * MiB });
    // The window begins behind the first updates.
    await daemon.client('group', 'configure', 'g', ...history);
    await write(one, 'a', first);
    await write(one, 'b', first);
    const newest = await newestOf(one);
    const then = new Date().toISOString();
    await sleep(50);
    await daemon.client('snapshot', 'create', 'g@s');
    await write(one, 'a', second);
    await io(one, 'b', 'write -z -u 1M 3M', 'flush');
    await daemon.client('volume', 'create', 'g/c', '--size', '1MiB');
    const before = await newestOf(one);

    const unforced = await refused(one, 'volume', 'rollback', 'g', '--at', String(newest));
    expect(unforced).toMatchObject({ code: 4 });
    expect(unforced.stderr + unforced.stdout).toMatch(/takes back what \d+ updates .*--force/);
    const dry = await rollBack(one, 'g', String(newest), '--dry-run');
    expect(dry).toMatchObject({ result: 'would_be_done', to: newest, newer: ['c'] });
    expect(dry.lost.updates).toBeGreaterThanOrEqual(before - newest);
    expect(dry.lost.bytes).toBeGreaterThanOrEqual(7 * MiB);
    await holds(one, 'a', second);

    expect(await rollBack(one, 'g/a', then, '--force')).toMatchObject({
      result: 'done',
      volumes: ['a'],
    });
    await holds(one, 'a', first);
    await holds(one, 'b', [1, 0, 0, 0]);
    const again = await rollBack(one, 'g/a', String(newest), '--force');
    expect(again).toMatchObject({ result: 'already_done' });
    const toSnapshot = await rollBack(one, 'g', 'snapshot:s', '--force');
    expect(toSnapshot).toMatchObject({ result: 'done' });
    await holds(one, 'b', first);
    await rollBack(one, 'g', String(before), '--force');
    await holds(one, 'a', second);
    await holds(one, 'b', [1, 0, 0, 0]);
    const cases = [
      ['g', '1', 4],
      ['g/x', '1', 3],
      ['g/c', String(newest), 4],
      ['g/a/b', '1', 2],
    ] as const;
    for (const [target, at, code] of cases) {
      const failed = await refused(one, 'volume', 'rollback', target, '--at', at, '--force');
      expect(failed).toMatchObject({ code });
    }
  });

  it('puts hosts out, keeps them out while it goes on, and goes on behind a SIGKILL', async () => {
    const one = await start('one');
    const { daemon } = one;
    await one.createGroup('256MiB', { a: long.length * MiB }, ...history);
    await write(one, 'a', long);
    const newest = await newestOf(one);
    await write(one, 'a', otherwise);
    await setCopyRate(one, gatheringRate);
    const open = ['-f', 'raw', '-c', 'read 0 4k', '-c', 'sleep 60000', daemon.uri('g/a')];
    const host = new Child(qemuIo ?? '', open);
    await until('a host is connected', async () => {
      return ((await one.status()).volumes[0]?.clients.length ?? 0) > 0;
    });
    const command = beginRollback(one, newest);
    await until('it writes', async () => (await one.status()).rollback?.state === 'writing');
    await setCopyRate(one, slowRate);
    await until('something is written', async () => {
      return ((await one.status()).rollback?.doneBytes ?? 0) > 0;
    });
    expect((await one.status()).volumes[0]).toMatchObject({ state: 'unused', clients: [] });
    const outside = await io(one, 'a', 'read 0 4k');
    expect(outside.code).not.toBe(0);
    expect(outside.output).toContain('being rolled back to update');
    expect(await refused(one, 'snapshot', 'create', 'g@s')).toMatchObject({ code: 4 });
    const resized = await refused(one, 'volume', 'resize', 'g/a', '--size', '128MiB');
    expect(resized).toMatchObject({ code: 4 });
    expect((await one.status()).rollback).toMatchObject({ state: 'writing' });
    await daemon.kill();
    await command.exit;
    host.signal('SIGKILL');
    await host.exit;
    await daemon.start();
    expect((await io(one, 'a', 'read 0 4k')).code).not.toBe(0);
    await setCopyRate(one, 'unlimited');
    await daemon.client('wait', 'g', '--for', 'primary', '--timeout', '60s');
    await holds(one, 'a', long);
    expect(existsSync(join(daemon.dataDirectory, 'groups/g/rollbacks'))).toBe(false);
    expect((await one.status()).conditions).toEqual([]);
  });

  it('promotes a follower as of what it has applied, and another one follows it', async () => {
    const [a, b, c] = [await start('one'), await start('two'), await start('three')];
    await a.createGroup('256MiB', { v: 4 * MiB }, ...history);
    for (const follower of [b, c]) {
      await follower.follow(a);
      await follower.synced();
      await follower.daemon.client('group', 'configure', 'g', ...history);
    }
    await pastIsKept(b);
    await write(a, 'v', first);
    const newest = await newestOf(a);
    await write(a, 'v', second);
    for (const follower of [b, c]) await follower.synced();
    const last = await newestOf(a);
    await a.daemon.kill();
    const at = ['--at', String(newest)];
    const dry = (await b.daemon.client('promote', 'g', ...at, '--dry-run')) as {
      readonly rollback: { readonly to: number; readonly lost: { readonly updates: number } };
    };
    expect(dry.rollback).toMatchObject({ to: newest, lost: { updates: last - newest } });
    await b.daemon.client('promote', 'g', ...at);
    await b.daemon.client('wait', 'g', '--for', 'primary', '--timeout', '60s');
    await holds(b, 'v', first);
    const promoted = await b.status();
    expect(promoted).toMatchObject({ role: 'primary', generation: 2 });
    expect(promoted.watermarks.newest).toBeGreaterThan(last);
    // Nothing was left out of the history: nobody has to be copied, or to go back.
    await c.follow(b);
    await c.synced();
    await holds(c, 'v', first);
    expect((await c.status()).generation).toBe(2);
    await a.daemon.start();
    await a.follow(b);
    await a.synced();
    await holds(a, 'v', first);
    for (const system of [a, b, c]) expect((await system.status()).branches).toEqual([]);
  });

  it('goes on where a follower is promoted in the middle of it, if its own past reaches', async () => {
    const [a, b, c] = [await start('one'), await start('two'), await start('three')];
    await a.createGroup('256MiB', { v: long.length * MiB }, ...history);
    for (const follower of [b, c]) await follower.follow(a);
    await b.synced();
    await b.daemon.client('group', 'configure', 'g', ...history);
    await pastIsKept(b);
    await write(a, 'v', long);
    const newest = await newestOf(a);
    await write(a, 'v', otherwise);
    await setCopyRate(a, gatheringRate);
    for (const follower of [b, c]) await follower.synced();
    const command = beginRollback(a, newest);
    await until('it writes', async () => (await a.status()).rollback?.state === 'writing');
    await setCopyRate(a, slowRate);
    await until('the followers know', async () => {
      const [known, other] = [await b.status(), await c.status()];
      return known.rollback !== null && other.rollback !== null;
    });
    expect((await io(b, 'v', 'read 0 4k')).output).toContain('being rolled back to update');
    await a.daemon.kill();
    await command.exit;
    // Without a window it can only be ended.
    await c.daemon.client('promote', 'g', '--force');
    await until('it says that it cannot go on', async () => {
      return (await c.status()).conditions.some(({ code }) => code === 'rollback_stopped');
    });
    expect((await io(c, 'v', 'read 0 4k')).code).not.toBe(0);
    const unforced = await refused(c, 'volume', 'rollback', 'g', '--at', 'latest');
    expect(unforced).toMatchObject({ code: 4 });
    await rollBack(c, 'g', 'latest', '--force');
    expect((await io(c, 'v', 'read 0 4k')).code).toBe(0);
    expect((await c.status()).conditions).toEqual([]);
    await b.daemon.client('promote', 'g');
    await b.daemon.client('wait', 'g', '--for', 'primary', '--timeout', '60s');
    await holds(b, 'v', long);
  });
});
