import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { GroupStatus, Status } from '../../src/control/schema-status.ts';
import { NbdClient } from '../../src/nbd/client.ts';
import { must } from '../../src/platform/assert.ts';
import { MiB } from '../../src/platform/limits.ts';
import { Child, run, runChecked, sleep, until } from '../support/children.ts';
import { program as jnbd } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';
import { missingPrograms, requireProgram } from '../support/tools.ts';

const isRoot = process.getuid?.() === 0;
const missing = [...(isRoot ? [] : ['the rights of root']), ...missingPrograms('ip')];
// Where everything can be had nothing is left out.
const isSkipped = missing.length > 0 && !(isRoot && process.env['CI'] === 'true');
if (isSkipped) console.warn(`test with network namespaces skipped: missing ${missing.join(', ')}`);

const sizeBytes = 64 * MiB;
const blockBytes = 4096;
const partitionMilliseconds = 6000;

function ip(...args: string[]) {
  return runChecked(requireProgram('ip'), args);
}

/** Two network namespaces with a wire between them: 10.99.7.1 and 10.99.7.2. */
class Wire {
  readonly names: readonly [string, string];

  private constructor(names: readonly [string, string]) {
    this.names = names;
  }

  static async lay(): Promise<Wire> {
    const names = [`jnbd-a-${process.pid}`, `jnbd-b-${process.pid}`] as const;
    const wire = new Wire(names);
    try {
      for (const name of names) {
        await ip('netns', 'add', name);
        await ip('-n', name, 'link', 'set', 'lo', 'up');
      }
      const [a, b] = names;
      const ends = ['wire', 'netns', a, 'type', 'veth', 'peer', 'name', 'wire', 'netns', b];
      await ip('link', 'add', ...ends);
      for (const [at, name] of names.entries()) {
        await ip('-n', name, 'address', 'add', `10.99.7.${at + 1}/24`, 'dev', 'wire');
        await ip('-n', name, 'link', 'set', 'wire', 'up');
      }
    } catch (error) {
      await wire.remove();
      throw error;
    }
    return wire;
  }

  async set(state: 'up' | 'down'): Promise<void> {
    await ip('-n', this.names[0], 'link', 'set', 'wire', state);
  }

  async remove(): Promise<void> {
    for (const name of this.names) await run(requireProgram('ip'), ['netns', 'del', name]);
  }
}

/** A daemon in a namespace, at the address of that, talked to over sockets in the file system. */
class System {
  readonly #directory: string;
  readonly #child: Child;

  private constructor(directory: string, child: Child) {
    this.#directory = directory;
    this.#child = child;
  }

  static async start(path: string, name: string, namespace: string, at: number): Promise<System> {
    const directory = join(path, name);
    const serve = [
      ['--name', name, '--data', directory],
      ['--nbd', `unix:${directory}.nbd`, '--listen', `10.99.7.${at}:10810`],
      ['--tls', 'allow', '--tls-dir', join(path, 'ca', name)],
    ].flat();
    const node = [process.execPath, jnbd, 'serve', ...serve];
    const child = new Child(requireProgram('ip'), ['netns', 'exec', namespace, ...node]);
    const system = new System(directory, child);
    await until(
      () => `${name} is not ready:\n${child.output}`,
      30,
      async () => {
        if (child.exited) throw new Error(`${name} ended:\n${child.output}`);
        const asked = await run(process.execPath, [jnbd, 'status', '--data', directory]);
        return asked.code === 0;
      },
    );
    return system;
  }

  get output(): string {
    return this.#child.output;
  }

  async command(...args: string[]): Promise<unknown> {
    const words = [jnbd, ...args, '--data', this.#directory, '--json'];
    const { stdout } = await runChecked(process.execPath, words);
    return JSON.parse(stdout) as unknown;
  }

  async group(): Promise<GroupStatus> {
    const status = (await this.command('status')) as Status;
    return must(status.groups[0], 'there is a group');
  }

  connect(): Promise<NbdClient> {
    return NbdClient.connectUri(`nbd+unix:///g/v?socket=${this.#directory}.nbd`);
  }

  async contents(): Promise<Buffer> {
    const client = await this.connect();
    const pieces: Buffer[] = [];
    for (let at = 0; at < sizeBytes; at += MiB) pieces.push(await client.read(at, MiB));
    await client.close();
    return Buffer.concat(pieces);
  }

  async end(): Promise<void> {
    // The process that runs in the namespace is the same one.
    this.#child.signal('SIGKILL');
    await this.#child.exit;
  }
}

/** Writes random blocks until it is told to stop; how many, and how long one took at most. */
async function writeUntil(
  system: System,
  isOver: () => boolean,
): Promise<{ writes: number; slowestMilliseconds: number }> {
  const client = await system.connect();
  let [writes, slowestMilliseconds] = [0, 0];
  while (!isOver()) {
    const block = Math.floor(Math.random() * (sizeBytes / blockBytes));
    const started = performance.now();
    await client.write(block * blockBytes, randomBytes(blockBytes), { fua: writes % 16 === 0 });
    slowestMilliseconds = Math.max(slowestMilliseconds, performance.now() - started);
    writes += 1;
    await sleep(2);
  }
  await client.close();
  return { writes, slowestMilliseconds };
}

describe.skipIf(isSkipped)('systems in different networks', () => {
  let directory: TemporaryDirectory | undefined;
  let wire: Wire | undefined;
  const systems: System[] = [];

  afterEach(async () => {
    for (const system of systems) await system.end();
    await wire?.remove();
    directory?.remove();
  });

  it('follow over TLS, part for some seconds, and are the same again', async () => {
    const { path } = (directory = temporaryDirectory('namespaces'));
    const pki = (...args: string[]) => runChecked(process.execPath, [jnbd, 'pki', ...args]);
    const authority = join(path, 'ca');
    await pki('init', authority);
    await pki('issue', authority, 'first', '--hosts', '10.99.7.1');
    await pki('issue', authority, 'second', '--hosts', '10.99.7.2', '--groups', 'g');
    wire = await Wire.lay();
    const start = async (name: string, at: 0 | 1): Promise<System> => {
      const system = await System.start(path, name, must(wire, 'it was laid').names[at], at + 1);
      systems.push(system);
      return system;
    };
    const [first, second] = [await start('first', 0), await start('second', 1)];
    await first.command('group', 'create', 'g', '--journal-size', '256MiB');
    await first.command('volume', 'create', 'g/v', '--size', String(sizeBytes));
    const follow = ['follow', 'g', '--from', 'https://10.99.7.1:10810'];
    await expect(second.command(...follow)).rejects.toThrow(/secondary allow g second/);
    await first.command('secondary', 'allow', 'g', 'second');
    await second.command(...follow);
    await second.command('wait', 'g', '--for', 'synced', '--timeout', '30s');

    let isOver = false;
    const writing = writeUntil(first, () => isOver);
    // It is waited for below, unless something else went wrong before.
    writing.catch(() => undefined);
    const lag = async () => {
      const [follower] = (await first.group()).secondaries;
      return must(follower, 'second follows').lag.received;
    };
    await sleep(500);
    await wire.set('down');
    await sleep(partitionMilliseconds);
    const parted = await lag();
    expect(parted.seconds).toBeGreaterThan((partitionMilliseconds / 1000) * 0.8);
    expect(parted.updates).toBeGreaterThan(100);
    await wire.set('up');
    const returned = performance.now();
    await until(
      () => `it does not come back:\n${second.output}`,
      40,
      async () => (await lag()).seconds < 1,
    );
    const backAfterSeconds = (performance.now() - returned) / 1000;
    isOver = true;
    const { writes, slowestMilliseconds } = await writing;
    expect(writes).toBeGreaterThan(500);
    expect(slowestMilliseconds, 'hosts did not notice').toBeLessThan(2000);
    expect(backAfterSeconds).toBeLessThan(30);

    await second.command('wait', 'g', '--for', 'synced', '--timeout', '30s');
    expect((await first.contents()).equals(await second.contents())).toBe(true);
    expect(second.output, 'the journal was all it needed').not.toContain('copy_completed');
  }, 120_000);
});
