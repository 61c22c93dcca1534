import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NbdClient } from '../../src/nbd/client.ts';
import { Child, freePort, run, until } from '../support/children.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const quickstart = join(root, 'scripts/quickstart');

/**
 * Stands before node in PATH. Before a daemon starts again, it takes the last 2 MiB from what its
 * journals hold, and what is applied already stays.
 */
const forgetfulNode = `#!/usr/bin/env bash
if [ "$2" = serve ]; then
  "$REAL_NODE" -e '
    const fs = require("node:fs");
    const data = process.argv[process.argv.indexOf("--data") + 1];
    const journal = data + "/groups/main/journal";
    if (!fs.existsSync(journal)) process.exit();
    for (const name of fs.readdirSync(journal).filter((each) => each.endsWith(".segment"))) {
      const bytes = fs.readFileSync(journal + "/" + name);
      let end = bytes.length;
      while (end > 4096 && bytes[end - 1] === 0) end -= 1;
      bytes.fill(0, Math.max(4096, end - 2 * 1024 * 1024), end);
      fs.writeFileSync(journal + "/" + name, bytes);
    }
  ' -- "$@"
fi
exec "$REAL_NODE" "$@"
`;

const scriptsOfCheck = [
  'quickstart',
  'quickstart-check.bash',
  'build',
  'check-requirements',
  'jnbd',
  'failback',
  'handoff',
  'promote-replica',
  'systems.bash',
];

/** Programs that the scripts use where they are, and do without. */
const optional = /^(?:nbd|qemu|fio)/;

let directory: TemporaryDirectory;

beforeEach(() => {
  directory = temporaryDirectory('quickstart');
});

afterEach(() => {
  directory.remove();
});

/** What a fresh clone has, with the times that tell what is newer; not built. */
function copyOfClone(): string {
  const clone = join(directory.path, 'clone');
  mkdirSync(clone);
  for (const name of readdirSync(root)) {
    if (!/^(?:scripts|src|package.*\.json|tsconfig.*\.json)$/.test(name)) continue;
    cpSync(join(root, name), join(clone, name), { recursive: true, preserveTimestamps: true });
  }
  return clone;
}

/**
 * A PATH of nothing but the programs whose names are words of these scripts, and what a user is asked
 * to have.
 */
function programsNamedIn(scripts: readonly string[]): string {
  const programs = join(directory.path, 'programs');
  mkdirSync(programs);
  const text = scripts.map((name) => readFileSync(join(root, 'scripts', name), 'utf8')).join('\n');
  const words = new Set([...text.matchAll(/[a-z][a-z0-9._-]*/g)].map(([word]) => word));
  for (const word of [...words, 'git', 'bash', 'node', 'npm', 'env', 'sh']) {
    if (optional.test(word)) continue;
    const found = (process.env['PATH'] ?? '')
      .split(':')
      .map((path) => join(path, word))
      .find((path) => existsSync(path) && statSync(path).isFile());
    if (found !== undefined && !existsSync(join(programs, word))) {
      symlinkSync(found, join(programs, word));
    }
  }
  return programs;
}

function check(environment: Record<string, string> = {}) {
  return run(quickstart, ['--check'], {
    environment: { TMPDIR: directory.path, ...environment },
    timeoutSeconds: 190,
  });
}

describe('quickstart --check', () => {
  it('kills the daemon three times, loses nothing and leaves nothing', async () => {
    const { code, stdout, stderr } = await check();
    expect(stdout + stderr).toContain('check: passed');
    expect(
      stdout.match(/kill -9 number \d with \d+ writes acknowledged, \d+ in flight/g),
    ).toHaveLength(3);
    expect(stdout).toMatch(/^lag: .*first: primary, update \d+/m);
    expect(stdout).toMatch(/kill -9 of first with \d+ writes .*; (?:second|third) is primary/);
    expect(stdout).toContain('check: first is back, by the difference alone, and primary again');
    expect(code).toBe(0);
    expect(readdirSync(directory.path)).toEqual([]);
  });

  it('builds and does the same where no other NBD tools are', async () => {
    const clone = copyOfClone();
    symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'));
    const path = programsNamedIn(scriptsOfCheck);
    const { code, stdout, stderr } = await run(join(clone, 'scripts/quickstart'), ['--check'], {
      environment: { TMPDIR: directory.path, PATH: path },
      timeoutSeconds: 250,
    });
    expect(stdout + stderr).toContain('build: building');
    expect(stdout + stderr).not.toContain('command not found');
    expect(stdout + stderr).toMatch(/copying with our own client, writing with our own client/);
    expect(stdout + stderr).toContain('check: passed');
    expect(code).toBe(0);
  });

  it('fails when a restart forgets what was acknowledged', async () => {
    const programs = join(directory.path, 'programs');
    mkdirSync(programs);
    writeFileSync(join(programs, 'node'), forgetfulNode);
    chmodSync(join(programs, 'node'), 0o755);
    const { code, stdout, stderr } = await check({
      PATH: `${programs}:${process.env['PATH'] ?? ''}`,
      REAL_NODE: process.execPath,
    });
    expect(stdout).not.toContain('passed');
    expect(stderr).toMatch(/acknowledged data is lost in \d+ blocks|the daemon did not start/);
    expect(stderr).toMatch(/check: FAILED; data, log and record of what was written are in /);
    expect(code).toBe(1);
  });
});

describe('quickstart', () => {
  it('makes a volume, prints how to use it, stops at Ctrl-C and goes on', async () => {
    const ports = [await freePort(), await freePort()] as const;
    const data = join(directory.path, 'my data');
    const start = async (...args: string[]): Promise<Child> => {
      const child = new Child(
        quickstart,
        [
          ['--data', data],
          ['--nbd', `127.0.0.1:${ports[0]}`],
          ['--listen', `127.0.0.1:${ports[1]}`],
          args,
        ].flat(),
      );
      await until(
        () => `nothing was printed:\n${child.output}`,
        60,
        () => {
          if (child.exited) throw new Error(`it ended:\n${child.output}`);
          return child.output.includes(
            args.includes('--alone') ? 'jnbd status' : 'scripts/handoff',
          );
        },
      );
      return child;
    };
    const uri = `nbd://127.0.0.1:${ports[0]}/main/disk`;

    const first = await start();
    expect(first.output).toContain(
      `Volume main/disk (1024 MiB) is served at ${uri}\nfrom ${data}.`,
    );
    for (const line of [
      `nbdcopy --flush disk.img ${uri}`,
      `fio --name=try --ioengine=nbd --uri=${uri} `,
      `-drive driver=nbd,host=127.0.0.1,port=${ports[0]},export=main/disk,`,
      `nbd-client -N main/disk 127.0.0.1 ${ports[0]} /dev/nbd0 `,
      `nbd0 127.0.0.1 main/disk port=${ports[0]},`,
      `scripts/jnbd status --data ${data.replace(' ', '\\ ')}\n`,
    ]) {
      expect(first.output).toContain(line);
    }
    const contents = Buffer.alloc(8192, 0x5a);
    const client = await NbdClient.connectUri(uri);
    expect(client.sizeBytes).toBe(1024 ** 3);
    await client.write(4096, contents);
    await client.close();
    const copies = first.output.match(/^ {2}nbd:\S+(?= from \S.*-(?:second|third)$)/gm) ?? [];
    expect(copies).toHaveLength(2);
    for (const copy of copies) {
      await until(
        () => `${copy} has not what was written`,
        30,
        async () => {
          const reader = await NbdClient.connectUri(copy.trim());
          const isThere = (await reader.read(4096, 8192)).equals(contents);
          await reader.close();
          return isThere;
        },
      );
    }
    first.signal('SIGINT');
    expect(await first.exit).toEqual({ code: 0, signal: null });

    const second = await start();
    expect(second.output).not.toContain('making group');
    const again = await NbdClient.connectUri(uri);
    expect((await again.read(4096, 8192)).equals(contents)).toBe(true);
    await again.close();
    const daemon = Number(/"processId":(\d+)/.exec(second.output)?.[1]);
    process.kill(daemon, 'SIGKILL');
    await until(
      () => `it says nothing: ${second.output}`,
      10,
      () => second.output.includes('the copies go on; Ctrl-C stops them'),
    );
    second.signal('SIGINT');
    expect(await second.exit).toEqual({ code: 128 + 9, signal: null });
    expect(second.output).toContain('the daemon was ended by signal 9; start again');

    const third = await start('--alone');
    expect(third.output).not.toContain('Copies of it');
    third.signal('SIGTERM');
    expect(await third.exit).toEqual({ code: 0, signal: null });
  });

  it('names who holds a taken port, and how to use another one', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    try {
      await until(
        () => 'no port',
        5,
        () => holder.listening,
      );
      const { port } = holder.address() as AddressInfo;
      const { code, stderr } = await run(
        quickstart,
        [
          ['--data', join(directory.path, 'data')],
          ['--nbd', `127.0.0.1:${port}`],
          ['--listen', `127.0.0.1:${port + 1}`],
        ].flat(),
      );
      expect(stderr).toContain(`127.0.0.1:${port} is in use by process ${process.pid} (`);
      const free = /choose another: scripts\/quickstart .* --nbd 127\.0\.0\.1:(\d+) --listen/.exec(
        stderr,
      )?.[1];
      // The next one is free too, but taken by --listen.
      expect(Number(free)).toBeGreaterThan(port + 1);
      expect(code).toBe(4);
    } finally {
      holder.close();
    }
  });

  it.each([
    [['--nothing'], /there is no option --nothing/],
    [['--nbd'], /--nbd needs a value/],
    [['--nbd', 'unix:/tmp/socket'], /write HOST:PORT/],
    [['--nbd', 'here'], /'here' is not HOST:PORT/],
    [['--check', '--data', 'x'], /takes no other option/],
  ])('refuses %j', async (args, text) => {
    const { code, stderr } = await run(quickstart, args);
    expect(stderr).toMatch(text);
    expect(code).toBe(2);
  });
});

describe('the build', () => {
  it('says where the packages come from when they do not come', async () => {
    const clone = copyOfClone();
    const { code, stderr } = await run(join(clone, 'scripts/jnbd'), ['--version'], {
      environment: {
        npm_config_cache: join(directory.path, 'cache'),
        npm_config_registry: 'http://127.0.0.1:1/',
        npm_config_fetch_retries: '0',
      },
    });
    expect(stderr.trim().split('\n').at(-1)).toBe(
      'build: the packages could not be installed; they come from http://127.0.0.1:1/',
    );
    expect(code).toBe(1);
  });
});
