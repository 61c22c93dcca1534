import { expect, test } from 'vitest';
import { type Catalog, changeCatalog, readCatalog } from '../../../src/group/catalog/catalog.ts';
import { writeCatalog } from '../../../src/group/catalog/catalog.ts';
import { standingRollback } from '../../../src/group/catalog/rollback.ts';
import { readSealedJson, sealedJson } from '../../../src/group/catalog/sealed-json.ts';
import { must } from '../../../src/platform/assert.ts';
import { SimulatedMachine } from '../../journal/simulated-system.ts';

const path = '/data/groups/g/catalog';
const plan = '0123456789abcdef';

async function withVolumes(): Promise<{ machine: SimulatedMachine; catalog: Catalog }> {
  const machine = new SimulatedMachine('catalog of a rollback');
  await machine.start();
  await machine.createGroup();
  await machine.createVolume('a', 4096);
  await machine.createVolume('b', 4096);
  const { catalog } = machine.group();
  return { machine, catalog };
}

test('a rollback is in the entries of its volumes from its record to the one that ends it', async () => {
  const { catalog } = await withVolumes();
  const begin = { change: 'rollback_begun', plan, to: 1, volumes: [2] } as const;
  const begun = changeCatalog(catalog, begin, 7);
  expect(begun.volumes.map(({ rollback }) => rollback)).toEqual([
    undefined,
    { plan, to: 1, number: 7 },
  ]);
  expect(standingRollback(begun.volumes)).toEqual({ plan, to: 1, number: 7, volumes: [2] });
  const other = 'ffffffffffffffff';
  const anew = changeCatalog(begun, { ...begin, plan: other, volumes: [1, 2] }, 8);
  expect(standingRollback(anew.volumes)).toMatchObject({ plan: other, volumes: [1, 2] });
  // The end of what was replaced ends nothing.
  const still = changeCatalog(anew, { change: 'rollback_ended', plan }, 9);
  expect(standingRollback(still.volumes)).toMatchObject({ plan: other });
  const ended = changeCatalog(still, { change: 'rollback_ended', plan: other }, 10);
  expect(standingRollback(ended.volumes)).toBeUndefined();
});

test('while one stands the catalog is of format 3, which is refused by whoever knows less', async () => {
  const { machine, catalog } = await withVolumes();
  const begin = { change: 'rollback_begun', plan, to: 1, volumes: [2] } as const;
  const begun = changeCatalog(catalog, begin, 7);
  writeCatalog(machine.disk, path, begun);
  expect(readCatalog(machine.disk, path)).toEqual(begun);
  expect(() => readSealedJson(machine.disk, path, 2)).toThrow(/has format 3/);
  const ended = changeCatalog(begun, { change: 'rollback_ended', plan }, 8);
  writeCatalog(machine.disk, path, ended);
  expect(readSealedJson(machine.disk, path, 1)).toMatchObject({ formatVersion: 1 });
});

test('a frozen catalog of format 3 is read as it was written', async () => {
  const { machine } = await withVolumes();
  const frozen = {
    formatVersion: 3,
    groupId: '00112233445566778899aabbccddeeff',
    name: 'g',
    lineage: [{ generation: 1, system: 5, incarnation: 6, firstNumber: 1 }],
    number: 7,
    nextVolumeId: 2,
    volumes: [
      {
        id: 1,
        name: 'a',
        sizeBytes: 4096,
        journalOnly: false,
        state: 'normal',
        maxHosts: 0,
        rollback: { plan, to: 3, number: 7 },
      },
    ],
    areas: [],
    areaLayout: 'striped',
    journalCapacityBytes: 67108864,
    onFull: 'suspend',
    syncIntervalMilliseconds: 20,
  };
  machine.disk.replaceFileSync(path, sealedJson(frozen), 'catalog');
  const read = must(readCatalog(machine.disk, path), 'it is there');
  expect(standingRollback(read.volumes)).toEqual({ plan, to: 3, number: 7, volumes: [1] });
});
