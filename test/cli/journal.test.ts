import { closeSync, openSync, readdirSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NbdClient } from '../../src/nbd/client.ts';
import { must } from '../../src/platform/assert.ts';
import { build, jnbd } from '../support/built-program.ts';
import { Daemon } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

let directory: TemporaryDirectory;
let daemon: Daemon;

beforeAll(async () => {
  await build();
  directory = temporaryDirectory('journal');
  daemon = await Daemon.start({ dataDirectory: join(directory.path, 'data') });
  await daemon.client('group', 'create', 'g', '--journal-size', '64MiB');
  await daemon.client('volume', 'create', 'g/v', '--size', '8MiB');
  const client = await NbdClient.connectUri(daemon.uri('g/v'));
  for (let at = 0; at < 16; at += 1) await client.write(at * 4096, Buffer.alloc(4096, at));
  await client.flush();
  await client.close();
}, 120_000);

afterAll(async () => {
  await daemon?.kill();
  directory?.remove();
});

describe('a journal', () => {
  it('is read beside its daemon', async () => {
    const check = await jnbd(['journal', 'check', daemon.dataDirectory]);
    expect(check.stdout).toMatch(/^note: a daemon has this data directory/);
    expect(check.stdout).toMatch(/no damage: \d+ records of \d+ segments? in 1 group\n$/);
    expect(check.stderr).toBe('');
    expect(check.code).toBe(0);
    const { json } = await jnbd(['journal', 'inspect', daemon.dataDirectory, '--json']);
    expect(json).toMatchObject({ heldByDaemon: true, damaged: false, groups: [{ name: 'g' }] });
  });

  it('shows its records', async () => {
    const { json } = await jnbd([
      'journal',
      'inspect',
      daemon.dataDirectory,
      '--from',
      '3',
      '--json',
    ]);
    const { records } = json as { records: { type: string; number: number }[] };
    expect(records.filter(({ type }) => type === 'write').length).toBeGreaterThanOrEqual(15);
    expect(Math.min(...records.map(({ number }) => number))).toBe(3);
  });

  it.each([
    [
      ['check'],
      2,
      'argument_invalid',
      /missing required argument 'DIR' \(see jnbd journal check --help\)/,
    ],
    [['inspect', '/', '--frobnicate'], 2, 'argument_invalid', /unknown option/],
    [['inspect', '/', '--from', 'x'], 2, 'argument_invalid', /--from x/],
    [['check', '/nonexistent'], 3, 'group_not_found', /\/nonexistent/],
  ])('%j is refused', async (args, exitCode, code, text) => {
    const result = await jnbd(['journal', ...args, '--json']);
    expect(result.stderr).toMatch(text);
    expect(result.json).toMatchObject({ error: { code } });
    expect(result.code).toBe(exitCode);
  });

  it('is in the help', async () => {
    expect((await jnbd(['--help'])).stdout).toMatch(/^ +journal +read a journal offline/m);
    expect((await jnbd(['help', 'journal', 'check'])).stdout).toContain('exits 7');
  });

  it('that is damaged ends a check with 7', async () => {
    await daemon.kill();
    const journal = join(daemon.dataDirectory, 'groups/g/journal');
    const segments = readdirSync(journal).filter((name) => name.endsWith('.segment'));
    const first = must(segments.toSorted()[0], 'a segment');
    expect(statSync(join(journal, first)).size).toBeGreaterThan(65_536);
    const descriptor = openSync(join(journal, first), 'r+');
    writeSync(descriptor, Buffer.alloc(512, 0xee), 0, 512, 20_480);
    closeSync(descriptor);
    const check = await jnbd(['journal', 'check', daemon.dataDirectory], {
      environment: { CI: 'true' },
    });
    expect(check.stdout).toMatch(/g: damage \w+: .*damaged: \d+ problem/s);
    expect(check.stdout).not.toContain('\u001b');
    expect(check.code).toBe(7);
    const { json, code } = await jnbd(['journal', 'check', daemon.dataDirectory, '--json']);
    expect(json).toMatchObject({ damaged: true });
    expect(code).toBe(7);
  });
});
