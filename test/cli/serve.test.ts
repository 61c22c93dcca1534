import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { verbs } from '../../src/control/schema.ts';
import { status as statusSchema } from '../../src/control/schema-status.ts';
import { build, jnbd } from '../support/built-program.ts';
import { Child, freePort, until } from '../support/children.ts';
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

/** A `serve` that is to fail before it listens. */
async function serve(...args: string[]) {
  const ports = ['--nbd', '127.0.0.1:0', '--listen', '127.0.0.1:0'];
  return jnbd(['serve', '--data', data, ...ports, ...args, '--json'], { timeoutSeconds: 15 });
}

async function fill(daemon: Daemon): Promise<void> {
  await daemon.client('group', 'create', 'g', '--journal-size', '64MiB');
  await daemon.client('volume', 'create', 'g/v', '--size', '8MiB');
}

describe('a data directory', () => {
  it('has one daemon, and who it is is told', async () => {
    const daemon = await start();
    const second = await serve();
    expect(second.code).toBe(4);
    expect(second.json).toMatchObject({ error: { code: 'data_directory_locked' } });
    expect(second.stderr).toContain(`${data} is in use by process ${daemon.pid} (`);
  });

  it('that is a file is no directory', async () => {
    writeFileSync(data, 'x');
    const result = await serve();
    expect(result.code).toBe(4);
    expect(result.json).toMatchObject({ error: { code: 'data_directory_foreign' } });
    expect(result.stderr).toContain(`${data} is a file`);
    const status = await jnbd(['status', '--data', data]);
    expect(status.code).toBe(6);
    expect(status.stderr).toContain(`${data} is a file`);
  });

  it('whose first start was interrupted is empty', async () => {
    mkdirSync(data);
    writeFileSync(join(data, 'lock'), '');
    writeFileSync(join(data, 'jnbd.json.tmp'), '{"fo');
    await start();
  });

  it('whose identity cannot be read is not taken for new', async () => {
    mkdirSync(join(data, 'jnbd.json'), { recursive: true });
    const result = await serve();
    expect(result.code).toBe(4);
    expect(result.stderr).toContain(`cannot read ${join(data, 'jnbd.json')}: EISDIR`);
  });

  it.skipIf(process.getuid?.() !== 0)('of another user is told as such', async ({ skip }) => {
    chmodSync(directory.path, 0o755);
    await start();
    const nobody = 65_534;
    const command = (...args: string[]) =>
      spawnSync(process.execPath, [program, ...args, '--data', data], {
        encoding: 'utf8',
        uid: nobody,
        gid: nobody,
      });
    skip(command('--version').status !== 0, 'other users cannot read this program');
    const status = command('status');
    expect(status.stderr).toContain(`this user may not speak to the daemon of ${data}`);
    expect(status.status).toBe(6);
    const serving = command('serve');
    expect(serving.stderr).toContain(`cannot read data directory ${data}: EACCES`);
    expect(serving.status).toBe(4);
  });

  it('that holds something else is left alone', async () => {
    mkdirSync(data);
    writeFileSync(join(data, 'holiday.jpg'), 'x');
    const result = await serve();
    expect(result.code).toBe(4);
    expect(result.json).toMatchObject({ error: { code: 'data_directory_foreign' } });
    expect(result.stderr).toContain('holiday.jpg');
    expect(readdirSync(data)).toEqual(['holiday.jpg']);
  });

  it('of a newer format is left alone', async () => {
    const daemon = await start();
    await daemon.stop();
    const identity = join(data, 'jnbd.json');
    const text = readFileSync(identity, 'utf8').replace('"formatVersion":1', '"formatVersion":2');
    writeFileSync(identity, text);
    const result = await serve();
    expect(result.code).toBe(4);
    expect(result.json).toMatchObject({ error: { code: 'format_newer' } });
    expect(result.stderr).toContain(identity);
    expect(readFileSync(identity, 'utf8')).toBe(text);
  });

  it('that cannot be written to is named', async () => {
    let nowhere = join(directory.path, 'read-only', 'data');
    mkdirSync(join(directory.path, 'read-only'));
    chmodSync(join(directory.path, 'read-only'), 0o500);
    // Modes mean nothing to the administrator; a file where a directory should be does.
    if (process.getuid?.() === 0) {
      writeFileSync(join(directory.path, 'file'), '');
      nowhere = join(directory.path, 'file', 'data');
    }
    const result = await jnbd(['serve', '--data', nowhere, '--json']);
    expect(result.code).toBe(4);
    expect(result.json).toMatchObject({ error: { code: 'data_directory_read_only' } });
    expect(result.stderr).toContain(nowhere);
  });

  it.skipIf(process.getuid?.() !== 0)('on a read-only file system is named', async ({ skip }) => {
    const daemon = await start();
    await daemon.stop();
    const script = `mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"`;
    const result = spawnSync(
      'unshare',
      [
        '--mount',
        'sh',
        '-c',
        script,
        'sh',
        data,
        process.execPath,
        program,
        'serve',
        '--data',
        data,
        '--json',
      ],
      { encoding: 'utf8', timeout: 15_000 },
    );
    const mayNotMount = result.stdout === '' && /unshare|mount/.test(result.stderr);
    skip(mayNotMount, 'this container may not mount');
    expect(result.status).toBe(4);
    expect(JSON.parse(result.stdout)).toMatchObject({
      error: { code: 'data_directory_read_only' },
    });
  });

  it('keeps its name', async () => {
    const daemon = await start('--name', 'north');
    expect(await daemon.client('status')).toMatchObject({ system: { name: 'north' } });
    await daemon.stop();
    const other = await serve('--name', 'south');
    expect(other.code).toBe(4);
    expect(other.stderr).toMatch(/named north, not south/);
  });

  it('may have a path longer than a socket address holds', async () => {
    data = join(directory.path, 'd'.repeat(120), 'data');
    const daemon = await start();
    await fill(daemon);
    expect(statusSchema.parse(await daemon.client('status')).groups).toHaveLength(1);
  });

  it('is private', async () => {
    await start();
    const mode = spawnSync('stat', ['-c', '%a', data, join(data, 'control.sock')], {
      encoding: 'utf8',
    });
    expect(mode.stdout).toBe('700\n600\n');
  });
});

describe('addresses', () => {
  let holder: Server;
  let port: number;

  beforeAll(async () => {
    port = await freePort();
    holder = createServer();
    await new Promise<void>((done) => holder.listen(port, '127.0.0.1', done));
  });
  afterAll(() => holder.close());

  it.each(['--nbd', '--listen'])('%s: a taken one is told with who has it', async (option) => {
    const other = option === '--nbd' ? '--listen' : '--nbd';
    const args = ['serve', '--data', data, option, `127.0.0.1:${port}`, other, '127.0.0.1:0'];
    const result = await jnbd([...args, '--json']);
    expect(result.code).toBe(4);
    expect(result.json).toMatchObject({ error: { code: 'address_in_use' } });
    expect(result.stderr).toContain(`127.0.0.1:${port} is in use by process ${process.pid} (`);
    const free = new RegExp(`free is: ${option} 127\\.0\\.0\\.1:(\\d+)`).exec(result.stderr);
    expect(Number(free?.[1])).toBeGreaterThan(port);
  });

  it.each([
    ['--nbd', '0.0.0.0:0'],
    ['--listen', '0.0.0.0:0'],
    ['--listen', '[::]:0'],
  ])('%s %s is refused without --insecure', async (option, address) => {
    const other = [option === '--nbd' ? '--listen' : '--nbd', '127.0.0.1:0'];
    const result = await jnbd(['serve', '--data', data, option, address, ...other, '--json']);
    expect(result.code).toBe(4);
    expect(result.json).toMatchObject({ error: { code: 'address_not_allowed' } });
    expect(result.stderr).toContain('--insecure');
  });

  it.each([
    ['nowhere/socket', /: the directory \S+\/nowhere does not exist$/],
    [`${'long'.repeat(30)}`, /: the path of a Unix socket has at most 107 bytes$/],
  ])('unix:%s is refused with the reason', async (path, text) => {
    const result = await serve('--nbd', `unix:${join(directory.path, path)}`);
    expect(result.code).toBe(4);
    expect(result.json).toMatchObject({ error: { code: 'address_not_allowed' } });
    expect(result.stderr.trim()).toMatch(text);
  });

  it('that mean any of this machine stand in URIs with its name', async () => {
    data = join(directory.path, 'data');
    const daemon = await start('--nbd', '0.0.0.0:0', '--insecure');
    await fill(daemon);
    const { volume } = verbs['volume show'].result.parse(
      await daemon.client('volume', 'show', 'g/v'),
    );
    expect(volume.uris).toEqual([
      daemon.uri('g/v'),
      expect.stringMatching(new RegExp(`^nbd://${hostname()}:\\d+/g/v$`)),
    ]);
  });

  it('beyond loopback is served with --insecure', async () => {
    const args = ['--nbd', '0.0.0.0:0', '--listen', '0.0.0.0:0', '--insecure', '--json'];
    const child = new Child(process.execPath, [program, 'serve', '--data', data, ...args]);
    try {
      await until(
        () => child.output,
        15,
        () => child.output.includes('"listening"'),
      );
    } finally {
      child.signal('SIGKILL');
      await child.exit;
    }
  });
});

describe('settings', () => {
  it('come from a file, and the command line goes first', async () => {
    const file = join(directory.path, 'jnbd.yaml');
    writeFileSync(file, 'data: elsewhere\nname: from-file\nmemory: 100MiB\nnbd: 127.0.0.1:0\n');
    data = join(directory.path, 'elsewhere');
    const daemon = await start('--config', file, '--memory', '128MiB');
    expect(await daemon.client('status')).toMatchObject({
      system: { name: 'from-file', memoryBytes: 128 * KiB * KiB, dataDirectory: data },
    });
  });

  it.each([
    ['memory: 512MB\n', ':1:1: --memory: .512MB. is not a size'],
    ['name: x\nnbd:\n  - 127.0.0.1\n', ':2:1: --nbd: .127.0.0.1. is not HOST:PORT'],
    ['name: x\n\ncolour: red\n', ':3:1: there is no option colour'],
    ['name: x\n  - y\n', ':\\d+:\\d+: '],
    ['- x\n', ':1:1: write one option a line'],
    ['tls: maybe\n', ':1:1: --tls: write off or allow or require, not .maybe.'],
  ])('that are wrong are told with their place: %j', async (text, message) => {
    const file = join(directory.path, 'jnbd.yaml');
    writeFileSync(file, text);
    const result = await jnbd(['serve', '--config', file, '--data', data, '--json']);
    expect(result.code).toBe(2);
    expect(result.json).toMatchObject({ error: { code: 'configuration_invalid' } });
    expect(result.stderr).toMatch(new RegExp(`${file}${message}`));
    expect(existsSync(data)).toBe(false);
  });

  it.each([
    [['--memory', '1MiB'], 'argument_invalid', /--memory 1MiB .* at least 64MiB/],
    [['--tls', 'require'], 'configuration_invalid', /--tls-dir DIR, or --psk-file FILE/],
    [['--tls', 'require', '--tls-dir', '/nonexistent'], 'certificate_invalid', /ca-cert\.pem/],
    [['--psk-file', '/x'], 'configuration_invalid', /--tls require/],
    [['--config', '/nonexistent'], 'configuration_invalid', /nonexistent/],
    [['--nbd', 'localhost'], 'argument_invalid', /HOST:PORT or unix:PATH/],
    [['--name', 'a b'], 'argument_invalid', /no name/],
    [['--psk-file', ''], 'argument_invalid', /--psk-file: give a path/],
  ])('%j is refused', async (args, code, text) => {
    const result = await jnbd(['serve', '--data', data, ...args, '--json']);
    expect(result.code).toBe(2);
    expect(result.json).toMatchObject({ error: { code } });
    expect(result.stderr).toMatch(text);
  });

  it('name the data directory by JNBD_DATA too', async () => {
    const environment = { JNBD_DATA: data };
    const child = new Child(
      process.execPath,
      [program, 'serve', '--nbd', '127.0.0.1:0', '--listen', '127.0.0.1:0'],
      { env: { ...process.env, ...environment } },
    );
    try {
      await until(
        () => child.output,
        15,
        () => child.output.includes('serves'),
      );
      expect((await jnbd(['status'], { environment })).code).toBe(0);
    } finally {
      child.signal('SIGKILL');
      await child.exit;
    }
  });
});
