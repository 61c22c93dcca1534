import { expect, it } from 'vitest';
import { NbdClient } from '../../../src/nbd/client.ts';
import { must } from '../../../src/platform/assert.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { sleep, until } from '../../support/children.ts';
import type { Daemon } from '../../support/daemon.ts';
import { groupOf, systemsOf } from '../../support/systems.ts';

const start = systemsOf('silent');

async function pair(...follow: string[]): Promise<[Daemon, Daemon]> {
  const [first, second] = [await start('first'), await start('second')];
  await first.client('group', 'create', 'g', '--journal-size', '64MiB');
  await first.client('volume', 'create', 'g/v', '--size', '32MiB');
  const from = ['--from', `http://127.0.0.1:${first.listenPort}`];
  await second.client('follow', 'g', ...from, ...follow);
  await second.client('wait', 'g', '--for', 'synced', '--timeout', '30s');
  return [first, second];
}

const lagAt = async (source: Daemon): Promise<number> =>
  (await groupOf(source)).secondaries[0]?.lag.received.seconds ?? Number.NaN;
const lagHere = async (follower: Daemon): Promise<number> =>
  (await groupOf(follower)).upstream?.lag.received.seconds ?? Number.NaN;

it('lag grows within seconds where the other side says nothing, though nothing is written', async () => {
  const [first, second] = await pair();
  await until(
    () => 'both are level',
    10,
    async () => (await lagAt(first)) === 0 && (await lagHere(second)) === 0,
  );
  await sleep(5000);
  expect([await lagAt(first), await lagHere(second)]).toEqual([0, 0]);

  process.kill(second.pid, 'SIGSTOP');
  await until(
    () => 'the source shows no lag',
    9,
    async () => (await lagAt(first)) > 0,
  );
  const before = await lagAt(first);
  await sleep(1000);
  expect(await lagAt(first)).toBeGreaterThan(before + 0.9);
  process.kill(second.pid, 'SIGCONT');
  await until(
    () => 'the follower is level again',
    20,
    async () => (await lagAt(first)) === 0,
  );

  process.kill(first.pid, 'SIGSTOP');
  await until(
    () => 'the follower shows no lag',
    9,
    async () => (await lagHere(second)) > 0,
  );
  process.kill(first.pid, 'SIGCONT');
  await until(
    () => 'it is level again',
    20,
    async () => (await lagHere(second)) === 0,
  );
});

it('a journal alone that was left behind says what to type, and goes on by that', async () => {
  const [first, second] = await pair('--journal-only');
  await second.kill();
  const client = await NbdClient.connectUri(first.uri('g/v'));
  for (let round = 0; (await groupOf(first)).secondaries[0]?.state !== 'behind'; round += 1) {
    expect(round, 'it is left behind').toBeLessThan(20);
    for (let at = 0; at < 16; at += 1) await client.write(at * MiB, Buffer.alloc(MiB, round + 1));
    await client.flush();
  }
  for (let at = 0; at < 16; at += 1) await client.write(at * MiB, Buffer.alloc(MiB, 99));
  await client.flush();
  await client.close();
  await second.start();
  const refused = async () =>
    (await groupOf(second)).conditions.find(({ code }) => code === 'follow_refused');
  await until(
    () => `it is not refused:\n${second.output}`,
    30,
    async () => (await refused()) !== undefined,
  );
  const [jnbd, ...words] = must(await refused(), 'it is refused').nextCommand.split(' ');
  expect(jnbd).toBe('jnbd');
  await second.client(...words);
  const { newest } = (await groupOf(first)).watermarks;
  await second.client('wait', 'g', '--for', `applied=${newest}`, '--timeout', '30s');
  const returned = await groupOf(second);
  expect(returned.branches).toMatchObject([{ fork: 0, first: 1 }]);
  expect(returned.conditions).toEqual([]);
});
