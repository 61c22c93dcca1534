import { describe, expect, test } from 'vitest';
import type { Followers } from '../../../src/group/followers/followers.ts';
import { positionOf } from '../../../src/group/catalog/lineage.ts';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { readDirtyMap } from '../../../src/volume/dirty-map.ts';
import { RegionSet } from '../../../src/volume/region-set.ts';
import type { Effect } from '../../journal/test-host.ts';
import type { SimulatedMachine } from '../../journal/simulated-system.ts';
import { serve, type Setting } from '../../journal/volume-under-test.ts';

const sizeBytes = 4 * MiB;
const blockBytes = 512;
const path = '/data/groups/g/dirty-7';

function followers(machine: SimulatedMachine): Followers {
  return machine.group().followers;
}

/** Every block that differs between what follower 7 has and where the journal begins lies in its map. */
function checkCovered({ machine, history }: Setting): void {
  const map = must(readDirtyMap(machine.disk, path), 'there is a map');
  const { released } = machine.group().watermarks;
  expect(released).toBeLessThanOrEqual(map.own.number);
  const before = history.contents('g/v', sizeBytes, map.from);
  const after = history.contents('g/v', sizeBytes, map.own.number);
  const missing: number[] = [];
  for (let at = 0; at < sizeBytes; at += blockBytes) {
    const isSame = before.subarray(at, at + blockBytes).equals(after.subarray(at, at + blockBytes));
    if (!isSame && !map.regions.covers(1, at, blockBytes)) missing.push(at);
  }
  expect(missing).toEqual([]);
  expectChanges(map.regions, history.between(map.from, map.own.number));
}

function expectChanges(regions: RegionSet, effects: readonly Effect[]): void {
  const missing = effects.filter(({ offset, length }) => !regions.covers(1, offset, length));
  expect(missing.map(({ number }) => number)).toEqual([]);
}

async function settle(machine: SimulatedMachine): Promise<void> {
  const { newest } = machine.group().watermarks;
  machine.group().hurryApply();
  await machine.until(() => machine.group().watermarks.applied === newest);
  machine.group().hurryApply();
  await machine.pass(1000);
}

async function fillUntilBehind(setting: Setting): Promise<void> {
  const { machine } = setting;
  for (let rounds = 0; followers(machine).find(7)?.state !== 'behind'; rounds += 1) {
    expect(rounds).toBeLessThan(100);
    await setting.writeMuch(30, 100 * KiB);
  }
}

describe('a follower that a full journal left behind', () => {
  for (const end of ['kill', 'losePower'] as const) {
    test(`is known by what changed since, wherever the system ends (${end})`, {
      timeout: 60_000,
    }, async () => {
      for (let seed = 0; seed < 3; seed += 1) {
        const setting = await serve(`${end} ${seed}`, { sizeBytes });
        const { machine } = setting;
        const { random } = machine;
        followers(machine).register(7, 'b', 0);
        await setting.writeMuch(random.between(5, 50));
        await setting.flush();
        const { durable: received } = machine.group().watermarks;
        followers(machine).acknowledge({
          systemId: 7,
          received,
          applied: 0,
          sent: received,
          copied: [],
        });
        await fillUntilBehind(setting);
        for (let life = 0; life < 5; life += 1) {
          await setting.writeMuch(random.between(1, 150), random.pick([512, 100 * KiB]));
          if (random.chance(0.5)) await setting.flush();
          if (random.chance(0.3)) await settle(machine);
          else await machine.pass(random.int(300));
          if (random.chance(0.3)) {
            // In the middle of whatever it does to files.
            const role = random.pick(['catalog', 'checkpoint', 'segment'] as const);
            const operation = random.pick(['write', 'sync'] as const);
            machine.machine.faults.add({
              kind: 'death',
              operation,
              role,
              nth: random.between(1, 6),
            });
            machine.group().hurryApply();
            await machine.pass(200).catch(() => undefined);
            machine.machine.faults.clear();
          }
          machine[end]();
          await machine.start();
          setting.reopen();
          setting.history.forgetAfter(machine.group().watermarks.newest);
          expect(followers(machine).find(7)?.state).toBe('behind');
          expect(must(followers(machine).maps.find(7), 'the map is known').from).toBe(received);
          checkCovered(setting);
        }
        await setting.writeMuch(100, 100 * KiB);
        await setting.flush();
        await settle(machine);
        checkCovered(setting);
        // The journal is not kept for it: what a checkpoint covers and fills a segment is free.
        const { released, applied } = machine.group().watermarks;
        expect(applied - released).toBeLessThan(300);
        await setting.check(received);
      }
    });
  }

  test('says so, and what it will be given', async () => {
    const setting = await serve('says', { sizeBytes });
    const { machine } = setting;
    followers(machine).register(7, 'b', 0);
    await fillUntilBehind(setting);
    await setting.writeMuch(100, 100 * KiB);
    const condition = machine
      .group()
      .conditions.list()
      .find(({ code }) => code === 'follower_behind');
    expect(condition).toMatchObject({ severity: 'warning' });
    expect(condition?.message).toContain('comes back by itself');
    expect(followers(machine).maps.find(7)?.bytes).toBeGreaterThan(0);
  });

  test('is told the regions up to where the volumes are, and they stay until there is no room', async () => {
    const setting = await serve('told', { sizeBytes });
    const { machine } = setting;
    followers(machine).register(7, 'b', 1);
    await fillUntilBehind(setting);
    const { durable } = machine.group().watermarks;
    await setting.flush();
    await settle(machine);
    const { maps } = followers(machine);
    expect(await machine.run(maps.regionsSince(7, 0, durable))).toBeUndefined();
    expect(await machine.run(maps.regionsSince(8, 1, durable))).toBeUndefined();
    const known = must(await machine.run(maps.regionsSince(7, 1, durable)), 'they are known');
    expect(known.through).toBeGreaterThanOrEqual(durable);
    expectChanges(known.regions, setting.history.between(1, known.through));
    await setting.writeMuch(100, 100 * KiB);
    await setting.flush();
    await settle(machine);
    expect(machine.group().watermarks.released).toBeLessThanOrEqual(known.through);
    expect(maps.find(7)?.through).toBe(known.through);
    // It did not come back, and hosts do not wait for it.
    await setting.writeMuch(900, 100 * KiB);
    expect(maps.find(7)?.through).toBeGreaterThan(known.through);
    checkCovered(setting);
    followers(machine).register(7, 'b', machine.group().watermarks.durable);
    expect(maps.find(7)).toBeUndefined();
    expect(machine.disk.existsSync(path)).toBe(false);
    expect(machine.group().retention.get('dirty map')).toBeUndefined();
  });

  test('takes all volumes for changed where the journal cannot be read', async () => {
    const setting = await serve('unreadable', { sizeBytes });
    const { machine } = setting;
    followers(machine).register(7, 'b', 0);
    await setting.writeMuch(300, 100 * KiB);
    await setting.flush();
    await settle(machine);
    const [oldest] = machine.group().chain.live();
    const file = must(oldest, 'there is a segment').file.path;
    machine.machine.faults.add({ kind: 'read_error', operation: 'read', path: file });
    followers(machine).leaveBehind(7);
    await machine.pass(10_000);
    machine.machine.faults.clear();
    const map = must(readDirtyMap(machine.disk, path), 'there is a map');
    expect(map.own.number).toBeGreaterThan(0);
    expect(map.regions.covers(1, 0, sizeBytes)).toBe(true);
  });

  test('has to compare where its map cannot be written: hosts go on', async () => {
    const setting = await serve('unwritten', { sizeBytes });
    const { machine } = setting;
    followers(machine).register(7, 'b', 0);
    machine.machine.faults.add({ kind: 'no_space', operation: 'write', path });
    await setting.writeMuch(1500, 100 * KiB);
    expect(followers(machine).find(7)?.state).toBe('behind');
    expect(followers(machine).maps.find(7)).toBeUndefined();
    const { conditions } = machine.group();
    const condition = conditions.list().find(({ code }) => code === 'follower_behind');
    expect(condition).toMatchObject({ severity: 'error' });
    machine.machine.faults.clear();
  });

  test('that is dropped leaves no map, nor does one that came back in a crash', async () => {
    const setting = await serve('gone', { sizeBytes });
    const { machine } = setting;
    followers(machine).register(7, 'b', 0);
    await fillUntilBehind(setting);
    const stale = machine.disk.readFileSync(path, 'catalog');
    followers(machine).drop(7);
    expect(machine.disk.existsSync(path)).toBe(false);
    machine.disk.replaceFileSync(path, must(stale, 'there was a map'), 'catalog');
    machine.kill();
    await machine.start();
    expect(machine.disk.existsSync(path)).toBe(false);
    expect(machine.group().retention.isHeld).toBe(false);
  });
});

describe('a journal that is about to begin anew', () => {
  test('leaves every follower behind with what it is given and what its own records changed', async () => {
    const setting = await serve('leap', { sizeBytes });
    const { machine } = setting;
    followers(machine).register(7, 'b', 0);
    await fillUntilBehind(setting);
    followers(machine).register(8, 'c', machine.group().watermarks.durable);
    const { durable: begun } = machine.group().watermarks;
    await setting.writeMuch(50);
    await setting.flush();
    const { durable } = machine.group().watermarks;
    const given = RegionSet.of([{ volume: 1, offset: 1 * MiB, length: 64 * KiB }]);
    const through = { ...positionOf(machine.group().catalog.lineage, durable), number: 10_000 };
    await machine.run(followers(machine).leaveBehindWith(given, through, durable));
    for (const [systemId, from] of [
      [7, 0],
      [8, begun],
    ] as const) {
      const file = `/data/groups/g/dirty-${systemId}`;
      const map = must(readDirtyMap(machine.disk, file), 'there is a map');
      expect(map).toMatchObject({ from, through, own: { number: durable } });
      expect(map.regions.covers(1, 1 * MiB, 64 * KiB)).toBe(true);
      expectChanges(map.regions, setting.history.between(from, durable));
      expect(followers(machine).find(systemId)?.state).toBe('behind');
    }
    // It did not: the journal goes on as it was.
    machine.kill();
    await machine.start();
    expect(followers(machine).maps.find(8)).toMatchObject({ from: begun, through: durable });
  });

  test('goes on from there with every map, once it has begun', async () => {
    const setting = await serve('begun', { sizeBytes });
    const { machine } = setting;
    followers(machine).register(7, 'b', 0);
    await setting.writeMuch(50);
    await setting.flush();
    await settle(machine);
    const { catalog, watermarks } = machine.group();
    const number = watermarks.durable + 1000;
    const through = positionOf(catalog.lineage, number);
    await machine.run(followers(machine).leaveBehindWith(new RegionSet(), through, number));
    const before = setting.history.between(0, watermarks.durable);
    const plan = { number, catalog, follow: null, made: [] };
    await machine.run(machine.system.restartGroup(machine.group(), plan));
    setting.reopen();
    expect(followers(machine).maps.find(7)).toMatchObject({ from: 0, through: number });
    expect(machine.group().watermarks.released).toBe(number);
    await setting.writeMuch(900, 100 * KiB);
    await setting.flush();
    await settle(machine);
    const map = must(readDirtyMap(machine.disk, path), 'there is a map');
    expect(map.own.number).toBeGreaterThan(number);
    expect(map.through).toEqual(map.own);
    expectChanges(map.regions, before);
    expectChanges(map.regions, setting.history.between(number, map.own.number));
    expect(machine.events.filter(({ code }) => code === 'dirty_map_not_written')).toEqual([]);
  });
});
