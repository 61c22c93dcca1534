import { expect, test } from 'vitest';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { TestHost } from '../../journal/test-host.ts';
import { RollbackModel } from './rollback-model.ts';
import { hour } from './view-model.ts';

const volumes = [
  { name: 'a', sizeBytes: 2 * MiB },
  // No multiple of a block.
  { name: 'b', sizeBytes: 513 * KiB + 512 },
];

/** More of them for a campaign: `JNBD_ROLLBACK_SEEDS=200`. */
const seeds = Array.from(
  { length: Number(process.env['JNBD_ROLLBACK_SEEDS'] ?? 3) },
  (_, at) => at + 1,
);

const counted: RollbackModel['counts'][] = [];

async function started(name: string, journalCapacityBytes = 256 * MiB): Promise<RollbackModel> {
  const model = new RollbackModel(name, volumes, { cacheMissChance: 0.1 });
  await model.start({ journalCapacityBytes });
  model.watch();
  model.configure(hour);
  await model.beginBase();
  return model;
}

test.each(seeds)(
  'volumes become what they were, whatever happens on the way (%i)',
  async (seed) => {
    const model = await started(`rollbacks ${seed}`);
    const { machine } = model;
    const { random } = machine;
    for (let life = 0; life < 8; life += 1) {
      for (let step = 0; step < 25; step += 1) {
        const chance = random.int(100);
        if (chance < 40) await model.write();
        else if (chance < 60) await model.burst();
        else if (chance < 70) await model.clear(true);
        else if (chance < 78) await model.beginBase();
        else if (chance < 84 && model.snapshots.length < 3) await model.create();
        else if (chance < 87) await model.delete();
        else await machine.pass(random.int(800));
      }
      await model.flush();
      const to = model.anyNumber();
      const { disk } = machine;
      let isOver = false;
      if (to !== undefined) {
        const only = random.chance(0.3) ? [random.pick(model.volumes).name] : 'all';
        if (random.chance(0.5)) {
          // Killed soon, wherever it is then.
          await model.begin(to, only);
          await machine.pass(random.int(random.pick([5, 25, 60])));
        } else {
          const operation = random.pick(['write', 'sync', 'entry', 'read'] as const);
          const nth = random.between(1, random.pick([10, 80, 2000]));
          machine.machine.faults.add({ kind: 'death', operation, nth });
          await model.rollBack(to, only).catch((error: unknown) => {
            if (!disk.isDead) throw error;
          });
          isOver = !disk.isDead;
        }
      }
      machine.machine.faults.clear();
      if (isOver && random.chance(0.5)) await model.checkAll();
      if (random.chance(0.5)) machine.kill();
      else machine.losePower();
      model.forgetHosts();
      await machine.start();
      model.watch();
      model.forgetAfter();
      await model.settle();
      await model.checkAll();
      expect(machine.group().conditions.list()).toEqual([]);
      const { newest } = machine.group().watermarks;
      if (model.isShown(newest)) await model.createView(newest);
      await model.checkViews();
      while (model.views.length > 0) await model.deleteView();
    }
    await model.checkAll();
    counted.push(model.counts);
  },
);

test('some of these ended in the life that began them, and some in the next', () => {
  const sum = (of: (counts: RollbackModel['counts']) => number): number =>
    counted.reduce((all, counts) => all + of(counts), 0);
  expect(sum(({ ended }) => ended)).toBeGreaterThan(0);
  expect(sum(({ resumed }) => resumed)).toBeGreaterThan(0);
  expect(sum(({ lost }) => lost)).toBeGreaterThan(0);
});

test('to a snapshot, without any window, and back again', async () => {
  const model = new RollbackModel('snapshot', volumes);
  const { machine } = model;
  await model.start({ journalCapacityBytes: 256 * MiB });
  model.watch();
  for (let at = 0; at < 10; at += 1) await model.write();
  await model.create();
  const snapshot = must(model.snapshots[0], 'it was made').number;
  for (let at = 0; at < 30; at += 1) await model.write();
  await model.clear(true);
  await model.create();
  const second = must(model.snapshots[1], 'it was made').number;
  expect(await model.rollBack(snapshot)).toBe(true);
  await model.checkAll();
  expect(await model.rollBack(second)).toBe(true);
  await model.checkAll();
  expect(await model.rollBack(second)).toBe(false);
  await machine.pass(2000);
  await expect(model.rollBack(snapshot - 1)).rejects.toThrow(/--history 24h/);
  expect(machine.disk.existsSync('/data/groups/g/rollbacks')).toBe(false);
});

test('a stage that is not complete any more is made anew of the own past', async () => {
  const model = await started('no stage');
  const { machine } = model;
  for (let at = 0; at < 10; at += 1) await model.write();
  await model.flush();
  const to = machine.group().watermarks.newest;
  for (let at = 0; at < 60; at += 1) await model.write();
  await model.flush();
  await model.begin(to);
  const isWriting = (): boolean => {
    const running = model.rollbacks.progress(machine.group());
    return running?.state === 'writing' && running.doneBytes > 0;
  };
  await machine.until(isWriting);
  machine.kill();
  model.forgetHosts();
  await machine.start();
  const all = '/data/groups/g/rollbacks';
  const [plan] = machine.disk.listSync(all);
  machine.disk.removeFileSync(`${all}/${plan}/stage`);
  model.watch();
  // The rest of it is worth nothing.
  expect(machine.disk.existsSync(all)).toBe(false);
  const before = machine.clock.monotonicMilliseconds();
  await model.settle();
  // At once, and not when it is tried again.
  expect(machine.clock.monotonicMilliseconds() - before).toBeLessThan(30_000);
  await model.checkAll();
  expect(model.counts.resumed).toBe(1);
  expect(machine.disk.existsSync(all)).toBe(false);
});

test('what cannot be gathered takes no space', async () => {
  const model = await started('no past');
  const { machine } = model;
  for (let at = 0; at < 10; at += 1) await model.write();
  await model.flush();
  const to = machine.group().watermarks.newest;
  for (let at = 0; at < 60; at += 1) await model.write();
  await model.flush();
  const { faults } = machine.machine;
  const path = '/data/groups/g/rollbacks';
  faults.add({ kind: 'no_space', operation: 'write', path, nth: 4, times: 1000 });
  await expect(model.rollBack(to)).rejects.toMatchObject({ code: 'disk_full' });
  faults.clear();
  expect(machine.disk.existsSync(path)).toBe(false);
  expect(await model.rollBack(to)).toBe(true);
  await model.checkAll();
});

test('to a snapshot of a volume that ended within a block and grew', async () => {
  const model = new RollbackModel('grown', volumes);
  const { machine } = model;
  await model.start({ journalCapacityBytes: 256 * MiB });
  model.watch();
  await model.create();
  const { number } = must(model.snapshots[0], 'it was made');
  const { resizeVolume } = await import('../../../src/group/volumes/volume-changes.ts');
  const b = must(machine.group().volumes.get('b'), 'b');
  await machine.run(resizeVolume(machine.group(), b, MiB));
  const wide = new TestHost(machine, 'g/b');
  await wide.write(513 * KiB + 512, machine.random.bytes(512));
  await wide.write(768 * KiB, machine.random.bytes(512));
  wide.close();
  expect(await model.rollBack(number, ['b'])).toBe(true);
  const now = new TestHost(machine, 'g/b');
  const found = (await now.read(0, MiB)) as Buffer;
  expect(found.every((byte) => byte === 0)).toBe(true);
});

test('grown since, made since, deleted since', async () => {
  const model = await started('catalog');
  const { machine } = model;
  await model.write();
  await machine.pass(500);
  const to = machine.group().watermarks.newest;
  const { resizeVolume, deleteVolume } = await import(
    '../../../src/group/volumes/volume-changes.ts'
  );
  const a = must(machine.group().volumes.get('a'), 'a');
  await machine.run(resizeVolume(machine.group(), a, 4 * MiB));
  const wide = new TestHost(machine, 'g/a');
  await wide.write(3 * MiB, machine.random.bytes(4096));
  await wide.write(2 * MiB - 2048, machine.random.bytes(4096));
  wide.close();
  await machine.createVolume('c', MiB);
  const made = new TestHost(machine, 'g/c');
  const bytes = machine.random.bytes(4096);
  await made.write(0, bytes);
  made.close();
  model.close('b');
  await machine.run(deleteVolume(machine.group(), 'b', true));
  const group = machine.group();
  const estimate = await machine.run(model.rollbacks.estimate(group, 'all', to));
  expect(estimate).toMatchObject({ to, newer: ['c'], deleted: ['b'] });
  const c = must(group.volumes.get('c'), 'c');
  await expect(machine.run(model.rollbacks.estimate(group, c, to))).rejects.toThrow(
    /volume c was not there/,
  );
  const progress = { signal: new AbortController().signal, reached: () => undefined };
  expect(await machine.run(model.rollbacks.rollBack(group, estimate, progress))).toBe(true);
  const now = new TestHost(machine, 'g/a');
  expect(now.session.sizeBytes).toBe(4 * MiB);
  const found = (await now.read(0, 4 * MiB)) as Buffer;
  expect(found.subarray(0, 2 * MiB).equals(model.history.contents('g/a', 2 * MiB, to))).toBe(true);
  expect(found.subarray(2 * MiB).every((byte) => byte === 0)).toBe(true);
  now.close();
  const left = new TestHost(machine, 'g/c');
  expect(((await left.read(0, 4096)) as Buffer).equals(Buffer.from(bytes))).toBe(true);
});

test('nothing is written to a volume behind the record that deletes it', async () => {
  let deletions = 0;
  for (let waited = 0; waited < 150; waited += 1) {
    const model = await started(`deleted ${waited}`);
    const { machine } = model;
    const { deleteVolume } = await import('../../../src/group/volumes/volume-changes.ts');
    const b = new TestHost(machine, 'g/b');
    await b.write(0, machine.random.bytes(4096));
    const a = new TestHost(machine, 'g/a');
    await a.write(0, machine.random.bytes(4096));
    await model.flush();
    const to = machine.group().watermarks.newest;
    await a.write(0, machine.random.bytes(64 * KiB));
    await b.write(0, machine.random.bytes(64 * KiB));
    await model.flush();
    a.close();
    b.close();
    const { ended } = await model.begin(to);
    const isWriting = (): boolean => model.rollbacks.progress(machine.group())?.state === 'writing';
    await machine.until(isWriting);
    await machine.pass(waited / 25);
    const deleted = await machine.run(deleteVolume(machine.group(), 'b', true)).catch(String);
    expect(String(deleted)).toMatch(/^true$|is in use|is being filled/);
    if (deleted === true) deletions += 1;
    expect(await machine.run(ended, 60_000)).toBe(true);
    machine.kill();
    await machine.start();
    expect([...machine.group().volumes.keys()]).toEqual(deleted === true ? ['a'] : ['a', 'b']);
  }
  expect(deletions).toBeGreaterThan(0);
});
