import { expect, test } from 'vitest';
import { regionsChanged } from '../../../src/group/followers/changed-regions.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { RegionSet } from '../../../src/volume/region-set.ts';
import { serve, type Setting } from '../../journal/volume-under-test.ts';

const volumeId = 1;

function expected({ history }: Setting, from: number, through: number): RegionSet {
  return RegionSet.of(
    history
      .between(from, through)
      .map(({ offset, length }) => ({ volume: volumeId, offset, length })),
  );
}

async function compare(setting: Setting, from: number, through: number): Promise<void> {
  const { machine } = setting;
  const found = await machine.run(regionsChanged(machine.group(), from, through));
  const wanted = expected(setting, from, through);
  expect([...found.ranges()], `updates ${from + 1} to ${through}`).toEqual([...wanted.ranges()]);
}

for (const end of ['kill', 'losePower', 'stop'] as const) {
  test(`what updates changed is found in the journal, whatever became of it (${end})`, {
    timeout: 60_000,
  }, async () => {
    for (let seed = 0; seed < 3; seed += 1) {
      const setting = await serve(`${end} ${seed}`, {
        sizeBytes: 4 * MiB,
        journalCapacityBytes: 256 * MiB,
      });
      const { machine } = setting;
      machine.group().followers.register(7, 'b', 0);
      for (let life = 0; life < 3; life += 1) {
        // More than a segment holds, at times.
        await setting.writeMuch(machine.random.between(20, 300), machine.random.pick([512, 65536]));
        await setting.flush();
        await setting.writeMuch(machine.random.int(20));
        const { durable } = machine.group().watermarks;
        await compare(setting, 0, durable);
        for (let i = 0; i < 5; i += 1) {
          const from = machine.random.int(durable);
          await compare(setting, from, machine.random.between(from, durable));
        }
        await machine[end]();
        await machine.start();
        setting.reopen();
        setting.history.forgetAfter(machine.group().watermarks.newest);
      }
      await compare(setting, 0, machine.group().watermarks.durable);
    }
  });
}

test('it is found behind an area that failed too', async () => {
  const journalDirectories = ['/a', '/b'];
  const setting = await serve('areas', { sizeBytes: 4 * MiB, journalDirectories });
  const { machine } = setting;
  machine.group().followers.register(7, 'b', 0);
  await setting.writeMuch(100);
  await setting.flush();
  machine.machine.faults.add({ kind: 'sync_error', operation: 'sync', path: '/a' });
  await setting.writeMuch(100);
  await setting.flush();
  machine.machine.faults.clear();
  machine.machine.faults.add({ kind: 'sync_error', operation: 'sync', path: '/b' });
  await setting.writeMuch(100);
  await setting.host.flush();
  machine.machine.faults.clear();
  const { durable } = machine.group().watermarks;
  await compare(setting, 0, durable);
  await compare(setting, 50, durable - 50);
});

test('what is released is not known any more, and what cannot be read is told', async () => {
  const setting = await serve('gone', { sizeBytes: 4 * MiB });
  const { machine } = setting;
  await setting.writeMuch(600, 65536);
  await setting.flush();
  machine.group().hurryApply();
  await machine.until(() => machine.group().watermarks.released > 0);
  machine.group().followers.register(7, 'b', machine.group().watermarks.durable);
  await setting.writeMuch(300, 65536);
  await setting.flush();
  const { released, durable } = machine.group().watermarks;
  expect(released).toBeGreaterThan(0);
  await expect(
    machine.run(regionsChanged(machine.group(), released - 1, durable)),
  ).rejects.toMatchObject({ code: 'position_released' });
  const [oldest] = machine.group().chain.live();
  machine.machine.faults.add({
    kind: 'read_error',
    operation: 'read',
    path: oldest?.file.path ?? '',
  });
  await expect(
    machine.run(regionsChanged(machine.group(), released, durable)),
  ).rejects.toMatchObject({ code: 'record_unreadable' });
  machine.machine.faults.clear();
  await compare(setting, released, durable);
});
