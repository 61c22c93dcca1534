import { expect, test } from 'vitest';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { CloneModel, dieAtClones } from '../snapshots/clone-model.ts';
import { ViewModel } from './view-model.ts';

const volumes = [
  { name: 'a', sizeBytes: 512 * KiB },
  // No multiple of a block.
  { name: 'b', sizeBytes: 129 * KiB + 512 },
];
const path = '/data/groups/g/writable-views';

async function modelWithPast(seed: string, cacheMissChance: number): Promise<ViewModel> {
  const model = new ViewModel(seed, volumes, { cacheMissChance });
  await model.startWithBase({ journalCapacityBytes: 1024 * MiB });
  for (let count = 0; count < 30; count += 1) await model.write();
  await model.flush();
  return model;
}

/** A view that can be written to, and what one volume of it must be. */
async function makeView(model: ViewModel, name: string, volume = must(volumes[0], 'a')) {
  const { machine, past } = model;
  const number = machine.random.between(past.history.from ?? 0, machine.group().watermarks.durable);
  const { created } = await machine.run(past.create(name, number, true));
  expect(created).toBe(true);
  const contents = model.history.contents(`g/${volume.name}`, volume.sizeBytes, number);
  return new CloneModel(model, name, volume.name, contents);
}

async function removeView(model: ViewModel, view: CloneModel): Promise<void> {
  view.close();
  expect(await model.machine.run(model.past.delete(view.name, true))).toBe(true);
  expect(model.machine.disk.existsSync(`${path}/${view.name}`)).toBe(false);
}

async function untilOpen(model: ViewModel): Promise<void> {
  await model.machine.until(() => model.past.list.every(({ state }) => state === 'open'));
}

test.each([1, 2, 3, 4])('a writable view is a disk of its own (%i)', async (seed) => {
  const model = await modelWithPast(`written ${seed}`, 0.3);
  const { machine } = model;
  const { random } = machine;
  const views = [];
  for (const name of ['x', 'y']) views.push(await makeView(model, name, random.pick(volumes)));
  for (let step = 0; step < 200; step += 1) {
    const view = random.pick(views);
    const chance = random.int(100);
    if (chance < 25) await view.write();
    else if (chance < 35) await view.clear();
    else if (chance < 45) await view.burst();
    else if (chance < 65) await model.write();
    else if (chance < 70) await model.burst();
    else if (chance < 75) await model.beginBase();
    else if (chance < 80) await view.flush();
    else if (chance < 85) await view.check();
    else if (chance < 88) view.checkExtents();
    else if (chance < 97) await machine.pass(random.int(500));
    else {
      await machine.stop();
      model.forgetHosts();
      for (const each of views) each.forgetHost();
      await machine.start();
      await untilOpen(model);
      // What was written was synced at the end.
      for (const each of views) await each.check();
    }
  }
  for (const view of views) {
    await view.check();
    view.checkExtents();
  }
  // Nobody else has any of it.
  await model.checkAll();
  for (const view of views) await removeView(model, view);
  expect(machine.group().conditions.list()).toEqual([]);
});

async function livesUntilDeath(model: ViewModel, view: CloneModel): Promise<void> {
  const { random, disk } = model.machine;
  dieAtClones(model, path);
  try {
    for (let step = 0; step < 40; step += 1) {
      const chance = random.int(100);
      if (chance < 45) await view.write();
      else if (chance < 65) await view.clear();
      else if (chance < 75) await view.flush();
      else if (chance < 85) view.beginFlush();
      else if (chance < 95) await model.machine.pass(random.int(random.pick([3, 1500])));
      else await view.check();
    }
  } catch (error) {
    if (!disk.isDead) throw error;
  }
}

async function nextLife(model: ViewModel, isKilled: boolean): Promise<void> {
  const { machine } = model;
  machine.machine.faults.clear();
  if (isKilled) machine.kill();
  else machine.losePower();
  model.forgetHosts();
  await machine.start();
  model.forgetAfter();
  await untilOpen(model);
}

test.each(Array.from({ length: 12 }, (_, at) => at))(
  'what was flushed to a view is there after any crash (%i)',
  async (seed) => {
    const model = await modelWithPast(`written crashes ${seed}`, 0.1);
    const { random } = model.machine;
    const view = await makeView(model, 'x', random.pick(volumes));
    for (let life = 0; life < 6; life += 1) {
      await livesUntilDeath(model, view);
      view.forgetHost();
      await nextLife(model, random.chance(0.25));
      await view.adopt();
    }
    await view.check();
    await model.checkAll();
  },
);

test.each([1, 2, 3, 4, 5, 6])('making and deleting views survives any crash (%i)', async (seed) => {
  const model = await modelWithPast(`written files ${seed}`, 0);
  const { machine } = model;
  for (let life = 0; life < 8; life += 1) {
    const { disk } = machine;
    dieAtClones(model, path);
    let known: CloneModel | undefined;
    try {
      known = await makeView(model, 'x');
      await known.check();
      await known.write();
      await removeView(model, known);
      known = undefined;
    } catch (error) {
      if (!disk.isDead) throw error;
    }
    known?.forgetHost();
    await nextLife(model, machine.random.chance(0.3));
    const found = model.past.find('x');
    if (found && known) await known.adopt();
    if (found) await removeView(model, known ?? new CloneModel(model, 'x', 'a', Buffer.alloc(0)));
    expect(machine.disk.existsSync(`${path}/x`)).toBe(false);
  }
});

test('names are for one of them, and what was written is deleted by force alone', async () => {
  const model = await modelWithPast('written names', 0);
  const { machine, past } = model;
  const view = await makeView(model, 'x');
  const { number } = must(past.find('x'), 'x').entry;
  expect((await machine.run(past.create('x', number, true))).created).toBe(false);
  await expect(machine.run(past.create('x', number))).rejects.toThrow('can be written to');
  await expect(machine.run(past.create('x', number - 1, true))).rejects.toThrow('shows update');
  await machine.run(past.create('r', number));
  await expect(machine.run(past.create('r', number, true))).rejects.toThrow('cannot be written to');
  // Nothing is lost with one that nobody wrote to.
  await makeView(model, 'unwritten');
  expect(await machine.run(past.delete('unwritten', false))).toBe(true);
  await view.write();
  await expect(past.delete('x', false)).rejects.toThrow('in use by');
  view.close();
  await expect(past.delete('x', false)).rejects.toThrow('lost with it; add --force');
  const removal = past.delete('x', true);
  await expect(past.create('x', number, true)).rejects.toThrow('is being deleted');
  expect(await machine.run(removal)).toBe(true);
  const again = await makeView(model, 'x');
  await again.check();
});

test('the journal comes first: a view ends with what was written to it, and says so', async () => {
  const model = new ViewModel('written full', volumes);
  const { machine } = model;
  await model.startWithBase({ journalCapacityBytes: 64 * MiB });
  const view = await makeView(model, 'x');
  await view.write(1);
  view.close();
  const bytes = machine.random.bytes(192 * KiB);
  for (let count = 0; count < 500; count += 1) {
    expect(await model.host('a').write(0, bytes)).toBeGreaterThan(0);
    if (count % 20 === 0) await machine.pass(200);
  }
  await machine.pass(10_000);
  expect(model.past.list).toEqual([]);
  expect(machine.disk.listSync(path)).toEqual([]);
  const ended = machine.events.find(({ code }) => code === 'view_ended');
  expect(ended?.message).toMatch(
    /what was written to view g@x \(\d+KiB\) is nowhere else, and lost/,
  );
});

test('a disk that cannot be read for a while takes nothing that was written', async () => {
  const model = await modelWithPast('written unreadable', 0);
  const { machine } = model;
  const view = await makeView(model, 'x');
  await view.write(1);
  view.close();
  for (let count = 0; count < 10; count += 1) await model.write();
  await model.flush();
  await machine.stop();
  model.forgetHosts();
  await machine.start();
  // Its records are read when the group serves.
  machine.machine.faults.add({ kind: 'read_error', operation: 'read', role: 'segment' });
  await machine.pass(2000);
  machine.machine.faults.clear();
  expect(model.past.find('x')?.state).toBe('ended');
  expect(
    machine
      .group()
      .conditions.list()
      .map(({ code }) => code),
  ).toContain('view_unusable');
  await machine.stop();
  await machine.start();
  await untilOpen(model);
  await view.check();
});

test('a disk that fails a sync fails the view, and a restart has what was flushed', async () => {
  const model = await modelWithPast('written sync', 0);
  const { machine } = model;
  const view = await makeView(model, 'x');
  await view.write();
  await view.flush();
  machine.machine.faults.add({ kind: 'sync_error', operation: 'sync', path, nth: 1 });
  await view.write(0);
  expect(await view.host.flush()).toBe(false);
  expect(await view.host.read(0, 512)).toBe(5);
  expect(await view.host.write(0, Buffer.alloc(512))).toBe(-5);
  await model.write();
  view.forgetHost();
  await nextLife(model, false);
  await view.adopt();
});
