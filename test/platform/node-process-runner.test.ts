import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeProcessRunner } from '../../src/platform/node-process-runner.ts';
import type { ProcessOrder, ProcessOutcome } from '../../src/platform/process-runner.ts';
import { sleep, until } from '../support/children.ts';
import { writeScript } from '../support/executables.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

let temporary: TemporaryDirectory;
let directory: string;

beforeAll(() => {
  temporary = temporaryDirectory('processes');
  directory = join(temporary.path, "it's a path with “spaces”");
  mkdirSync(directory);
});

afterAll(() => temporary?.remove());

function start(path: string, changes: Partial<ProcessOrder> = {}) {
  return nodeProcessRunner.start({
    path,
    environment: {},
    directory,
    timeoutMilliseconds: 30_000,
    ...changes,
  });
}

function run(lines: string, changes: Partial<ProcessOrder> = {}): Promise<ProcessOutcome> {
  return start(writeScript(directory, 'a script', lines), changes).outcome;
}

/** Gone, or a zombie that somebody else has to bury. */
function isGone(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return true;
  return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
}

describe('a process', () => {
  it('has an environment, a directory, and no input', async () => {
    const outcome = await run('echo "$A,$PATH" && pwd && cat && echo to error >&2', {
      environment: { A: '1=2 "3" é' },
    });
    expect(outcome.end).toEqual({ kind: 'exited', code: 0 });
    expect(outcome.output).toBe(`1=2 "3" é,${process.env['PATH']}\n${directory}\nto error`);
  });

  it('leads a session of its own, with signals as usual', async () => {
    const outcome = await run('cat /proc/$$/stat; cat /proc/self/status');
    expect(outcome.end).toEqual({ kind: 'exited', code: 0 });
    // Its own number, and behind its name and state: parent, group, session.
    expect(outcome.output).toMatch(/^(\d+) \(.*\) \S \d+ \1 \1 /);
    expect(outcome.output).toMatch(/^SigBlk:\t0{16}$/m);
    // The C library keeps two to itself.
    expect(outcome.output).toMatch(/^SigIgn:\t0{7}[01][08]0{7}$/m);
    // Which this process ignores.
    expect((await run('kill -PIPE $$')).end).toEqual({ kind: 'signalled', signal: 13 });
  });

  it('says how it ended', async () => {
    expect((await run('exit 3')).end).toEqual({ kind: 'exited', code: 3 });
    expect((await run('kill -KILL $$')).end).toEqual({ kind: 'signalled', signal: 9 });
  });

  it('leaves nothing behind', async () => {
    await run('exit 0');
    const open = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 20; i += 1) {
      const { output } = await run('echo $$');
      expect(existsSync(`/proc/${output}`)).toBe(false);
    }
    await start(join(directory, 'nothing')).outcome;
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(open + 1);
  });

  it('may leave others to go on', async () => {
    const { end, output, milliseconds } = await run('sleep 60 & echo $!');
    expect(end).toEqual({ kind: 'exited', code: 0 });
    expect(milliseconds).toBeLessThan(20_000);
    const pid = Number(output);
    expect(isGone(pid)).toBe(false);
    process.kill(pid);
  });

  it('runs beside others', async () => {
    const path = writeScript(directory, 'slow', 'sleep 0.2; echo $A');
    const outcomes = await Promise.all(
      ['1', '2', '3', '4', '5', '6'].map((A) => start(path, { environment: { A } }).outcome),
    );
    expect(outcomes.map(({ output }) => output)).toEqual(['1', '2', '3', '4', '5', '6']);
  });
});

describe('a process that cannot be run', () => {
  it.each<[string, () => string, RegExp]>([
    [
      'without its execute bit',
      () => writeScript(directory, 'a', 'exit 0', 0o644),
      /not executable/,
    ],
    [
      'that everybody may write',
      () => writeScript(directory, 'b', 'exit 0', 0o777),
      /everybody may/,
    ],
    ['that is a directory', () => directory, /no file/],
    [
      'in a directory that is gone',
      () => '/nowhere/at/all',
      /directory \/nowhere\/at is not there/,
    ],
  ])('is one %s', async (_, path, reason) => {
    expect((await start(path()).outcome).end).toEqual({
      kind: 'not_started',
      reason: expect.stringMatching(reason),
    });
  });

  it('is not the same as none', async () => {
    expect((await start(join(directory, 'nothing')).outcome).end).toEqual({ kind: 'absent' });
  });

  it.each([
    ['#!/no/interpreter\n', /interpreter that its first line names is not there/],
    ['exit 0\n', /first line names no interpreter/],
    ['', /first line names no interpreter/],
  ])('begins with %j', async (text, reason) => {
    const path = join(directory, 'strange');
    writeFileSync(path, text);
    chmodSync(path, 0o755);
    expect((await start(path).outcome).end).toMatchObject({
      kind: 'not_started',
      reason: expect.stringMatching(reason),
    });
  });

  it('is refused where it would run elsewhere', async () => {
    const { end } = await run('pwd', { directory: '/nowhere' });
    expect(end.kind).toBe('not_started');
  });
});

describe('a process that takes too long', () => {
  it('is asked to end, and may tidy up', async () => {
    const { end, output } = await run(
      'trap "echo tidy; exit 0" TERM; echo begun; while :; do sleep 0.05; done',
      { timeoutMilliseconds: 500 },
    );
    expect(end).toEqual({ kind: 'timed_out' });
    expect(output).toMatch(/^begun\n.*tidy$/s);
  });

  it('is ended with all that it started, whatever they ignore', async () => {
    const { end, output, milliseconds } = await run(
      'trap "" TERM; (trap "" TERM; sleep 60) & echo $$ $!; wait',
      { timeoutMilliseconds: 300 },
    );
    expect(end).toEqual({ kind: 'timed_out' });
    expect(milliseconds).toBeGreaterThan(1200);
    const pids = output.split(' ').map(Number);
    expect(pids).toHaveLength(2);
    await until(
      () => `${output} are there still`,
      20,
      () => pids.every(isGone),
    );
  });

  it('takes those along that outlive it', async () => {
    const { end, output } = await run('(trap "" TERM; sleep 60) & echo $!; sleep 60', {
      timeoutMilliseconds: 300,
    });
    expect(end).toEqual({ kind: 'timed_out' });
    await until(
      () => `${output} is there still`,
      20,
      () => isGone(Number(output)),
    );
  });

  it('can be stopped before', async () => {
    const started = start(writeScript(directory, 'long', 'sleep 60'));
    await sleep(200);
    started.end();
    expect((await started.outcome).end).toEqual({ kind: 'stopped' });
    const early = start(writeScript(directory, 'long', 'sleep 60'));
    early.end();
    expect((await early.outcome).end).toEqual({ kind: 'stopped' });
  });
});

describe('a process that writes much', () => {
  it('is heard at its beginning and its end', async () => {
    const { end, output } = await run(
      'echo first; i=0; while [ $i -lt 2000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; echo last',
    );
    expect(end).toEqual({ kind: 'exited', code: 0 });
    expect(output).toMatch(/^first\n0123456789/);
    expect(output).toMatch(/0123456789\nlast$/);
    expect(output).toMatch(/\n\[\d+ bytes left out\]\n/);
    expect(output.length).toBeLessThan(9000);
  });

  it('without end is taken slowly until its time is over', async () => {
    const before = process.cpuUsage();
    const { end, output } = await run('yes 0123456789', { timeoutMilliseconds: 1000 });
    const { user, system } = process.cpuUsage(before);
    expect(end).toEqual({ kind: 'timed_out' });
    expect(output.length).toBeLessThan(9000);
    expect(user + system).toBeLessThan(500_000);
  });
});
