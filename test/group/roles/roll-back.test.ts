import { describe, expect, test } from 'vitest';
import type { Catalog } from '../../../src/group/catalog/catalog.ts';
import type { FollowState } from '../../../src/group/catalog/follow-file.ts';
import { extendLineage } from '../../../src/group/catalog/lineage.ts';
import { planRollBack } from '../../../src/group/roles/resync.ts';
import { writeRegions } from '../../../src/group/catalog/resync-files.ts';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { RegionSet } from '../../../src/volume/region-set.ts';
import { crashEverywhere } from '../../journal/crash-points.ts';
import type { SimulatedMachine } from '../../journal/simulated-system.ts';
import { History, TestHost } from '../../journal/test-host.ts';

const sizeBytes = 512 * KiB;
/** What the source says that the volume has: less than it has here. */
const sizeThere = 384 * KiB;
const leap = 1000;

interface Prepared {
  readonly history: History;
  /** All updates up to this one are in the volume before the resync. */
  readonly number: number;
  readonly before: Catalog;
}

/** A volume in the middle of a resync: regions, holes and a part behind its end are not what they were. */
async function prepare(machine: SimulatedMachine): Promise<Prepared> {
  await machine.createGroup();
  await machine.createVolume('v', sizeBytes);
  const history = new History();
  const host = new TestHost(machine, 'g/v', history);
  for (let i = 0; i < 15; i += 1) {
    await host.write(machine.random.int(1000) * 512, machine.random.bytes(6000));
  }
  await host.write(sizeBytes - 4096, machine.random.bytes(4096));
  expect(await host.flush()).toBe(true);
  host.close();
  await apply(machine);
  const { catalog: before, watermarks } = machine.group();
  const number = watermarks.newest;
  await beginResync(machine, before, number);
  await overwrite(machine);
  return { history, number, before };
}

async function apply(machine: SimulatedMachine): Promise<void> {
  const { driver, watermarks } = machine.group();
  driver.applyNow();
  await machine.until(() => driver.isDone && watermarks.applied === watermarks.newest);
  await sync(machine);
}

async function sync(machine: SimulatedMachine): Promise<void> {
  let isSynced = false;
  machine.group().driver.sync(() => {
    isSynced = true;
  });
  await machine.until(() => isSynced);
}

async function beginResync(
  machine: SimulatedMachine,
  before: Catalog,
  number: number,
): Promise<void> {
  const through = number + leap;
  const volume = must(before.volumes[0], 'there is a volume');
  const stretch = { generation: 1, system: 77, incarnation: 99, firstNumber: number + 1 };
  const { lineage, number: catalogNumber, nextVolumeId, volumes } = before;
  const atMilliseconds = null;
  const consistentAt = { number, atMilliseconds, lineage, catalogNumber, nextVolumeId, volumes };
  const follow: FollowState = {
    formatVersion: 1,
    url: 'http://beta:10810',
    sourceGroup: 'g',
    sourceSystemId: 77,
    sourceName: 'beta',
    isSuspended: false,
    pace: 'immediate',
    batchSize: 'adaptive',
    links: 1,
    copies: [],
    shows: through,
    resync: { consistentAt, through },
  };
  const files = machine.system.filesOf(machine.group());
  writeRegions(machine.disk, files, RegionSet.of([{ volume: 1, offset: 0, length: sizeThere }]));
  const catalog: Catalog = {
    ...before,
    role: 'secondary',
    lineage: extendLineage(lineage, stretch),
    volumes: [{ ...volume, sizeBytes: sizeThere }],
  };
  const plan = { number: through, catalog, follow, made: [] };
  await machine.run(machine.system.restartGroup(machine.group(), plan));
  expect(machine.group().volumes.get('v')?.file?.sizeSync()).toBe(sizeThere);
}

async function overwrite(machine: SimulatedMachine): Promise<void> {
  const { driver, volumes } = machine.group();
  const path = must(volumes.get('v'), 'the volume is there').backingFile;
  let open = 0;
  for (let i = 0; i < 6; i += 1) {
    const offset = 4096 * machine.random.int(sizeThere / 4096 - 16);
    const contents = i % 3 === 0 ? undefined : Uint8Array.from(machine.random.bytes(40_960));
    open += 1;
    driver.copy({ id: 1, path }, offset, 40_960, contents, (failure) => {
      expect(failure).toBe(undefined);
      open -= 1;
    });
  }
  await machine.until(() => open === 0);
  if (machine.random.chance(0.5)) await sync(machine);
}

async function rollBack(machine: SimulatedMachine): Promise<unknown> {
  const { system } = machine;
  const plan = must(planRollBack(machine.group(), system.systemId), 'it was of one instant');
  return system.restartGroup(machine.group(), plan);
}

async function checkTakenBack(
  machine: SimulatedMachine,
  { history, number, before }: Prepared,
): Promise<void> {
  const group = machine.group();
  expect(group.watermarks.newest).toBe(number);
  expect(group.role).toBe('primary');
  expect(group.follow.state).toBe(undefined);
  expect(group.catalog.volumes).toEqual(before.volumes);
  expect(group.catalog.lineage.at(-1)).toMatchObject({ generation: 2, firstNumber: number + 1 });
  const host = new TestHost(machine, 'g/v', history);
  const found = await host.read(0, sizeBytes);
  expect(history.contents('g/v', sizeBytes, number).equals(found as Buffer)).toBe(true);
  expect(await host.write(0, machine.random.bytes(MiB / 64))).toBe(number + 1);
  expect(await host.flush()).toBe(true);
  host.close();
}

describe('a resync that is taken back', () => {
  test('leaves what was there before it, wherever the process dies', async () => {
    const deaths = await crashEverywhere('roll back', {
      prepare,
      act: rollBack,
      async check(machine, prepared) {
        // Not begun: then it still can be.
        if (machine.group().follow.state?.resync) await machine.run(rollBack(machine));
        await checkTakenBack(machine, prepared);
        const { preserved } = machine.system.filesOf(machine.group());
        expect(machine.disk.existsSync(preserved)).toBe(false);
        machine.losePower();
        await machine.start();
        expect(machine.group().watermarks.newest).toBe(prepared.number + 1);
      },
    });
    expect(deaths).toBeGreaterThan(60);
  }, 120_000);
});
