import { createServer, connect, type Server, type Socket } from 'node:net';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GroupStatus, Status } from '../../src/control/schema-status.ts';
import { must } from '../../src/platform/assert.ts';
import { MiB } from '../../src/platform/limits.ts';
import { Child, run } from '../support/children.ts';
import { type CommandFailed, Daemon, program as jnbd } from '../support/daemon.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { program } from '../support/tools.ts';

const nbdcopy = program('nbdcopy');
const qemuIo = program('qemu-io');
const sizeBytes = 128 * MiB;

/** Counts what passes between two systems. */
class CountedLink {
  bytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(port: number) {
    this.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on('data', (chunk) => {
          this.bytes += chunk.length;
          to.write(chunk);
        });
        from.on('close', () => to.destroy());
        from.on('error', () => to.destroy());
      }
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function statusOf(daemon: Daemon): Promise<GroupStatus> {
  const status = (await daemon.client('status')) as Status;
  return must(status.groups[0], 'there is a group');
}

function io(daemon: Daemon, ...commands: string[]) {
  const all = commands.flatMap((command) => ['-c', command]);
  return run(qemuIo ?? '', ['-f', 'raw', ...all, daemon.uri('g/v')]);
}

async function copy(from: string, to: string): Promise<void> {
  const result = await run(nbdcopy ?? '', ['--flush', from, to], { timeoutSeconds: 60 });
  expect(result).toMatchObject({ code: 0 });
}

describe.skipIf(nbdcopy === undefined || qemuIo === undefined)('an old primary', () => {
  it('comes back by the difference, and leaves a branch', { timeout: 180_000 }, async () => {
    const directory = temporaryDirectory('rewind');
    const start = (name: string): Promise<Daemon> =>
      Daemon.start({ dataDirectory: join(directory.path, name), arguments: ['--name', name] });
    const [first, second] = [await start('first'), await start('second')];
    const link = new CountedLink(second.listenPort);
    try {
      await first.client('group', 'create', 'g', '--journal-size', '256MiB');
      await first.client('volume', 'create', 'g/v', '--size', String(sizeBytes));
      const image = join(directory.path, 'image');
      const contents = Buffer.alloc(sizeBytes);
      for (let at = 0; at < sizeBytes; at += 4096) contents.writeUInt32LE(at + 1, at);
      writeFileSync(image, contents);
      await copy(image, first.uri('g/v'));
      await second.client('follow', 'g', '--from', `http://127.0.0.1:${first.listenPort}`);
      await second.client('wait', 'g', '--for', 'synced', '--timeout', '60s');

      await second.client('suspend', 'g');
      expect(await io(first, 'write -P 0x11 40M 1M', 'flush')).toMatchObject({ code: 0 });
      const writes = Array.from({ length: 64 }, (_, i) => ['-c', `write -P 0x22 ${i + 8}M 64k`]);
      const writer = new Child(qemuIo ?? '', ['-f', 'raw', ...writes.flat(), first.uri('g/v')]);
      await first.kill();
      writer.signal('SIGKILL');
      await writer.exit;

      await second.client('promote', 'g');
      expect(await io(second, 'write -P 0x33 90M 1M', 'flush')).toMatchObject({ code: 0 });
      await first.start();
      const returned = await statusOf(first);
      expect(returned).toMatchObject({ role: 'diverged', generation: 1 });
      const { updates, fork } = must(returned.takenOver, 'another system took over');
      expect(updates).toBeGreaterThan(0);
      expect((await io(first, 'write -P 0x44 0 4k')).code, 'it takes no host').not.toBe(0);
      expect((await io(first, 'read 0 4k')).code, 'it takes no host').not.toBe(0);

      const port = await link.listen();
      const source = `http://127.0.0.1:${port}`;
      const refused = await first
        .client('follow', 'g', '--from', source)
        .catch((error: CommandFailed) => error);
      expect(refused).toMatchObject({ code: 4 });
      await first.client('follow', 'g', '--from', source, '--rewind');
      await first.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
      // 1 MiB each of both sides, and what of the writes under way had come.
      expect(link.bytes).toBeGreaterThan(2 * MiB);
      expect(link.bytes).toBeLessThan(9 * MiB);
      await copy(first.uri('g/v'), join(directory.path, 'a.img'));
      await copy(second.uri('g/v'), join(directory.path, 'b.img'));
      const compared = await run('cmp', [
        join(directory.path, 'a.img'),
        join(directory.path, 'b.img'),
      ]);
      expect(compared).toMatchObject({ code: 0 });
      expect(await statusOf(first)).toMatchObject({ role: 'secondary', conditions: [] });

      const { branches } = (await first.client('branch', 'list', 'g')) as {
        branches: { name: string }[];
      };
      const { name } = must(branches[0], 'there is a branch');
      const exported = join(directory.path, 'exported');
      await first.client('branch', 'export', 'g', name, '--to', exported);
      const words = ['journal', 'inspect', exported, '--json', '--from', String(fork + 1)];
      const inspected = await run(process.execPath, [jnbd, ...words]);
      expect(inspected).toMatchObject({ code: 0 });
      const { records, damaged } = JSON.parse(inspected.stdout) as {
        records: { number: number }[];
        damaged: boolean;
      };
      expect(damaged).toBe(false);
      expect(records.length).toBe(updates);
      await first.client('branch', 'delete', 'g', name, '--force');
    } finally {
      await link.close();
      for (const daemon of [first, second]) await daemon.kill();
      rmSync(directory.path, { recursive: true, force: true });
      directory.remove();
    }
  });
});
