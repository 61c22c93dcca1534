import { describe, expect, test } from 'vitest';
import { SystemExports } from '../../../src/group/system/exports.ts';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

const sizeBytes = 2 * MiB;
const minute = 60_000;

async function pair(
  seed: string,
): Promise<{ fleet: Fleet; primary: FleetSystem; secondary: FleetSystem }> {
  const fleet = new Fleet(seed);
  const primary = await fleet.startPrimary(sizeBytes);
  const secondary = await fleet.start('beta');
  await secondary.verb('follow', { group: 'g', from: primary.url });
  await secondary.caughtUp(primary);
  return { fleet, primary, secondary };
}

function exportNames(system: FleetSystem): string[] {
  return new SystemExports(system.system, system.disk).list().map(({ name }) => name);
}

function readFile(system: FleetSystem, path: string, bytes: number): Buffer {
  const file = system.disk.openSync(path, 'read', 'volume');
  const contents = Buffer.alloc(bytes);
  file.readSync(contents, 0, bytes, 0);
  file.closeSync();
  return contents;
}

async function writeSome(system: FleetSystem, name: string, history: History, count: number) {
  const host = new TestHost(system, name, history);
  const { random } = system.fleet;
  for (let i = 0; i < count; i += 1) {
    const offset = 512 * Math.floor(random.fraction() * ((sizeBytes - 8 * KiB) / 512));
    await host.write(offset, Buffer.alloc(8 * KiB, 1 + (random.next() % 255)));
  }
  await host.flush();
  host.close();
}

describe('a volume that is deleted', () => {
  test('stays at a follower for the delay, complete, hidden, and through restarts', async () => {
    const { primary, secondary } = await pair('deleted stays');
    const history = new History();
    await writeSome(primary, 'g/v', history, 300);
    const { newest } = primary.group().watermarks;
    await primary.verb('volume delete', { volume: 'g/v', force: true });
    await secondary.until(() => secondary.status().deletedVolumes.length === 1);
    expect(secondary.status().volumes).toEqual([]);
    expect(exportNames(secondary)).toEqual([]);
    const shown = must(secondary.status().deletedVolumes[0], 'it is shown');
    expect(shown).toMatchObject({ name: 'v', sizeBytes, state: 'unused', exports: [] });
    const removedAt = Date.parse(shown.removedAt ?? '');
    const now = secondary.fleet.clock.wallMilliseconds();
    expect(removedAt - now).toBeGreaterThan(9 * minute);
    expect(removedAt - now).toBeLessThanOrEqual(10 * minute);
    const path = must(shown.backingFile, 'it has a file');
    const expected = history.contents('g/v', sizeBytes, newest);

    secondary.losePower();
    await secondary.start();
    await secondary.caughtUp(primary);
    expect(secondary.status().deletedVolumes).toMatchObject([{ name: 'v', backingFile: path }]);
    expect(expected.equals(readFile(secondary, path, sizeBytes))).toBe(true);
    // Another one under the same name is another volume.
    await primary.verb('volume create', { volume: 'g/v', size: sizeBytes });
    await secondary.caughtUp(primary);
    expect(secondary.status()).toMatchObject({
      volumes: [{ name: 'v', removedAt: null }],
      deletedVolumes: [{ name: 'v' }],
    });
    await secondary.fleet.pass(5 * minute);
    secondary.kill();
    await secondary.start();
    expect(secondary.disk.existsSync(path)).toBe(true);
    await secondary.fleet.pass(5 * minute + 1000);
    expect(secondary.status().deletedVolumes).toEqual([]);
    expect(secondary.disk.existsSync(path)).toBe(false);
    expect(secondary.status().volumes).toMatchObject([{ name: 'v' }]);
    secondary.kill();
    await secondary.start();
    expect(secondary.status().deletedVolumes).toEqual([]);
  });

  test('is gone at once with a delay of 0, and at the primary', async () => {
    const { primary, secondary } = await pair('deleted at once');
    await secondary.verb('group configure', { group: 'g', deleteDelay: '0s' });
    expect(secondary.status().deleteDelaySeconds).toBe(0);
    const paths = [primary, secondary].map((system) =>
      must(system.status().volumes[0]?.backingFile, 'it has a file'),
    );
    await primary.verb('volume delete', { volume: 'g/v', force: true });
    await secondary.caughtUp(primary);
    [primary, secondary].forEach((system, at) => {
      expect(system.status().deletedVolumes).toEqual([]);
      expect(system.disk.existsSync(paths[at] ?? '')).toBe(false);
    });
  });

  test.each([0, 1, 2, 3, 4, 5, 6, 7])(
    'is complete wherever the follower dies, seed %i',
    async (seed) => {
      const { fleet, primary, secondary } = await pair(`deleted dies ${seed}`);
      const history = new History();
      await writeSome(primary, 'g/v', history, 100);
      const { newest } = primary.group().watermarks;
      const deleting = primary.verb('volume delete', { volume: 'g/v', force: true });
      await deleting;
      await secondary.fleet.pass(fleet.random.fraction() * 40);
      if (fleet.random.fraction() < 0.5) secondary.kill();
      else secondary.losePower();
      await secondary.start();
      await secondary.caughtUp(primary);
      const kept = must(secondary.status().deletedVolumes[0], 'it is kept');
      const contents = readFile(secondary, kept.backingFile ?? '', sizeBytes);
      expect(history.contents('g/v', sizeBytes, newest).equals(contents)).toBe(true);
    },
  );
});

describe('a volume that grows', () => {
  test('has grown at its followers before hosts see it', async () => {
    const { primary, secondary } = await pair('grows');
    let isSeenEarly = false;
    const watcher = {
      durableAdvanced: () => undefined,
      appliedAdvanced: () => undefined,
      changed() {
        const served = primary.group().volumes.get('v')?.catalog.sizeBytes ?? 0;
        const there = secondary.group().volumes.get('v')?.file?.sizeSync() ?? 0;
        isSeenEarly ||= served > there;
      },
    };
    primary.group().watchers.add(watcher);
    await primary.verb('volume resize', { volume: 'g/v', size: 2 * sizeBytes });
    expect(isSeenEarly).toBe(false);
    expect(secondary.group().volumes.get('v')?.catalog.sizeBytes).toBe(2 * sizeBytes);
    expect(primary.status()).toMatchObject({
      volumes: [{ sizeBytes: 2 * sizeBytes }],
      conditions: [],
    });
  });

  test('waits ten seconds for followers that are away, and names them until they have grown', async () => {
    const { fleet, primary, secondary } = await pair('grows alone');
    secondary.kill();
    const began = fleet.clock.monotonicMilliseconds();
    let isDone = false;
    const growing = primary
      .verb('volume resize', { volume: 'g/v', size: 2 * sizeBytes })
      .then(() => (isDone = true));
    await primary.fleet.pass(9000);
    expect(isDone).toBe(false);
    expect(primary.status().volumes[0]?.sizeBytes).toBe(sizeBytes);
    await growing;
    expect(fleet.clock.monotonicMilliseconds() - began).toBeLessThan(11_000);
    expect(primary.status()).toMatchObject({
      volumes: [{ sizeBytes: 2 * sizeBytes }],
      conditions: [
        { code: 'followers_not_grown', message: expect.stringContaining('beta') as string },
      ],
    });
    await secondary.start();
    await secondary.caughtUp(primary);
    await primary.fleet.pass(2000);
    expect(primary.status().conditions).toEqual([]);
  });

  test('is not served while the disk of a follower has no room for its record', async () => {
    const { fleet, primary, secondary } = await pair('grows full');
    const group = secondary.group();
    const file = must(group.volumes.get('v')?.file, 'it has a file');
    const truncate = file.truncateSync.bind(file);
    let isFull = true;
    file.truncateSync = (size: number) => {
      if (!isFull) return truncate(size);
      throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC', errno: -28 });
    };
    let isDone = false;
    const growing = primary
      .verb('volume resize', { volume: 'g/v', size: 2 * sizeBytes })
      .then(() => (isDone = true));
    await primary.fleet.pass(3000);
    expect(isDone).toBe(false);
    expect(secondary.status().conditions).toMatchObject([{ code: 'catalog_behind' }]);
    isFull = false;
    await growing;
    expect(fleet.clock.monotonicMilliseconds()).toBeLessThan(20_000);
    expect(file.sizeSync()).toBe(2 * sizeBytes);
  });
});

describe('volumes', () => {
  test.each([0, 1, 2, 3, 4, 5])(
    'are created, grown and deleted while followers are behind, seed %i',
    { timeout: 60_000 },
    async (seed) => {
      const { fleet, primary, secondary } = await pair(`volumes behind ${seed}`);
      const third = await fleet.start('gamma');
      await third.verb('follow', { group: 'g', from: secondary.url });
      await third.caughtUp(primary);
      const history = new History();
      const sizes = new Map([['v', sizeBytes]]);
      let names = 0;
      for (let round = 0; round < 8; round += 1) {
        const victim = fleet.random.fraction() < 0.5 ? secondary : third;
        const isCut = fleet.random.fraction() < 0.5;
        if (isCut) {
          fleet.links.cut('alpha', 'beta');
          fleet.links.cut('beta', 'gamma');
        } else victim.kill();
        for (let change = 0; change < 3; change += 1) {
          const [name = ''] = [...sizes.keys()].slice(-1);
          const kind = fleet.random.fraction();
          if (kind < 0.4 || name === '') {
            names += 1;
            await primary.verb('volume create', { volume: `g/n${names}`, size: sizeBytes });
            sizes.set(`n${names}`, sizeBytes);
          } else if (kind < 0.7) {
            const size = (sizes.get(name) ?? 0) + MiB;
            await primary.verb('volume resize', { volume: `g/${name}`, size });
            sizes.set(name, size);
          } else {
            await primary.verb('volume delete', { volume: `g/${name}`, force: true });
            sizes.delete(name);
          }
          for (const each of sizes.keys()) await writeSome(primary, `g/${each}`, history, 5);
        }
        if (isCut) {
          fleet.links.mend('alpha', 'beta');
          fleet.links.mend('beta', 'gamma');
        } else await victim.start();
      }
      const { newest } = primary.group().watermarks;
      for (const system of [secondary, third]) {
        await system.caughtUp(primary);
        const shown = system.status().volumes.map((volume) => [volume.name, volume.sizeBytes]);
        expect(new Map(shown as [string, number][])).toEqual(sizes);
        for (const [name, size] of sizes) {
          const host = new TestHost(system, `g/${name}`);
          expect(host.session.sizeBytes).toBe(size);
          const read = await host.read(0, size);
          host.close();
          expect(Buffer.isBuffer(read)).toBe(true);
          const expected = history.contents(`g/${name}`, size, newest);
          expect(expected.equals(read as Buffer)).toBe(true);
        }
      }
    },
  );
});

describe('a new volume that a follower has no room for', () => {
  test.each(['kill', 'stop', 'neither'])(
    'gets all that was written to it once there is room, %s',
    async (end) => {
      const { primary, secondary } = await pair('created full');
      const { faults } = secondary.machine;
      faults.add({ kind: 'no_space', operation: 'write', role: 'volume', times: 100 });
      const history = new History();
      await primary.verb('volume create', { volume: 'g/w', size: sizeBytes });
      const { newest: created } = primary.group().watermarks;
      await writeSome(primary, 'g/w', history, 50);
      const { newest } = primary.group().watermarks;
      await secondary.until(() => secondary.group().watermarks.durable === newest);
      await secondary.fleet.pass(3000);
      expect(secondary.status().conditions).toMatchObject([{ code: 'catalog_behind' }]);
      expect(secondary.group().watermarks.applied).toBeLessThan(created);
      if (end === 'kill') secondary.kill();
      if (end === 'stop') await secondary.stop();
      faults.clear();
      if (end !== 'neither') await secondary.start();
      await secondary.caughtUp(primary);
      const host = new TestHost(secondary, 'g/w');
      const read = await host.read(0, sizeBytes);
      host.close();
      expect(history.contents('g/w', sizeBytes, newest).equals(read as Buffer)).toBe(true);
      expect(secondary.status().conditions).toEqual([]);
    },
  );
});

describe('a secondary that could not make a volume yet', () => {
  test('is not promoted before: the next volume would get the same id', async () => {
    const { primary, secondary } = await pair('promoted full');
    const { faults } = secondary.machine;
    faults.add({ kind: 'no_space', operation: 'write', role: 'volume', times: 100 });
    await primary.verb('volume create', { volume: 'g/w', size: sizeBytes });
    const { newest: created } = primary.group().watermarks;
    await secondary.until(() => secondary.group().watermarks.durable === created);
    await secondary.fleet.pass(3000);
    primary.kill();
    const obstacle = expect.stringContaining(`update ${created} changes its volumes`) as string;
    const dryRun = await secondary.verb('promote', { group: 'g', dryRun: true });
    expect(dryRun).toMatchObject({ obstacle });
    const { clock } = secondary.fleet;
    const began = clock.monotonicMilliseconds();
    const promoting = secondary.verb('promote', { group: 'g', force: true });
    await expect(promoting).rejects.toMatchObject({ code: 'state_refuses', message: obstacle });
    // A full disk does not pass: nobody is kept waiting for that.
    expect(clock.monotonicMilliseconds() - began).toBeLessThan(1000);
    faults.clear();
    await secondary.fleet.pass(3000);
    await secondary.verb('promote', { group: 'g', force: true });
    await secondary.verb('volume create', { volume: 'g/x', size: sizeBytes });
    const ids = secondary.group().catalog.volumes.map(({ id }) => id);
    expect(new Set(ids).size).toBe(3);
  });
});

describe('exports of a secondary', () => {
  test('are read-only, or hidden by setting; those who read are disconnected', async () => {
    const { primary, secondary } = await pair('hidden');
    const reader = new TestHost(secondary, 'g/v');
    expect(reader.session.readOnly).toBe(true);
    await secondary.verb('group configure', { group: 'g', secondaryExports: 'hidden' });
    expect(reader.revoked).toContain('hidden');
    reader.close();
    expect(exportNames(secondary)).toEqual([]);
    expect(secondary.status()).toMatchObject({
      secondaryExports: 'hidden',
      volumes: [{ state: 'secondary', exports: [], uris: [] }],
    });
    await secondary.stop();
    await secondary.start();
    expect(exportNames(secondary)).toEqual([]);
    // It is a setting of a secondary: hosts of a primary are not concerned.
    await secondary.caughtUp(primary);
    await secondary.verb('promote', { group: 'g' });
    expect(exportNames(secondary)).toEqual(['g/v']);
    expect(exportNames(primary)).toEqual(['g/v']);
  });
});

test('more small holes than the index has room for come in one answer', async () => {
  const fleet = new Fleet('small holes');
  const primary = await fleet.start('alpha');
  const count = 1800;
  const part = 63 * 4 * KiB;
  await primary.verb('group create', { group: 'g', journalSize: 64 * MiB });
  await primary.verb('volume create', { volume: 'g/v', size: count * part });
  const secondary = await fleet.start('beta');
  // They share the memory of its index.
  for (let i = 0; i < 7; i += 1) {
    await secondary.verb('group create', { group: `other${i}`, journalSize: 64 * MiB });
  }
  await secondary.verb('follow', { group: 'g', from: primary.url });
  await secondary.caughtUp(primary);
  await secondary.verb('suspend', { group: 'g' });
  const host = new TestHost(primary, 'g/v');
  for (let i = 0; i < count; i += 1) await host.clear('hole', i * part, part);
  expect(await host.flush()).toBe(true);
  await secondary.verb('resume', { group: 'g' });
  await secondary.caughtUp(primary);
});
