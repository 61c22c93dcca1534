import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, expect, it } from 'vitest';
import type { Status } from '../../../src/control/schema-status.ts';
import { systemNameOf } from '../../../src/group/catalog/names.ts';
import { build } from '../../support/built-program.ts';
import { type CommandFailed, Daemon } from '../../support/daemon.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../../support/temporary.ts';

let directory: TemporaryDirectory;
const daemons: Daemon[] = [];

beforeAll(build);

afterEach(async () => {
  for (const daemon of daemons.splice(0)) await daemon.kill();
  directory.remove();
});

async function start(place: string, ...args: string[]): Promise<Daemon> {
  const dataDirectory = join(directory.path, place);
  const daemon = await Daemon.start({ dataDirectory, arguments: args });
  daemons.push(daemon);
  return daemon;
}

async function nameOf(daemon: Daemon): Promise<string> {
  return ((await daemon.client('status')) as Status).system.name;
}

it('two systems that nobody named are named as their host, and told what to do when one is to follow the other', async () => {
  directory = temporaryDirectory('names');
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
  expect(await nameOf(await start('second')), 'the new name is kept').toBe('second');
  const again = daemons.at(-1) ?? renamed;
  await again.client('wait', 'g', '--for', 'synced', '--timeout', '30s');
  expect(((await first.client('status')) as Status).groups[0]?.secondaries).toMatchObject([
    { name: 'second' },
  ]);
});
