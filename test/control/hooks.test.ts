import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Hooks, type HookSubject } from '../../src/control/hooks.ts';
import { must } from '../../src/platform/assert.ts';
import { nodeClock } from '../../src/platform/clock.ts';
import { nodeProcessRunner } from '../../src/platform/node-process-runner.ts';
import type {
  ProcessEnd,
  ProcessOrder,
  ProcessOutcome,
  ProcessRunner,
} from '../../src/platform/process-runner.ts';
import { until } from '../support/children.ts';
import { writeScript } from '../support/executables.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

interface Told {
  readonly code: string;
  readonly message: string;
  readonly fields: Record<string, unknown>;
}

let temporary: TemporaryDirectory;
let directory: string;
let told: Told[];

beforeEach(() => {
  temporary = temporaryDirectory('hooks');
  directory = join(temporary.path, 'hooks of mine');
  mkdirSync(directory);
  told = [];
});

afterEach(() => temporary.remove());

function subject(group: string, changes: Partial<HookSubject> = {}): HookSubject {
  return { group, role: 'secondary', state: 'normal', generation: 3, number: 42, ...changes };
}

function hooksWith(runner: ProcessRunner, timeoutMilliseconds = 20_000): Hooks {
  return new Hooks({
    runner,
    clock: nodeClock,
    directory,
    timeoutMilliseconds,
    system: 'paris',
    dataDirectory: '/srv/data of mine',
    event: (code, message, fields) => told.push({ code, message, fields }),
  });
}

/** Runs nothing: what each of them does is said by the test. */
class HeldRunner implements ProcessRunner {
  readonly orders: ProcessOrder[] = [];
  readonly #ends: ((outcome: ProcessOutcome) => void)[] = [];

  start(order: ProcessOrder) {
    this.orders.push(order);
    const outcome = new Promise<ProcessOutcome>((resolve) => this.#ends.push(resolve));
    const at = this.#ends.length - 1;
    return { outcome, end: () => this.finish(at, { kind: 'stopped' }) };
  }

  finish(at: number, end: ProcessEnd = { kind: 'exited', code: 0 }): void {
    must(this.#ends[at], 'a process')({ end, output: '', milliseconds: 1 });
  }

  get running(): string[] {
    return this.orders.map(({ environment }) => {
      return `${environment['JNBD_GROUP']} ${environment['JNBD_EVENT']} ${environment['JNBD_STATE']}`;
    });
  }
}

/** Lets everything happen that waits for nothing. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('a question', () => {
  const real = () => hooksWith(nodeProcessRunner);

  it('is agreed to where nobody is asked', async () => {
    await real().ask('before-promote', subject('main'));
    expect(told).toEqual([]);
  });

  it('is put with all there is to know', async () => {
    writeScript(
      directory,
      'before-promote',
      'env | grep ^JNBD_ | grep -v ^JNBD_TEST_ | sort; pwd; exit 0',
    );
    await real().ask('before-promote', subject('main', { role: 'diverged', state: 'abnormal' }));
    const [event] = told;
    expect(event).toMatchObject({
      code: 'hook_done',
      message: expect.stringMatching(
        /hooks of mine\/before-promote for group main exited with 0 after \d+\.\ds$/,
      ),
    });
    expect(event?.fields['output']).toBe(
      [
        'JNBD_CONTROL_SOCKET=/srv/data of mine/control.sock',
        'JNBD_DATA=/srv/data of mine',
        'JNBD_EVENT=before-promote',
        'JNBD_GENERATION=3',
        'JNBD_GROUP=main',
        'JNBD_POSITION=3:42',
        'JNBD_PREVIOUS_ROLE=',
        'JNBD_PREVIOUS_STATE=',
        'JNBD_ROLE=diverged',
        'JNBD_STATE=abnormal',
        'JNBD_SYSTEM=paris',
        directory,
      ].join('\n'),
    );
  });

  async function refusal(hooks: Hooks): Promise<string> {
    const error: unknown = await hooks
      .ask('before-promote', subject('main'))
      .then(() => 'agreed')
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'hook_refused', kind: 'refused' });
    return String(error);
  }

  it('is refused by an exit code', async () => {
    writeScript(directory, 'before-promote', 'echo one; echo "host h1 answers still"; exit 7');
    expect(await refusal(real())).toMatch(
      /before-promote exited with 7, so group main stays as it is; it said: host h1 answers still$/,
    );
    expect(told).toMatchObject([{ code: 'hook_failed', fields: { group: 'main' } }]);
    expect(told[0]?.fields['nextCommand']).toMatch(/^ls -l '.*before-promote'$/);
  });

  it.each<[string, () => void, RegExp]>([
    [
      'that is not executable',
      () => writeScript(directory, 'before-promote', 'exit 0', 0o644),
      /cannot be run: it is not executable/,
    ],
    [
      'that a signal ends',
      () => writeScript(directory, 'before-promote', 'kill -KILL $$'),
      /was ended by signal 9/,
    ],
    [
      'whose interpreter is not there',
      () => writeFileSync(join(directory, 'before-promote'), '#!/no/sh\n', { mode: 0o755 }),
      /cannot be run: the interpreter/,
    ],
    [
      'whose directory is gone',
      () => temporary.remove(),
      /cannot be run: directory .* is not there/,
    ],
  ])('is refused by a hook %s', async (_, prepare, text) => {
    prepare();
    expect(await refusal(real())).toMatch(text);
  });

  it('is refused by a hook that takes too long', async () => {
    writeScript(directory, 'before-promote', 'sleep 60');
    expect(await refusal(hooksWith(nodeProcessRunner, 200))).toMatch(/took too long and was ended/);
  });

  it('is refused by a daemon that stops', async () => {
    const runner = new HeldRunner();
    const hooks = hooksWith(runner);
    const answers = [refusal(hooks), refusal(hooks)];
    await hooks.close(0);
    for (const answer of answers) expect(await answer).toMatch(/the daemon stops/);
    expect(await refusal(hooks)).toMatch(/the daemon stops/);
    expect(runner.orders).toHaveLength(1);
  });
});

describe('hooks of one group', () => {
  it('run one at a time, in order; those of others beside them', async () => {
    const runner = new HeldRunner();
    const hooks = hooksWith(runner);
    hooks.tell('state-changed', subject('a', { state: '1' }));
    hooks.tell('after-promote', subject('a', { state: '2' }));
    const asked = hooks.ask('before-promote', subject('a', { state: '3' }));
    hooks.tell('state-changed', subject('b', { state: '4' }));
    expect(runner.running).toEqual(['a state-changed 1', 'b state-changed 4']);
    runner.finish(0, { kind: 'exited', code: 1 });
    await settle();
    expect(runner.running.slice(2)).toEqual(['a after-promote 2']);
    runner.finish(2, { kind: 'absent' });
    await settle();
    expect(runner.running.slice(3)).toEqual(['a before-promote 3']);
    runner.finish(3);
    await asked;
    expect(told.map(({ code }) => code)).toEqual(['hook_failed', 'hook_done']);
  });

  it('that would wait for many others are left out, the eldest state first', async () => {
    const runner = new HeldRunner();
    const hooks = hooksWith(runner);
    hooks.tell('after-demote', subject('a', { state: '0' }));
    hooks.tell('after-promote', subject('a', { state: '1' }));
    for (let i = 2; i < 100; i += 1) hooks.tell('state-changed', subject('a', { state: `${i}` }));
    expect(told.every(({ code }) => code === 'hook_left_out')).toBe(true);
    for (let at = 0; at < runner.orders.length; at += 1) {
      runner.finish(at, { kind: 'absent' });
      await settle();
    }
    expect(runner.running.slice(0, 2)).toEqual(['a after-demote 0', 'a after-promote 1']);
    expect(runner.running.at(-1)).toBe('a state-changed 99');
    expect(runner.running).toHaveLength(33);
    expect(runner.running.length + told.length).toBe(100);
  });

  it('never run together, also in earnest', async () => {
    const out = join(temporary.path, 'out');
    writeScript(
      directory,
      'state-changed',
      `echo "begin $JNBD_STATE" >>'${out}'; sleep 0.05; echo "end $JNBD_STATE" >>'${out}'`,
    );
    const hooks = hooksWith(nodeProcessRunner);
    for (const state of ['1', '2', '3']) hooks.tell('state-changed', subject('a', { state }));
    await until(
      () => JSON.stringify(told),
      20,
      () => told.length === 3,
    );
    expect(readFileSync(out, 'utf8')).toBe('begin 1\nend 1\nbegin 2\nend 2\nbegin 3\nend 3\n');
  });
});

it('end with the daemon, after a while', async () => {
  const hooks = hooksWith(nodeProcessRunner);
  writeScript(directory, 'state-changed', 'sleep 60');
  hooks.tell('state-changed', subject('a'));
  hooks.tell('state-changed', subject('a'));
  const started = performance.now();
  await hooks.close(100);
  expect(performance.now() - started).toBeLessThan(10_000);
  expect(told).toMatchObject([
    { code: 'hook_failed', message: expect.stringMatching(/not finished/) },
  ]);
});

it('are told what changed', async () => {
  const runner = new HeldRunner();
  hooksWith(runner).tell(
    'after-promote',
    subject('a', { role: 'primary', previous: { role: 'secondary', state: 'abnormal' } }),
  );
  expect(runner.orders[0]).toMatchObject({
    path: join(directory, 'after-promote'),
    directory,
    timeoutMilliseconds: 20_000,
    environment: {
      JNBD_ROLE: 'primary',
      JNBD_PREVIOUS_ROLE: 'secondary',
      JNBD_PREVIOUS_STATE: 'abnormal',
    },
  });
});
