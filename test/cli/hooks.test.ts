import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { build, jnbd } from '../support/built-program.ts';
import { readIfThere } from '../../src/platform/running-process.ts';
import { until } from '../support/children.ts';
import { Daemon } from '../support/daemon.ts';
import { writeScript } from '../support/executables.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

let temporary: TemporaryDirectory;
let hooks: string;
let out: string;
let daemon: Daemon | undefined;

beforeAll(() => build(), 120_000);

beforeEach(() => {
  temporary = temporaryDirectory('serve-hooks');
  hooks = join(temporary.path, 'my hooks');
  mkdirSync(hooks);
  out = join(temporary.path, 'out');
});

afterEach(async () => {
  await daemon?.kill();
  daemon = undefined;
  temporary.remove();
});

function start(...args: string[]): Promise<Daemon> {
  return Daemon.start({
    dataDirectory: join(temporary.path, 'data'),
    arguments: ['--hooks', hooks, ...args],
  });
}

describe('serve --hooks', () => {
  it('tells of groups, with a daemon that can be asked', async () => {
    writeScript(
      hooks,
      'state-changed',
      `echo "$JNBD_SYSTEM $JNBD_GROUP $JNBD_ROLE $JNBD_PREVIOUS_STATE>$JNBD_STATE" >>'${out}'
       test -S "$JNBD_CONTROL_SOCKET" && echo "asked in $JNBD_DATA" >>'${out}'`,
    );
    const running = await start('--name', 'jnbd');
    daemon = running;
    await running.client('group', 'create', 'main', '--journal-size', '64MiB');
    const told = `jnbd main primary >normal\nasked in ${running.dataDirectory}\n`;
    const wait = (text: string) =>
      until(
        () => `${readIfThere(out)}\n${running.output}`,
        30,
        () => readIfThere(out) === text,
      );
    await wait(told);
    // After a start too: an address may have to be taken again.
    await running.stop();
    await running.start();
    await wait(told + told);
    await until(
      () => running.output,
      30,
      () => running.output.split('"code":"hook_done"').length === 3,
    );
  });

  it('names what would never run, or fail', async () => {
    writeScript(hooks, 'before_promote', 'exit 0');
    writeScript(hooks, 'before-promote', 'exit 0', 0o644);
    writeFileSync(join(hooks, 'README'), 'not a hook');
    daemon = await start('--hook-timeout', '5s');
    expect(daemon.output).toMatch(
      /"code":"hook_unknown".*before_promote never runs: hooks are named/,
    );
    expect(daemon.output).toMatch(/"code":"hook_not_executable".*"nextCommand":"chmod \+x '/);
    expect(daemon.output).not.toContain('README');
  });

  it('stops while one runs', async () => {
    writeScript(hooks, 'state-changed', `echo $$ >'${out}'; trap '' TERM; sleep 60`);
    const running = await start();
    daemon = running;
    await running.client('group', 'create', 'main', '--journal-size', '64MiB');
    await until(
      () => running.output,
      30,
      () => readIfThere(out) !== '',
    );
    await running.stop();
    expect(running.output).toMatch(/"code":"hook_failed".*not finished: the daemon stops/);
    const pid = readFileSync(out, 'utf8').trim();
    await until(
      () => `${pid} runs still`,
      20,
      () => readIfThere(`/proc/${pid}/stat`) === '',
    );
  });

  it.each([
    [['--hooks', '/nowhere'], /--hooks \/nowhere cannot be read: ENOENT/],
    [['--hooks', '/etc/passwd'], /--hooks \/etc\/passwd cannot be read: ENOTDIR/],
    [['--hook-timeout', '5s'], /--hook-timeout does nothing without --hooks/],
    [['--hooks', '/tmp', '--hook-timeout', '0s'], /from 100ms to 1h/],
    [['--hooks', '/tmp', '--hook-timeout', '5'], /--hook-timeout: '5' is not a time/],
  ])('refuses %j', async (args, text) => {
    const result = await jnbd(['serve', '--data', join(temporary.path, 'data'), ...args]);
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(text);
  });
});
