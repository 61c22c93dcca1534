import { expect, it } from 'vitest';
import type { Result } from '../../../src/control/schema.ts';
import { NbdClient } from '../../../src/nbd/client.ts';
import { must } from '../../../src/platform/assert.ts';
import { until } from '../../support/children.ts';
import type { CommandFailed, Daemon } from '../../support/daemon.ts';
import { groupOf, systemsOf } from '../../support/systems.ts';

const start = systemsOf('stream');

async function primaryOf(...settings: string[]): Promise<Daemon> {
  const primary = await start('primary');
  await primary.client('group', 'create', 'g', '--journal-size', '64MiB');
  await primary.client('volume', 'create', 'g/v', '--size', '4MiB');
  await primary.client('group', 'configure', 'g', ...settings);
  return primary;
}

async function follower(name: string, { listenPort }: Daemon): Promise<Daemon> {
  const daemon = await start(name);
  await daemon.client('follow', 'g', '--sync', '--from', `http://127.0.0.1:${listenPort}`);
  return daemon;
}

async function untilMembers(primary: Daemon, count: number): Promise<void> {
  await until(
    () => `not ${count} followers are waited for\n${primary.output}`,
    30,
    async () => (await groupOf(primary)).synchronous.members.length === count,
  );
}

async function untilLoss(daemon: Daemon, state: 'zero' | 'unknown'): Promise<string> {
  let last = '';
  await until(
    () => `loss is not ${state}: ${last}\n${daemon.output}`,
    30,
    async () => {
      const { loss } = must((await groupOf(daemon)).upstream, 'it follows');
      last = `${loss.state} ${loss.text}`;
      return loss.state === state;
    },
  );
  return last;
}

async function write(primary: Daemon, count: number): Promise<void> {
  const client = await NbdClient.connectUri(primary.uri('g/v'));
  for (let i = 0; i < count; i += 1) await client.write(i * 4096, Buffer.alloc(4096, i + 1));
  await client.close();
}

function promote(daemon: Daemon, ...options: string[]): Promise<Result<'promote'>> {
  return daemon.client('promote', 'g', ...options) as Promise<Result<'promote'>>;
}

it('a follower on a stream is waited for without a delay, and says zero loss while its primary can be waiting for it', async () => {
  const primary = await primaryOf('--sync-timeout', '3s');
  const secondary = await follower('secondary', primary);
  await untilMembers(primary, 1);
  await write(primary, 1);
  const before = performance.now();
  await write(primary, 100);
  // By reads a write took up to their wait of 250 ms.
  expect((performance.now() - before) / 100).toBeLessThan(100);
  expect(await untilLoss(secondary, 'zero')).toContain('zero loss');
  const { newest } = (await groupOf(primary)).watermarks;
  await primary.kill();
  expect(await promote(secondary, '--dry-run')).toMatchObject({
    result: 'would_be_done',
    position: newest,
    loss: { state: 'zero' },
  });
  expect(await untilLoss(secondary, 'unknown')).toContain(`behind update ${newest}`);
  const late = await promote(secondary);
  expect(late).toMatchObject({ result: 'done', position: newest, loss: { state: 'unknown' } });
});

it('of any one of two followers a promotion needs to hear both, or is forced', async () => {
  const primary = await primaryOf('--sync-timeout', '3s', '--sync-wait', '1');
  const first = await follower('first', primary);
  const second = await follower('second', primary);
  await untilMembers(primary, 2);
  await write(primary, 20);
  await untilLoss(first, 'unknown');
  await until(
    () => `the first does not know enough\n${first.output}`,
    30,
    async () => (await promote(first, '--dry-run')).loss?.state === 'zero',
  );
  await second.kill();
  await primary.kill();
  const refused = await promote(first).then(
    () => undefined,
    (error: CommandFailed) => error,
  );
  expect(refused?.stderr).toContain('2 of them have to be heard');
  expect(await promote(first, '--force')).toMatchObject({ result: 'done' });
});
