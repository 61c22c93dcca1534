import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GroupStatus, Status } from '../../src/control/schema-status.ts';
import { must } from '../../src/platform/assert.ts';
import { MiB } from '../../src/platform/limits.ts';
import { run } from '../support/children.ts';
import { type CommandFailed, Daemon } from '../support/daemon.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { program } from '../support/tools.ts';

const nbdcopy = program('nbdcopy');
const qemuIo = program('qemu-io');
const sizeBytes = 64 * MiB;

async function statusOf(daemon: Daemon): Promise<GroupStatus> {
  const status = (await daemon.client('status')) as Status;
  return must(status.groups[0], 'there is a group');
}

async function copy(from: string, to: string): Promise<void> {
  const result = await run(nbdcopy ?? '', ['--flush', from, to], { timeoutSeconds: 60 });
  expect(result).toMatchObject({ code: 0 });
}

async function sameImages(a: Daemon, b: Daemon, directory: string): Promise<void> {
  await copy(a.uri('g/v'), join(directory, 'a.img'));
  await copy(b.uri('g/v'), join(directory, 'b.img'));
  const result = await run('cmp', [join(directory, 'a.img'), join(directory, 'b.img')]);
  expect(result).toMatchObject({ code: 0 });
}

describe.skipIf(nbdcopy === undefined || qemuIo === undefined)('systems that follow', () => {
  it('copy, keep up, are killed, cascade, and take over', { timeout: 180_000 }, async () => {
    const directory = temporaryDirectory('follow');
    const hooks = join(directory.path, 'hooks');
    const fence = join(hooks, 'before-promote');
    mkdirSync(hooks);
    writeFileSync(fence, '#!/bin/sh\necho the old primary may still write\nexit 1\n');
    chmodSync(fence, 0o755);
    const start = (name: string): Promise<Daemon> =>
      Daemon.start({
        dataDirectory: join(directory.path, name),
        arguments: ['--name', name, '--hooks', hooks],
      });
    const [first, second, third] = [
      await start('first'),
      await start('second'),
      await start('third'),
    ];
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
      await sameImages(first, second, directory.path);

      await third.client('follow', 'g', '--from', `http://127.0.0.1:${second.listenPort}`);
      await third.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
      const write = (daemon: Daemon, pattern: number, offset: string, length: string) =>
        run(qemuIo ?? '', [
          '-f',
          'raw',
          '-c',
          `write -P ${pattern} ${offset} ${length}`,
          daemon.uri('g/v'),
        ]);
      expect(await write(first, 0x11, '1M', '3M')).toMatchObject({ code: 0 });
      await second.kill();
      expect(await write(first, 0x22, '9M', '1M')).toMatchObject({ code: 0 });
      await second.start();
      const { watermarks } = await statusOf(first);
      for (const daemon of [second, third]) {
        await daemon.client(
          'wait',
          'g',
          '--for',
          `applied=${watermarks.newest}`,
          '--timeout',
          '60s',
        );
      }
      await sameImages(first, third, directory.path);
      const refused = await write(second, 0x33, '0', '4k');
      expect(refused.code, 'a secondary takes no writes').not.toBe(0);

      await first.kill();
      const vetoed = await second
        .client('promote', 'g')
        .catch((error: CommandFailed) => error.stderr);
      expect(vetoed).toContain('the old primary may still write');
      expect(await statusOf(second)).toMatchObject({ role: 'secondary' });
      rmSync(fence);
      await second.client('promote', 'g');
      expect(await write(second, 0x44, '20M', '1M')).toMatchObject({ code: 0 });
      const promoted = await statusOf(second);
      expect(promoted).toMatchObject({ role: 'primary', generation: 2, upstream: null });
      await third.client(
        'wait',
        'g',
        '--for',
        `applied=${promoted.watermarks.newest}`,
        '--timeout',
        '60s',
      );
      await sameImages(second, third, directory.path);

      await first.start();
      const returned = await statusOf(first);
      expect(returned).toMatchObject({ role: 'diverged', takenOver: { updates: 0 } });
      const stopped = await write(first, 0x55, '0', '4k');
      expect(stopped.code, 'an old primary takes no writes').not.toBe(0);
      await first.client('follow', 'g', '--from', `http://127.0.0.1:${second.listenPort}`);
      await first.client('wait', 'g', '--for', 'synced', '--timeout', '60s');
      await sameImages(second, first, directory.path);
    } finally {
      for (const daemon of [first, second, third]) await daemon.kill();
      directory.remove();
    }
  });
});
