import { expect, test } from 'vitest';
import type { Group } from '../../src/group/order/group.ts';
import { configureGroup } from '../../src/group/system/group-settings.ts';
import { deleteVolume, resizeVolume } from '../../src/group/volumes/volume-changes.ts';
import { must } from '../../src/platform/assert.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { crashEverywhere } from './crash-points.ts';
import { History, TestHost } from './test-host.ts';
import type { SimulatedMachine } from './simulated-system.ts';

const sizeBytes = 256 * KiB;

interface Prepared {
  readonly history: History;
  /** Flushed, so that it must be there whatever happens. */
  readonly written: number;
}

async function prepareVolume(machine: SimulatedMachine): Promise<Prepared> {
  await machine.createGroup();
  await machine.createVolume('kept', sizeBytes);
  const history = new History();
  const host = new TestHost(machine, 'g/kept', history);
  for (let i = 0; i < 20; i += 1) {
    await host.write(machine.random.int(500) * 512, machine.random.bytes(1000));
  }
  await host.flush();
  host.close();
  return { history, written: machine.group().watermarks.newest };
}

async function checkKept(machine: SimulatedMachine, { history, written }: Prepared): Promise<void> {
  const host = new TestHost(machine, 'g/kept');
  const found = await host.read(0, host.session.sizeBytes);
  const expected = history.contents('g/kept', host.session.sizeBytes, written);
  expect(expected.equals(found as Buffer)).toBe(true);
  host.close();
}

/** Only what the catalog names, and the file that the next volume takes over, may take space. */
function checkFiles(machine: SimulatedMachine): void {
  const group = machine.group();
  const files = machine.system.filesOf(group);
  const { volumes, nextVolumeId } = group.catalog;
  const expected = volumes
    .filter(({ journalOnly }) => !journalOnly)
    .map(({ id }) => files.volume(id));
  const found = machine.disk.listSync(files.volumes).map((name) => `${files.volumes}/${name}`);
  expect(found.filter((path) => path !== files.volume(nextVolumeId))).toEqual(expected);
  expect(new Set(volumes.map(({ id }) => id)).size).toBe(volumes.length);
}

function volumeOf(group: Group, name: string) {
  return must(group.volumes.get(name), `volume ${name} is there`);
}

test('a volume that is created is there or not, and can be created again', async () => {
  const deaths = await crashEverywhere('create', {
    prepare: prepareVolume,
    act: (machine) => machine.createVolume('new', sizeBytes),
    async check(machine, prepared) {
      await checkKept(machine, prepared);
      checkFiles(machine);
      const volume = await machine.createVolume('new', sizeBytes);
      expect(volume.catalog).toMatchObject({ id: 2, name: 'new', sizeBytes, state: 'normal' });
      const host = new TestHost(machine, 'g/new');
      const contents = await host.read(0, sizeBytes);
      expect(Buffer.alloc(sizeBytes).equals(contents as Buffer)).toBe(true);
      host.close();
      checkFiles(machine);
    },
  });
  expect(deaths).toBeGreaterThan(20);
}, 60_000);

test('so is one that is journal-only', async () => {
  await crashEverywhere('create journal-only', {
    prepare: prepareVolume,
    act: (machine) => machine.createVolume('new', sizeBytes, true),
    async check(machine, prepared) {
      await checkKept(machine, prepared);
      const volume = await machine.createVolume('new', sizeBytes, true);
      expect(volume.catalog.id).toBe(2);
      expect(machine.group().retention.isHeld).toBe(true);
    },
  });
}, 60_000);

test('a volume that grows has the old size or the new one', async () => {
  await crashEverywhere('resize', {
    prepare: prepareVolume,
    act: (machine) => resizeVolume(machine.group(), volumeOf(machine.group(), 'kept'), 4 * MiB),
    async check(machine, prepared) {
      const volume = volumeOf(machine.group(), 'kept');
      expect([sizeBytes, 4 * MiB]).toContain(volume.catalog.sizeBytes);
      expect(volume.file?.sizeSync()).toBeGreaterThanOrEqual(volume.catalog.sizeBytes);
      await checkKept(machine, prepared);
      await machine.run(resizeVolume(machine.group(), volume, 4 * MiB));
      expect(volume.catalog.sizeBytes).toBe(4 * MiB);
      await checkKept(machine, prepared);
    },
  });
}, 60_000);

test('a volume that is deleted is whole or gone, and its file with it', async () => {
  await crashEverywhere('delete', {
    async prepare(machine) {
      const prepared = await prepareVolume(machine);
      await machine.createVolume('gone', sizeBytes);
      const host = new TestHost(machine, 'g/gone');
      await host.write(0, new Uint8Array(8192).fill(7));
      await host.flush();
      host.close();
      return { ...prepared, written: machine.group().watermarks.newest };
    },
    act: (machine) => machine.run(deleteVolume(machine.group(), 'gone', true)),
    async check(machine, prepared) {
      await checkKept(machine, prepared);
      checkFiles(machine);
      if (machine.group().volumes.has('gone')) {
        const host = new TestHost(machine, 'g/gone');
        const contents = (await host.read(0, 8192)) as Buffer;
        host.close();
        if (!contents.equals(Buffer.alloc(8192, 7))) throw new Error('half a volume is there');
        await machine.run(deleteVolume(machine.group(), 'gone', true));
      }
      checkFiles(machine);
      const volume = await machine.createVolume('another', sizeBytes);
      expect(volume.catalog.id).toBe(3);
    },
  });
}, 60_000);

test('settings are the old ones or the new ones', async () => {
  await crashEverywhere('configure', {
    prepare: prepareVolume,
    async act(machine) {
      await Promise.resolve();
      configureGroup(machine.group(), { onFull: 'fail', areaLayout: 'spare' });
    },
    async check(machine, prepared) {
      const { onFull, areaLayout } = machine.group().catalog;
      expect(['suspend striped', 'fail spare']).toContain(`${onFull} ${areaLayout}`);
      await checkKept(machine, prepared);
    },
  });
}, 60_000);

const journalDirectories = ['/elsewhere/one', '/elsewhere/two'];
const settings = { journalDirectories, journalCapacityBytes: 128 * MiB };

/** Nothing is left of a group. */
function expectNothing({ disk }: SimulatedMachine): void {
  const left = journalDirectories.filter((path) => disk.existsSync(path));
  expect(left.flatMap((path) => disk.listSync(path))).toEqual([]);
  expect(disk.listSync('/data/groups')).toEqual([]);
}

test('a group that is created is there or not, and can be created again', async () => {
  const deaths = await crashEverywhere('group create', {
    prepare: () => Promise.resolve(),
    act: (machine) => machine.system.createGroup('g', settings),
    async check(machine) {
      if (!machine.system.groups.has('g')) expectNothing(machine);
      await machine.createGroup(settings);
      await machine.createVolume('v', sizeBytes);
      const host = new TestHost(machine, 'g/v');
      await host.write(0, new Uint8Array(4096).fill(1));
      await host.flush();
    },
  });
  expect(deaths).toBeGreaterThan(50);
}, 120_000);

test('a group that is deleted is there or gone, and gives its space back', async () => {
  await crashEverywhere('group delete', {
    async prepare(machine) {
      await machine.createGroup(settings);
      await machine.createVolume('v', sizeBytes);
    },
    act: (machine) => machine.system.deleteGroup('g', true),
    async check(machine) {
      if (machine.system.groups.has('g')) await machine.run(machine.system.deleteGroup('g', true));
      expectNothing(machine);
      await machine.createGroup(settings);
    },
  });
}, 120_000);
