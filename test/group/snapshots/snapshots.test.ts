import { expect, test } from 'vitest';
import { readSealedJson } from '../../../src/group/catalog/sealed-json.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { SnapshotModel } from './snapshot-model.ts';

const volumes = [
  { name: 'a', sizeBytes: 2 * MiB },
  // No multiple of a block.
  { name: 'b', sizeBytes: 513 * KiB + 512 },
];

test.each([1, 2, 3, 4, 5, 6])('snapshots read what they were made of (%i)', async (seed) => {
  const model = new SnapshotModel(`snapshots ${seed}`, volumes, { cacheMissChance: 0.2 });
  const { machine } = model;
  await model.start();
  const { random } = machine;
  for (let step = 0; step < 250; step += 1) {
    const chance = random.int(100);
    if (chance < 25) await model.write();
    else if (chance < 50) await model.burst();
    else if (chance < 58) await model.clear(false);
    else if (chance < 63) await model.trim();
    else if (chance < 67 && model.snapshots.length < 5) await model.create();
    else if (chance < 70) await model.delete();
    else if (chance < 90) await model.readSnapshot();
    else if (chance < 96) await machine.pass(random.int(400));
    else if (chance < 98) await model.flush();
    else {
      await machine.stop();
      model.forgetHosts();
      await machine.start();
    }
  }
  await model.checkAll();
  await model.checkReturned();
  await model.checkAll();
  expect(machine.group().conditions.list()).toEqual([]);
});

test.each([1, 2, 3, 4])('what is made to compare leaves nothing behind (%i)', async (seed) => {
  const model = new SnapshotModel(`hidden ${seed}`, volumes, { cacheMissChance: 0.2 });
  const { machine } = model;
  await model.start();
  const { random } = machine;
  for (let step = 0; step < 160; step += 1) {
    const chance = random.int(100);
    if (chance < 25) await model.write();
    else if (chance < 50) await model.burst();
    else if (chance < 56) await model.clear(true);
    else if (chance < 60) await model.trim();
    else if (chance < 66 && model.snapshots.length < 4) await model.create();
    else if (chance < 70) await model.delete();
    else if (chance < 77 && model.hidden.length < 3) await model.createHidden();
    else if (chance < 82) await model.deleteHidden();
    else if (chance < 90) await model.readSnapshot();
    else if (chance < 93) await model.readHidden();
    else if (chance < 97) await machine.pass(random.int(400));
    else if (random.chance(0.5)) {
      await machine.stop();
      model.forgetHosts();
      await machine.start();
    } else {
      if (random.chance(0.3)) machine.kill();
      else machine.losePower();
      model.forgetHosts();
      await machine.start();
      model.forgetAfter();
    }
  }
  await model.checkAll();
  while (model.hidden.length > 0) await model.deleteHidden();
  await model.checkReturned();
  await model.checkAll();
  while (model.snapshots.length > 0) await model.delete();
  expect(machine.group().snapshots.list).toEqual([]);
});

test('deleting a snapshot between others gives back what older ones have', async () => {
  const model = new SnapshotModel('between', volumes);
  const { machine } = model;
  await model.start();
  for (let round = 0; round < 4; round += 1) {
    for (let count = 0; count < 40; count += 1) await model.write();
    await model.create();
  }
  for (let count = 0; count < 40; count += 1) await model.write();
  const before = machine.group().watermarks.newest;
  // The third, then the newest: blocks of both are in the first ones, too.
  await model.delete('s3');
  await model.delete('s4');
  for (let count = 0; count < 20; count += 1) await model.write();
  expect(await model.checkReturned()).toBeGreaterThan(0);
  const { newest } = machine.group().watermarks;
  expect(newest).toBeGreaterThan(before);
  await model.checkAll();
  // Nothing is given back twice.
  await machine.stop();
  model.forgetHosts();
  await machine.start();
  await machine.pass(20_000);
  expect(machine.group().watermarks.newest).toBe(newest);
  await model.checkAll();
  await model.delete('s1');
  await model.checkReturned();
  await model.checkAll();
  await model.delete('s2');
  expect(machine.group().snapshots.list).toEqual([]);
});

test.each([1, 2, 3, 4, 5, 6])('no crash takes anything from a snapshot (%i)', async (seed) => {
  const model = new SnapshotModel(`crashes ${seed}`, volumes, { cacheMissChance: 0.1 });
  const { machine } = model;
  await model.start();
  const { random } = machine;
  for (let life = 0; life < 8; life += 1) {
    for (let step = 0; step < 40; step += 1) {
      const chance = random.int(100);
      if (chance < 30) await model.write();
      else if (chance < 60) await model.burst();
      else if (chance < 66) await model.clear(true);
      else if (chance < 72 && model.snapshots.length < 5) await model.create();
      else if (chance < 75) await model.delete();
      else if (chance < 85) await model.readSnapshot();
      else if (chance < 95) await machine.pass(random.int(1000));
      else await model.flush();
    }
    if (random.chance(0.3)) machine.kill();
    else machine.losePower();
    model.forgetHosts();
    await machine.start();
    model.forgetAfter();
    await model.checkAll();
  }
});

test('who knows no snapshots refuses to read a group that has some', async () => {
  const model = new SnapshotModel('format', volumes);
  const { machine } = model;
  await model.start();
  const path = '/data/groups/g/catalog';
  const read = () => readSealedJson<{ readonly formatVersion: 1 }>(machine.disk, path);
  expect(read()?.formatVersion).toBe(1);
  await model.create();
  expect(read).toThrow('has format 2; this jnbd reads format 1');
  await machine.stop();
  model.forgetHosts();
  await machine.start();
  await model.checkAll();
  await model.delete();
  expect(read()?.formatVersion).toBe(1);
});
