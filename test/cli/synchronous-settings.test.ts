import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { build } from '../support/built-program.ts';
import { Daemon } from '../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../support/temporary.ts';

let temporary: TemporaryDirectory;
let daemon: Daemon;

beforeAll(async () => {
  await build();
  temporary = temporaryDirectory('synchronous-settings');
  daemon = await Daemon.start({ dataDirectory: join(temporary.path, 'data') });
  await daemon.client('group', 'create', 'g', '--journal-size', '64MiB');
}, 120_000);

afterAll(async () => {
  await daemon.kill();
  temporary.remove();
});

it('are set one by one, kept, and the same again is no change', async () => {
  const configure = (...options: string[]) => daemon.client('group', 'configure', 'g', ...options);
  const all = ['--sync-wait', '2', '--sync-timeout', '700ms', '--on-sync-loss', 'stall'];
  expect(await configure(...all)).toMatchObject({
    result: 'done',
    group: { synchronous: { state: 'none', wait: 2, timeoutMilliseconds: 700, onLoss: 'stall' } },
  });
  expect(await configure(...all)).toMatchObject({ result: 'already_done' });
  expect(await configure('--sync-wait', 'all')).toMatchObject({ result: 'done' });
  await daemon.stop();
  await daemon.start();
  expect(await daemon.client('group', 'show', 'g')).toMatchObject({
    synchronous: { wait: 'all', timeoutMilliseconds: 700, onLoss: 'stall' },
  });
});
