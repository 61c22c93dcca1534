import { spawnSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Status, status as statusSchema } from '../../src/control/schema-status.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { build, jnbd } from '../support/built-program.ts';
import { Child, until } from '../support/children.ts';
import { Daemon, program } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

const MiB = 1024 * 1024;
let directory: TemporaryDirectory;
let daemon: Daemon;
let file: string;

/** 40 MiB less 100 bytes: data, a hole, data that begins inside a block, a hole, a tail. */
function writeSource(path: string): void {
  const descriptor = openSync(path, 'w');
  ftruncateSync(descriptor, 40 * MiB - 100);
  writeSync(descriptor, Buffer.alloc(3 * MiB + 1000, 'a'), 0, 3 * MiB + 1000, 0);
  writeSync(descriptor, Buffer.alloc(700_001, 'b'), 0, 700_001, 20 * MiB + 333);
  writeSync(descriptor, Buffer.from('tail'), 0, 4, 40 * MiB - 104);
  closeSync(descriptor);
}

beforeAll(async () => {
  await build();
  directory = temporaryDirectory('import');
  daemon = await Daemon.start({ dataDirectory: join(directory.path, 'data') });
  await daemon.client('group', 'create', 'g', '--journal-size', '64MiB');
  file = join(directory.path, 'source');
  writeSource(file);
}, 120_000);

afterAll(async () => {
  await daemon?.kill();
  directory?.remove();
});

async function volumes(): Promise<Status['groups'][number]['volumes']> {
  return statusSchema.parse(await daemon.client('status')).groups[0]?.volumes ?? [];
}

async function contents(exportName: string): Promise<Buffer> {
  const client = await NbdClient.connect(
    { kind: 'tcp', host: '127.0.0.1', port: daemon.port },
    { exportName },
  );
  const parts: Buffer[] = [];
  for (let at = 0; at < client.sizeBytes; at += 8 * MiB) {
    parts.push(await client.read(at, Math.min(8 * MiB, client.sizeBytes - at)));
  }
  await client.close();
  return Buffer.concat(parts);
}

function expectSame(found: Buffer, expected: Buffer): void {
  // Not toEqual: it would print both.
  expect(found.subarray(0, expected.length).equals(expected)).toBe(true);
  expect(found.subarray(expected.length).every((byte) => byte === 0)).toBe(true);
}

describe('a volume from a file', () => {
  it('has its contents, and its holes', async () => {
    const created = await daemon.client('volume', 'create', 'g/file', '--from', file);
    expect(created).toMatchObject({
      result: 'done',
      volume: { state: 'normal', sizeBytes: 40 * MiB },
    });
    const found = await contents('g/file');
    expect(found).toHaveLength(40 * MiB);
    expectSame(found, readFileSync(file));
    await until(
      () => 'not applied',
      10,
      async () => ((await volumes())[0]?.allocatedBytes ?? 0) >= 3 * MiB,
    );
    expect((await volumes())[0]?.allocatedBytes).toBeLessThan(5 * MiB);
    expect(await daemon.client('volume', 'create', 'g/file', '--from', file)).toMatchObject({
      result: 'already_done',
    });
  });

  it('may be larger than the file, found from here', async () => {
    const result = await jnbd(
      [
        'volume',
        'create',
        'g/larger',
        '--from',
        'source',
        '--size',
        '64MiB',
        '--data',
        daemon.dataDirectory,
      ],
      { directory: directory.path },
    );
    expect(result.code).toBe(0);
    expectSame(await contents('g/larger'), readFileSync(file));
    await daemon.client('volume', 'delete', 'g/larger', '--force');
  });

  it.each([
    [['--from', '/nonexistent'], 1, 'source_unreadable', /\/nonexistent/],
    [['--from', '/'], 1, 'source_unreadable', /cannot read \//],
    [['--from', '/dev/null'], 2, 'argument_invalid', /is empty; say how large/],
    [
      ['--from', 'SOURCE', '--size', '1MiB'],
      2,
      'argument_invalid',
      /has \d+\S*B, which does not fit --size 1MiB/,
    ],
    [['--from', 'SOURCE', '--journal-only'], 2, 'argument_invalid', /--journal-only/],
    [['--from', 'nbd://127.0.0.1:1/x'], 1, 'source_unreadable', /127\.0\.0\.1:1/],
    [['--from', 'nbd://127.0.0.1:PORT/absent'], 3, 'export_not_found', /absent/],
    [['--from', 'http://host/x'], 2, 'argument_invalid', /neither a file nor the URI/],
    [['--from', 'nbd://host:x/'], 2, 'argument_invalid', /NBD URI/],
  ])('is not made from %j', async (args, exitCode, code, text) => {
    const real = args.map((each) =>
      each.replace('SOURCE', file).replace('PORT', String(daemon.port)),
    );
    const command = [
      'volume',
      'create',
      'g/bad',
      ...real,
      '--data',
      daemon.dataDirectory,
      '--json',
    ];
    const result = await jnbd(command);
    expect(result.json).toMatchObject({ error: { code } });
    expect(result.code).toBe(exitCode);
    expect(result.stderr).toMatch(text);
    expect((await volumes()).map(({ name }) => name)).not.toContain('bad');
  });
});

describe('a volume from an NBD export', () => {
  it('has its contents, and its holes', async () => {
    await daemon.client('volume', 'create', 'g/nbd', '--from', daemon.uri('g/file'));
    expectSame(await contents('g/nbd'), readFileSync(file));
    await until(
      () => 'not applied',
      10,
      async () =>
        ((await volumes()).find(({ name }) => name === 'nbd')?.allocatedBytes ?? 0) >= 3 * MiB,
    );
    const made = (await volumes()).find(({ name }) => name === 'nbd');
    expect(made?.allocatedBytes).toBeLessThan(5 * MiB);
    await daemon.client('volume', 'delete', 'g/nbd', '--force');
  });

  it('of a server that stays silent is given up when the command is', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    const address = silent.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    const started = performance.now();
    const result = spawnSync(
      process.execPath,
      [
        join(import.meta.dirname, '../../dist/main.js'),
        'volume',
        'create',
        'g/silent',
        '--from',
        `nbd://127.0.0.1:${port}/`,
        '--data',
        daemon.dataDirectory,
      ],
      { timeout: 500 },
    );
    expect(result.signal).toBe('SIGTERM');
    expect(performance.now() - started).toBeLessThan(5000);
    silent.close();
    expect((await volumes()).map(({ name }) => name)).toEqual(['file']);
  });
});

describe('an import that does not end well', () => {
  const large = 256 * MiB;

  beforeAll(() => {
    writeFileSync(join(directory.path, 'large'), Buffer.alloc(large, 'x'));
  });

  /** Asks for the volume as the command line does, and calls `seen` at the first progress. */
  function startImport(name: string, seen: (stop: () => void) => void): Promise<string> {
    return new Promise((resolve) => {
      let text = '';
      let isSeen = false;
      const asked = request({
        socketPath: join(daemon.dataDirectory, 'control.sock'),
        method: 'POST',
        path: '/verbs/volume-create',
        headers: { accept: 'application/x-ndjson' },
      });
      asked.once('error', () => resolve(text));
      asked.once('response', (response) => {
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
          if (isSeen || !text.includes('progress')) return;
          isSeen = true;
          seen(() => asked.destroy());
        });
        response.once('error', () => resolve(text));
        response.once('close', () => resolve(text));
      });
      asked.end(JSON.stringify({ volume: `g/${name}`, from: join(directory.path, 'large') }));
    });
  }

  it('is undone when the command ends', async () => {
    const text = await startImport('stopped', (stop) => stop());
    expect(JSON.parse(text.split('\n')[0] ?? '')).toMatchObject({
      progress: { bytes: expect.any(Number), totalBytes: large },
    });
    await until(
      () => 'the volume is still there',
      10,
      async () => !(await volumes()).some(({ name }) => name === 'stopped'),
    );
    const created = await daemon.client('volume', 'create', 'g/stopped', '--size', '1MiB');
    expect(created).toMatchObject({ result: 'done' });
    await daemon.client('volume', 'delete', 'g/stopped', '--force');
  });

  describe.skipIf(spawnSync('script', ['--version']).status !== 0)('on a terminal', () => {
    /** A terminal in which the copy is under way. */
    async function terminalWithCopy(name: string): Promise<Child> {
      const words = ['volume', 'create', name, '--from', join(directory.path, 'large')];
      const command = [process.execPath, program, ...words, '--data', daemon.dataDirectory];
      const quoted = command.map((word) => `'${word}'`).join(' ');
      const terminal = new Child('script', ['-qefc', quoted, '/dev/null'], {
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      await until(
        () => terminal.output,
        15,
        () => terminal.output.includes('copying'),
      );
      return terminal;
    }

    it('leaves it as it was when Ctrl-C ends the command', async () => {
      const terminal = await terminalWithCopy('g/typed');
      expect(terminal.output).toContain('\u001b[?7l');
      terminal.stdin?.write('\u0003');
      expect(await terminal.exit).toMatchObject({ code: 128 + 2 });
      const last = (text: string) => terminal.output.lastIndexOf(text);
      await until(
        () => terminal.output.slice(-300),
        5,
        () => last('\u001b[?7h') > last('\u001b[?7l'),
      );
      await until(
        () => 'the volume is still there',
        10,
        async () => !(await volumes()).some(({ name }) => name === 'typed'),
      );
    });

    it('says that the daemon ended when it did', async () => {
      const terminal = await terminalWithCopy('g/cut');
      await daemon.kill();
      expect(await terminal.exit).toMatchObject({ code: 6 });
      await until(
        () => terminal.output,
        5,
        () => terminal.output.includes('the daemon ended before this was done; start it again'),
      );
      await daemon.start();
      await daemon.client('volume', 'delete', 'g/cut');
    });
  });

  it('leaves an unused volume after SIGKILL, which is told and deleted', async () => {
    let killed: Promise<void> | undefined;
    await startImport('killed', () => {
      killed = daemon.kill();
    });
    await killed;
    await daemon.start();
    const { groups } = statusSchema.parse(await daemon.client('status'));
    const volume = groups[0]?.volumes.find(({ name }) => name === 'killed');
    expect(volume).toMatchObject({ state: 'unused', exports: [], uris: [] });
    expect(groups[0]?.conditions).toMatchObject([
      { code: 'import_unfinished', nextCommand: 'jnbd volume delete g/killed' },
    ]);
    await expect(contents('g/killed')).rejects.toThrow(/killed/);
    const again = await jnbd([
      'volume',
      'create',
      'g/killed',
      '--size',
      String(large),
      '--data',
      daemon.dataDirectory,
    ]);
    expect(again.code).toBe(4);
    expect(again.stderr).toMatch(/not finished; delete it first/);
    await daemon.client('volume', 'delete', 'g/killed');
    expect(statusSchema.parse(await daemon.client('status')).groups[0]?.conditions).toEqual([]);
  });
});
