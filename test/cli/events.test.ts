import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type SystemEvent, systemEvent } from '../../src/control/schema-events.ts';
import { build } from '../support/built-program.ts';
import { run, until } from '../support/children.ts';
import { Daemon, program } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

let directory: TemporaryDirectory;
let daemon: Daemon;

beforeAll(async () => {
  await build();
  directory = temporaryDirectory('events');
  daemon = await Daemon.start({ dataDirectory: join(directory.path, 'data') });
}, 120_000);

afterAll(async () => {
  await daemon?.kill();
  directory?.remove();
});

function parse(text: string): SystemEvent[] {
  // The last line may be on its way.
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  const lines = whole.split('\n').filter((line) => line.startsWith('{"sequence"'));
  return lines.map((line) => systemEvent.parse(JSON.parse(line)));
}

async function events(...args: string[]): Promise<SystemEvent[]> {
  const result = await run(process.execPath, [program, 'events', '--json', ...args]);
  expect(result).toMatchObject({ code: 0 });
  return parse(result.stdout);
}

describe('jnbd events', () => {
  it('shows what happened, of all or of one group, since a time', async () => {
    const data = ['--data', daemon.dataDirectory];
    await daemon.client('group', 'create', 'g', '--journal-size', '64MiB');
    await daemon.client('group', 'create', 'h', '--journal-size', '64MiB');
    const all = await events(...data);
    expect(all.map(({ code }) => code)).toEqual(
      expect.arrayContaining(['started', 'group_opened', 'group_created']),
    );
    expect(all.map(({ sequence }) => sequence)).toEqual(all.map((_, at) => at + 1));
    const [last] = await events('h', ...data);
    expect(last).toMatchObject({ group: 'h' });
    expect(await events('--since', '2999-01-01T00:00:00Z', ...data)).toEqual([]);
    expect(await events('--since', '1h', ...data)).toHaveLength(all.length);
    expect(await events('--connect', `http://127.0.0.1:${daemon.listenPort}`)).toHaveLength(
      all.length,
    );
    const wrong = await run(process.execPath, [program, 'events', '--since', 'now', ...data]);
    expect(wrong).toMatchObject({ code: 2 });
    expect(wrong.stderr).toContain('2030-01-31T12:00:00Z');
  });

  it('follows, and ends with the daemon', async () => {
    const child = spawn(
      process.execPath,
      [program, 'events', '--follow', '--json', '--since', '0s', '--data', daemon.dataDirectory],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    try {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      await daemon.client('group', 'delete', 'h');
      const isThere = (code: string) => (): boolean =>
        parse(out).some((each) => each.code === code);
      await until(() => `no event of the deletion:\n${out}`, 10, isThere('group_deleted'));
      await daemon.stop();
      expect(await ended).toBe(6);
      expect(parse(out).at(-1)).toMatchObject({ code: 'stopping' });
    } finally {
      child.kill();
    }
  });
});
