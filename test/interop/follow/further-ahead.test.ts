import { expect, it } from 'vitest';
import { NbdClient } from '../../../src/nbd/client.ts';
import { jnbd } from '../../support/built-program.ts';
import { until } from '../../support/children.ts';
import { groupOf, systemsOf } from '../../support/systems.ts';

const start = systemsOf('ahead');

it('promote --dry-run names the secondary that is further ahead, and by how much', async () => {
  const [first, second, third] = [
    await start('first'),
    await start('second'),
    await start('third'),
  ];
  await first.client('group', 'create', 'g', '--journal-size', '64MiB');
  // Updates are those of the host alone: no point of theirs is among them.
  await first.client('group', 'configure', 'g', '--checksums', 'off');
  await first.client('volume', 'create', 'g/v', '--size', '16MiB');
  for (const follower of [second, third]) {
    await follower.client('follow', 'g', '--from', `http://127.0.0.1:${first.listenPort}`);
    await follower.client('wait', 'g', '--for', 'synced', '--timeout', '30s');
  }
  // They know of each other by what the source tells.
  await until(
    () => 'the second does not know the third',
    20,
    async () => (await groupOf(second)).members.some(({ name, url }) => name === 'third' && url),
  );
  await second.client('suspend', 'g');
  const client = await NbdClient.connectUri(first.uri('g/v'));
  for (let at = 0; at < 25; at += 1) await client.write(at * 4096, Buffer.alloc(4096, 7));
  await client.flush();
  await client.close();
  const { newest } = (await groupOf(first)).watermarks;
  await third.client('wait', 'g', '--for', `applied=${newest}`, '--timeout', '30s');
  await first.kill();

  const dryRun = ['promote', 'g', '--dry-run', '--data', second.dataDirectory];
  expect((await jnbd([...dryRun, '--json'])).json).toMatchObject({
    result: 'would_be_done',
    position: newest - 25,
    others: [{ name: 'third', newest, aheadUpdates: 25, isHeard: true }],
  });
  const { stdout } = await jnbd(dryRun);
  expect(stdout).toContain(
    `has 25 updates more, up to ${newest}; to keep them type there: jnbd promote g`,
  );

  await third.client('promote', 'g');
  expect((await jnbd(dryRun)).stdout).toContain(
    `system third at http://127.0.0.1:${third.listenPort} has generation 2: another system was promoted already`,
  );
  await third.kill();
  const { json } = await jnbd([...dryRun, '--json']);
  expect(json).toMatchObject({ others: [{ name: 'third', isHeard: false }] });
});
