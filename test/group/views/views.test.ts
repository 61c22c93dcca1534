import { expect, test } from 'vitest';
import { deleteVolume, resizeVolume } from '../../../src/group/volumes/volume-changes.ts';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { TestHost } from '../../journal/test-host.ts';
import { hour, ViewModel } from './view-model.ts';

const volumes = [
  { name: 'a', sizeBytes: 2 * MiB },
  // No multiple of a block.
  { name: 'b', sizeBytes: 513 * KiB + 512 },
];

/** More of them for a campaign: `JNBD_VIEW_SEEDS=200`. */
const seeds = Array.from(
  { length: Number(process.env['JNBD_VIEW_SEEDS'] ?? 2) },
  (_, at) => at + 1,
);

test.each(seeds)('any instant of the window reads what it was (%i)', async (seed) => {
  const model = new ViewModel(`views ${seed}`, volumes, { cacheMissChance: 0.3 });
  const { machine } = model;
  await model.startWithBase({ journalCapacityBytes: 1024 * MiB });
  const { random } = machine;
  for (let step = 0; step < 150; step += 1) {
    const chance = random.int(100);
    if (chance < 25) await model.write();
    else if (chance < 40) await model.burst();
    else if (chance < 46) await model.clear(false);
    else if (chance < 50) await model.trim();
    else if (chance < 56) await model.beginBase();
    else if (chance < 64 && model.views.length < 6) await model.createView();
    else if (chance < 67) await model.deleteView();
    else if (chance < 90) await model.readView();
    else if (chance < 98) await machine.pass(random.int(400));
    else {
      await machine.stop();
      model.forgetHosts();
      await machine.start();
      await model.untilOpen();
    }
  }
  await model.checkViews();
  await model.checkAll();
  expect(model.compared).toBeGreaterThan(20);
  expect(machine.group().conditions.list()).toEqual([]);
});

test.each(seeds)('no crash changes the past (%i)', async (seed) => {
  const model = new ViewModel(`crashes ${seed}`, volumes, { cacheMissChance: 0.1 });
  const { machine } = model;
  await model.startWithBase({ journalCapacityBytes: 1024 * MiB });
  const { random } = machine;
  for (let life = 0; life < 6; life += 1) {
    for (let step = 0; step < 40; step += 1) {
      const chance = random.int(100);
      if (chance < 30) await model.write();
      else if (chance < 55) await model.burst();
      else if (chance < 60) await model.clear(true);
      else if (chance < 66) await model.beginBase();
      else if (chance < 74 && model.views.length < 5) await model.createView();
      else if (chance < 78) await model.deleteView();
      else if (chance < 86) await model.readView();
      else if (chance < 95) await machine.pass(random.int(1000));
      else await model.flush();
    }
    if (random.chance(0.3)) machine.kill();
    else machine.losePower();
    model.forgetHosts();
    await machine.start();
    model.forgetAfter();
    await model.untilOpen();
    await model.checkViews();
    for (let count = 0; count < 3; count += 1) await model.createView();
    await model.checkViews();
    while (model.views.length > 2) await model.deleteView();
  }
});

test('a view of now needs no window, and nothing is kept behind it', async () => {
  const model = new ViewModel('now', volumes);
  const { machine } = model;
  await model.start();
  await model.write();
  await machine.pass(1000);
  await model.createView(machine.group().watermarks.newest);
  for (let count = 0; count < 20; count += 1) await model.write();
  await machine.pass(1000);
  await model.checkViews();
  expect(model.past.history.bases).toHaveLength(1);
  await expect(machine.run(model.past.create('before', 1))).rejects.toThrow(/not kept any more/);
  await model.deleteView();
  await machine.pass(1000);
  expect(model.past.history.bases).toEqual([]);
  expect(machine.disk.listSync('/data/groups/g/history')).toEqual([]);
  await expect(machine.run(model.past.create('before', 1))).rejects.toThrow(/--history 24h/);
});

test('volumes are as they were: made, grown and deleted since', async () => {
  const model = new ViewModel('catalog', volumes);
  const { machine } = model;
  await model.startWithBase();
  await model.write();
  await machine.pass(1000);
  const { newest } = machine.group().watermarks;
  await machine.createVolume('c', MiB);
  const host = new TestHost(machine, 'g/c', model.history);
  await host.write(0, machine.random.bytes(8192));
  host.close();
  await machine.pass(1000);
  const volume = must(machine.group().volumes.get('a'), 'a');
  const grown = machine.group().watermarks.newest;
  await machine.run(resizeVolume(machine.group(), volume, 4 * MiB));
  const wide = new TestHost(machine, 'g/a', model.history);
  await wide.write(3 * MiB, machine.random.bytes(4096));
  wide.close();
  await machine.pass(1000);
  for (const { name } of volumes) model.close(name);
  await machine.run(deleteVolume(machine.group(), 'b', true));
  const before = (await machine.run(model.past.create('before', newest))).view;
  expect(before.volumes.map(({ entry }) => [entry.name, entry.sizeBytes])).toEqual([
    ['a', 2 * MiB],
  ]);
  expect(before.missing).toEqual(['b']);
  const after = (await machine.run(model.past.create('after', grown))).view;
  expect(after.volumes.map(({ entry }) => entry.name)).toEqual(['a', 'c']);
  for (const [name, number, size] of [
    ['a', newest, 2 * MiB],
    ['c', grown, MiB],
  ] as const) {
    const reader = new TestHost(machine, `g/${name}@${number === newest ? 'before' : 'after'}`);
    const found = await reader.read(0, size);
    expect(model.history.contents(`g/${name}`, size, number).equals(found as Buffer)).toBe(true);
    reader.close();
  }
});

test('history goes before hosts wait for room in the journal', async () => {
  const model = new ViewModel('full', volumes);
  const { machine } = model;
  await model.startWithBase({ journalCapacityBytes: 64 * MiB });
  await model.createView();
  const host = model.host('a');
  const bytes = machine.random.bytes(192 * KiB);
  for (let count = 0; count < 500; count += 1) {
    expect(await host.write(0, bytes)).toBeGreaterThan(0);
    if (count % 20 === 0) await machine.pass(200);
  }
  await machine.pass(10_000);
  const codes = machine.events.map(({ code }) => code);
  expect(codes).toContain('history_shortened');
  expect(codes).toContain('view_ended');
  expect(
    machine
      .group()
      .conditions.list()
      .map(({ code }) => code),
  ).toEqual(['history_short']);
});

test('what cannot be saved ends the history, and hosts go on', async () => {
  const model = new ViewModel('space', [{ name: 'a', sizeBytes: 2 * MiB }]);
  const { machine } = model;
  await model.startWithBase({ journalCapacityBytes: 256 * MiB });
  const fill = async (): Promise<void> => {
    for (let at = 0; at < 2 * MiB; at += 128 * KiB)
      await model.host('a').write(at, machine.random.bytes(128 * KiB));
    await machine.pass(3000);
  };
  await fill();
  await model.beginBase();
  await model.createView(machine.group().watermarks.newest);
  const disk = machine.machine;
  disk.capacityBytes = disk.allocatedBytes + 256 * KiB;
  await fill();
  await machine.pass(3000);
  const { watermarks, conditions } = machine.group();
  expect(watermarks.applied).toBe(watermarks.newest);
  expect(model.past.history.bases).toEqual([]);
  expect(model.past.list).toEqual([]);
  expect(conditions.list().map(({ code }) => code)).toEqual(['history_failed']);
  expect(machine.disk.listSync('/data/groups/g/history')).toEqual([]);
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  await machine.pass(70_000);
  await fill();
  expect(model.past.history.bases).toHaveLength(1);
  expect(conditions.list().map(({ code }) => code)).not.toContain('history_failed');
  await model.checkAll();
});

test('a disk that does not tell how much the past takes ends nothing', async () => {
  const model = new ViewModel('untold', [{ name: 'a', sizeBytes: 2 * MiB }]);
  const { machine } = model;
  await model.startWithBase({ journalCapacityBytes: 256 * MiB });
  for (let at = 0; at < 2 * MiB; at += 128 * KiB)
    await model.host('a').write(at, machine.random.bytes(128 * KiB));
  await machine.pass(3000);
  const { bytes } = model.past.history;
  const { faults } = machine.machine;
  faults.add({
    kind: 'read_error',
    operation: 'read',
    path: '/data/groups/g/history',
    times: 1000,
  });
  await machine.pass(3000);
  expect(machine.group().state).toBe('normal');
  expect(model.past.history.bytes).toBe(bytes);
  faults.clear();
  await model.checkAll();
});

test('history that cannot be read behind a start ends, and nothing else', async () => {
  const model = new ViewModel('unread', [{ name: 'a', sizeBytes: 2 * MiB }]);
  const { machine } = model;
  await begunBefore(model);
  const { faults } = machine.machine;
  faults.add({ kind: 'read_error', operation: 'read', path: newestBitmap(model) });
  await model.host('a').write(0, machine.random.bytes(64 * KiB));
  await machine.pass(3000);
  const { watermarks, conditions, state } = machine.group();
  expect(state).toBe('normal');
  expect(watermarks.applied).toBe(watermarks.newest);
  expect(model.past.history.bases).toEqual([]);
  expect(machine.disk.listSync('/data/groups/g/history')).toEqual([]);
  const [failed] = conditions.list();
  expect(failed).toMatchObject({ code: 'history_failed', severity: 'error' });
  expect(failed?.message).toMatch(/which blocks it has is not known: .*EIO/);
  faults.clear();
  await machine.pass(70_000);
  expect(model.past.history.bases).toHaveLength(1);
  expect(conditions.list()).toEqual([]);
  await model.createView();
  await model.checkViews();
  await model.checkAll();
});

test('a base begins behind a start though the one before cannot be read any more', async () => {
  const model = new ViewModel('unread before', [{ name: 'a', sizeBytes: 2 * MiB }]);
  const { machine } = model;
  await begunBefore(model, () => model.createView());
  await model.untilOpen();
  const { faults } = machine.machine;
  faults.add({ kind: 'read_error', operation: 'read', path: newestBitmap(model) });
  await model.beginBase();
  expect(machine.group().state).toBe('normal');
  expect(model.past.history.bases).toHaveLength(2);
  faults.clear();
  await model.checkViews();
});

test('a base that was ahead of the checkpoint shows what it did, also after the next crash', async () => {
  const model = new ViewModel('ahead', volumes);
  const { machine } = model;
  await model.startWithBase({ journalCapacityBytes: 1024 * MiB });
  for (let life = 0; life < 3; life += 1) {
    for (let count = 0; count < 10; count += 1) await model.write();
    await machine.pass(500);
    await model.beginBase();
    const { number } = must(model.past.history.bases.at(-1), 'it began');
    const checkpoint = machine.group().driver.checkpoint.applied;
    expect(checkpoint).toBeLessThan(number);
    await model.createView(number);
    for (let count = 0; count < 10; count += 1) await model.write();
    await machine.pass(500);
    machine.losePower();
    model.forgetHosts();
    await machine.start();
    model.forgetAfter();
    await model.untilOpen();
    const base = model.past.history.bases.find((each) => each.number === number);
    expect(base?.redoneFrom).toBe(checkpoint);
    await model.checkViews();
  }
  expect(
    model.past.history.bases.filter(({ redoneFrom }) => redoneFrom !== undefined),
  ).toHaveLength(3);
});

test('where it cannot be noted that updates are applied again the history ends, not the group', async () => {
  const model = new ViewModel('not noted', volumes);
  const { machine } = model;
  await model.start({ journalCapacityBytes: 1024 * MiB });
  model.configure(hour);
  await model.write();
  await machine.pass(500);
  await model.beginBase();
  const { directory } = must(model.past.history.bases.at(-1), 'it began');
  machine.kill();
  model.forgetHosts();
  machine.machine.faults.add({
    kind: 'no_space',
    operation: 'write',
    path: `${directory}/base`,
  });
  await machine.start();
  expect(machine.group().state).toBe('normal');
  expect(model.past.history.bases).toEqual([]);
  expect(machine.group().conditions.list()).toMatchObject([{ code: 'history_failed' }]);
  machine.machine.faults.clear();
  await model.write();
  await machine.pass(120_000);
  expect(model.past.history.bases.length).toBeGreaterThan(0);
  expect(machine.group().conditions.list()).toEqual([]);
});

/** A base is there that has blocks, found by a start with nothing to be applied. */
async function begunBefore(
  model: ViewModel,
  more: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const { machine } = model;
  // So large that a start, which begins a segment, is no reason for another base.
  await model.start({ journalCapacityBytes: 1024 * MiB });
  await model.host('a').write(0, machine.random.bytes(128 * KiB));
  await machine.pass(3000);
  model.configure(hour);
  await model.beginBase();
  await model.host('a').write(0, machine.random.bytes(128 * KiB));
  await more();
  // A checkpoint of all of it.
  await machine.pass(20_000);
  await machine.stop();
  model.forgetHosts();
  await machine.start();
}

function newestBitmap({ past }: ViewModel): string {
  return `${past.history.bases.at(-1)?.directory}/0001.bitmap`;
}
