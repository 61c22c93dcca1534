import { hostname } from 'node:os';
import { expect, it } from 'vitest';
import type { Status } from '../../../src/control/schema-status.ts';
import { systemNameOf } from '../../../src/group/catalog/names.ts';
import type { CommandFailed, Daemon } from '../../support/daemon.ts';
import { groupOf, systemsOf } from '../../support/systems.ts';

const start = systemsOf('names', () => []);

async function nameOf(daemon: Daemon): Promise<string> {
  return ((await daemon.client('status')) as Status).system.name;
}

it('two systems that nobody named are named as their host, and told what to do when one is to follow the other', async () => {
  const first = await start('first');
  const second = await start('second');
  const name = systemNameOf(hostname());
  expect([await nameOf(first), await nameOf(second)]).toEqual([name, name]);
  await first.client('group', 'create', 'g', '--journal-size', '64MiB');
  await first.client('volume', 'create', 'g/v', '--size', '1MiB');
  const follow = ['follow', 'g', '--from', `http://127.0.0.1:${first.listenPort}`];
  const refused = await second.client(...follow).then(
    () => undefined,
    (error: CommandFailed) => error,
  );
  expect(refused?.code).toBe(4);
  expect(refused?.stderr).toContain(`named ${name}`);
  expect(refused?.stderr).toContain('jnbd serve --rename NAME');

  await second.stop();
  const renamed = await start('second', '--rename', 'second');
  await renamed.client(...follow);
  await renamed.stop();
  const again = await start('second');
  expect(await nameOf(again), 'the new name is kept').toBe('second');
  await again.client('wait', 'g', '--for', 'synced', '--timeout', '30s');
  expect((await groupOf(first)).secondaries).toMatchObject([{ name: 'second' }]);
});
