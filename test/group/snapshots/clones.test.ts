import { expect, test } from 'vitest';
import { createClone, deleteClone } from '../../../src/group/volumes/clone-changes.ts';
import { createSnapshot, deleteSnapshot } from '../../../src/group/volumes/snapshot-changes.ts';
import { must } from '../../../src/platform/assert.ts';
import { KiB } from '../../../src/platform/limits.ts';
import { type CloneModel, dieAtClones, makeClone, removeClone } from './clone-model.ts';
import { SnapshotModel } from './snapshot-model.ts';

const volumes = [
  { name: 'a', sizeBytes: 512 * KiB },
  // No multiple of a block.
  { name: 'b', sizeBytes: 129 * KiB + 512 },
];

async function modelWithSnapshot(seed: string, cacheMissChance: number): Promise<SnapshotModel> {
  const model = new SnapshotModel(seed, volumes, { cacheMissChance });
  await model.start();
  for (let count = 0; count < 30; count += 1) await model.write();
  await model.create();
  for (let count = 0; count < 10; count += 1) await model.write();
  return model;
}

test.each([1, 2, 3, 4])('a clone is a disk of its own (%i)', async (seed) => {
  const model = await modelWithSnapshot(`clones ${seed}`, 0.3);
  const { machine } = model;
  const { random } = machine;
  const snapshot = must(model.snapshots[0], 'it was made');
  const clones = [0, 1].map((at) => makeClone(model, snapshot, `c${at}`, random.pick(volumes)));
  for (let step = 0; step < 200; step += 1) {
    const clone = random.pick(clones);
    const chance = random.int(100);
    if (chance < 30) await clone.write();
    else if (chance < 45) await clone.clear();
    else if (chance < 55) await clone.burst();
    else if (chance < 75) await model.write();
    else if (chance < 80) await clone.flush();
    else if (chance < 85) await clone.check();
    else if (chance < 88) clone.checkExtents();
    else if (chance < 97) await machine.pass(random.int(500));
    else {
      await machine.stop();
      model.forgetHosts();
      for (const each of clones) each.forgetHost();
      await machine.start();
      // What was written was synced at the end.
      for (const each of clones) await each.check();
    }
  }
  for (const clone of clones) {
    await clone.check();
    clone.checkExtents();
  }
  // Nobody else has any of it.
  await model.checkAll();
  for (const clone of clones) await removeClone(model, clone);
  expect(machine.group().conditions.list()).toEqual([]);
});

async function livesUntilDeath(model: SnapshotModel, clone: CloneModel): Promise<void> {
  const { machine } = model;
  const { random } = machine;
  const { disk } = machine;
  dieAtClones(model);
  try {
    for (let step = 0; step < 40; step += 1) {
      const chance = random.int(100);
      if (chance < 45) await clone.write();
      else if (chance < 65) await clone.clear();
      else if (chance < 75) await clone.flush();
      else if (chance < 85) clone.beginFlush();
      else if (chance < 95) await machine.pass(random.int(random.pick([3, 1500])));
      else await clone.check();
    }
  } catch (error) {
    if (!disk.isDead) throw error;
  }
}

test.each(Array.from({ length: 12 }, (_, at) => at))(
  'what was flushed to a clone is there after any crash (%i)',
  async (seed) => {
    const model = await modelWithSnapshot(`clone crashes ${seed}`, 0.1);
    const { machine } = model;
    const { random } = machine;
    const clone = makeClone(model, must(model.snapshots[0], 'made'), 'c', random.pick(volumes));
    for (let life = 0; life < 6; life += 1) {
      await livesUntilDeath(model, clone);
      machine.machine.faults.clear();
      if (random.chance(0.25)) machine.kill();
      else machine.losePower();
      model.forgetHosts();
      clone.forgetHost();
      await machine.start();
      model.forgetAfter();
      await clone.adopt();
    }
    await clone.check();
    await model.checkAll();
  },
);

test.each([1, 2, 3, 4, 5, 6])(
  'making and deleting clones survives any crash (%i)',
  async (seed) => {
    const model = await modelWithSnapshot(`clone files ${seed}`, 0);
    const { machine } = model;
    const snapshot = must(model.snapshots[0], 'made');
    for (let life = 0; life < 8; life += 1) {
      const { disk } = machine;
      dieAtClones(model);
      let known: CloneModel | undefined;
      try {
        known = makeClone(model, snapshot, 'c', must(volumes[0], 'there is one'));
        await known.check();
        await known.write();
        await removeClone(model, known);
        known = undefined;
      } catch (error) {
        if (!disk.isDead) throw error;
      }
      machine.machine.faults.clear();
      if (machine.random.chance(0.3)) machine.kill();
      else machine.losePower();
      model.forgetHosts();
      known?.forgetHost();
      await machine.start();
      const found = machine.group().snapshots.clones.find('c');
      if (found && known) await known.adopt();
      if (found) {
        known?.close();
        await machine.run(deleteClone(machine.group(), found, true));
      }
      expect(machine.disk.existsSync('/data/groups/g/clones/c')).toBe(false);
    }
  },
);

test('a snapshot stays while a clone stands over it, and names are for one of them', async () => {
  const model = await modelWithSnapshot('clone names', 0);
  const { machine } = model;
  const group = machine.group();
  const files = machine.system.filesOf(group);
  const clone = makeClone(model, must(model.snapshots[0], 'made'), 'c', must(volumes[0], 'a'));
  expect(createClone(group, 's1', 'c').created).toBe(false);
  await expect(machine.run(deleteSnapshot(group, 's1'))).rejects.toThrow('stands over');
  await expect(machine.run(createSnapshot(machine.disk, group, files, 'c'))).rejects.toThrow(
    'writable clone',
  );
  expect(() => createClone(group, 's2', 'd')).toThrow('s2 does not exist');
  expect(() => createClone(group, 's1', 's1')).toThrow('is a snapshot');
  await clone.write();
  const found = must(group.snapshots.clones.find('c'), 'it is there');
  await expect(deleteClone(group, found, true)).rejects.toThrow('in use by');
  clone.close();
  await expect(deleteClone(group, found, false)).rejects.toThrow('add --force');
  await removeClone(model, clone);
  expect(await machine.run(deleteSnapshot(group, 's1'))).toBe(true);
});

test('a disk that fails a sync fails the clone, and a restart has what was flushed', async () => {
  const model = await modelWithSnapshot('clone sync', 0);
  const { machine } = model;
  const clone = makeClone(model, must(model.snapshots[0], 'made'), 'c', must(volumes[0], 'a'));
  await clone.write();
  await clone.flush();
  const rule = { kind: 'sync_error', operation: 'sync', path: '/data/groups/g/clones' } as const;
  machine.machine.faults.add({ ...rule, nth: 1 });
  await clone.write(0);
  expect(await clone.host.flush()).toBe(false);
  expect(await clone.host.read(0, 512)).toBe(5);
  expect(await clone.host.write(0, Buffer.alloc(512))).toBe(-5);
  expect(machine.group().snapshots.clones.find('c')?.state).toBe('failed');
  await model.write();
  machine.losePower();
  model.forgetHosts();
  clone.forgetHost();
  await machine.start();
  model.forgetAfter();
  await clone.adopt();
});

test('what its snapshot had becomes its own when that has to go', async () => {
  const model = await modelWithSnapshot('clone kept', 0.2);
  const { machine } = model;
  const clone = makeClone(model, must(model.snapshots[0], 'made'), 'c', must(volumes[1], 'b'));
  for (let count = 0; count < 20; count += 1) await clone.write();
  await clone.clear();
  const { clones } = machine.group().snapshots;
  const kept = clones.keep(() => false);
  for (let count = 0; count < 10; count += 1) await clone.write();
  await machine.run(kept);
  await clone.check();
  expect(clones.find('c')?.state).toBe('independent');
  await model.delete('s1');
  for (let count = 0; count < 20; count += 1) await model.write();
  await clone.check();
  await clone.flush();
  machine.losePower();
  model.forgetHosts();
  clone.forgetHost();
  await machine.start();
  await clone.check();
  clone.close();
  clone.checkExtents();
});
