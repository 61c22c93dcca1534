import { describe, expect, test } from 'vitest';
import type { Catalog } from '../../../src/group/catalog/catalog.ts';
import { extendLineage } from '../../../src/group/catalog/lineage.ts';
import { planRestart, type RestartPlan } from '../../../src/group/system/restart-journal.ts';
import { checkJournal } from '../../../src/journal/inspect.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { crashEverywhere } from '../../journal/crash-points.ts';
import { SimulatedMachine } from '../../journal/simulated-system.ts';
import { History, TestHost } from '../../journal/test-host.ts';

const sizeBytes = 256 * KiB;
/** How many numbers the journal leaves out. */
const leap = 1000;

interface Prepared {
  readonly history: History;
  readonly before: Catalog;
  readonly plan: RestartPlan;
}

/** A volume with contents that are in its file, on the device, and a plan that adds another one. */
async function prepare(machine: SimulatedMachine, directories: string[] = []): Promise<Prepared> {
  await machine.createGroup({ journalDirectories: directories });
  await machine.createVolume('v', sizeBytes);
  const history = new History();
  await write(machine, history, 30);
  await settle(machine);
  const group = machine.group();
  const { catalog } = group;
  const { newest } = group.watermarks;
  const added = { ...catalog.volumes[0], id: 2, name: 'added', sizeBytes: MiB };
  const stretch = { generation: 2, system: 77, incarnation: 99, firstNumber: newest + leap + 1 };
  const next = {
    ...catalog,
    number: newest,
    nextVolumeId: 3,
    volumes: [...catalog.volumes, added],
    lineage: extendLineage(catalog.lineage, stretch),
  } as Catalog;
  const plan = { number: newest + leap, catalog: next, follow: null, followers: [], made: [2] };
  return { history, before: catalog, plan };
}

async function write(machine: SimulatedMachine, history: History, count: number): Promise<void> {
  const host = new TestHost(machine, 'g/v', history);
  for (let i = 0; i < count; i += 1) {
    await host.write(machine.random.int(500) * 512, machine.random.bytes(1000));
  }
  expect(await host.flush()).toBe(true);
  host.close();
}

/** Everything is in the volumes, and synced there. */
async function settle(machine: SimulatedMachine): Promise<void> {
  const { driver, watermarks } = machine.group();
  driver.applyNow();
  await machine.until(() => driver.isDone && watermarks.applied === watermarks.newest);
  let isSynced = false;
  driver.sync((failure) => {
    expect(failure).toBe(undefined);
    isSynced = true;
  });
  await machine.until(() => isSynced);
}

async function checkContents(machine: SimulatedMachine, history: History): Promise<void> {
  const host = new TestHost(machine, 'g/v');
  const found = await host.read(0, sizeBytes);
  host.close();
  const expected = history.contents('g/v', sizeBytes, Number.POSITIVE_INFINITY);
  expect(expected.equals(found as Buffer)).toBe(true);
}

/** As somebody finds it who looks without a daemon. */
function checkWhole({ disk }: SimulatedMachine): void {
  const report = checkJournal(disk, '/data/groups/g');
  const problems = report.groups.flatMap((group) => group.problems);
  expect(problems.filter(({ severity }) => severity === 'damage')).toEqual([]);
}

async function checkBegun(
  machine: SimulatedMachine,
  { history, plan }: Prepared,
  leaves = plan.number,
): Promise<void> {
  const group = machine.group();
  const { watermarks, catalog } = group;
  const { released, applied, durable, newest } = watermarks;
  expect({ released, applied, durable, newest }).toEqual({
    released: plan.number,
    applied: plan.number,
    durable: plan.number,
    newest: leaves,
  });
  expect(catalog.volumes).toEqual(plan.catalog.volumes);
  expect(catalog.lineage.at(-1)).toMatchObject({ generation: 2, firstNumber: plan.number + 1 });
  expect(group.volumes.get('added')?.file?.sizeSync()).toBe(MiB);
  checkWhole(machine);
  await checkContents(machine, history);
}

async function checkOld(
  machine: SimulatedMachine,
  { history, plan, before }: Prepared,
): Promise<void> {
  const { watermarks, catalog } = machine.group();
  expect(watermarks.newest).toBe(plan.number - leap);
  expect(catalog.volumes).toEqual(before.volumes);
  await checkContents(machine, history);
}

async function checkNew(machine: SimulatedMachine, prepared: Prepared): Promise<void> {
  const { history, plan } = prepared;
  await checkBegun(machine, prepared);
  await write(machine, history, 10);
  machine.losePower();
  await machine.start();
  expect(machine.group().watermarks.newest).toBe(plan.number + 10);
  await checkContents(machine, history);
}

describe('a journal that begins anew', () => {
  test('goes on behind the number that was planned', async () => {
    const machine = new SimulatedMachine('restart');
    await machine.start();
    const prepared = await prepare(machine);
    const host = new TestHost(machine, 'g/v');
    const closing: string[] = [];
    machine.system.watchers.add({
      groupOpened: ({ watermarks }) => closing.push(`opened at ${watermarks.newest}`),
      groupClosing: ({ watermarks }) => closing.push(`closing at ${watermarks.newest}`),
    });
    const { number } = prepared.plan;
    const opened = await machine.run(machine.system.restartGroup(machine.group(), prepared.plan));
    expect(machine.group()).toBe(opened);
    expect(closing).toEqual([`closing at ${number - leap}`, `opened at ${number}`]);
    expect(host.revoked).toContain('shutting down');
    await checkBegun(machine, prepared);
    await write(machine, prepared.history, 40);
    expect(machine.group().watermarks.newest).toBe(number + 40);
    for (const losesPower of [false, true]) {
      if (losesPower) machine.losePower();
      else machine.kill();
      await machine.start();
      expect(machine.group().watermarks.newest).toBe(number + 40);
      expect(machine.group().watermarks.released).toBeGreaterThanOrEqual(number);
      checkWhole(machine);
      await checkContents(machine, prepared.history);
    }
  });

  test('is the old one or the new one, wherever the process dies', async () => {
    const deaths = await crashEverywhere('restart', {
      async prepare(machine) {
        return prepare(machine);
      },
      act: (machine, { plan }) => machine.system.restartGroup(machine.group(), plan),
      async check(machine, prepared) {
        const group = machine.group();
        expect(machine.disk.existsSync(machine.system.filesOf(group).restart)).toBe(false);
        const hasBegun = group.catalog.nextVolumeId === 3;
        await (hasBegun ? checkNew(machine, prepared) : checkOld(machine, prepared));
      },
    });
    expect(deaths).toBeGreaterThan(40);
  }, 120_000);

  test('does without what an area holds that is away, and passes it over when it is back', async () => {
    const machine = new SimulatedMachine('restart away');
    await machine.start();
    const prepared = await prepare(machine, ['/x/1', '/x/2']);
    const files = machine.system.filesOf(machine.group());
    await write(machine, prepared.history, 10);
    await settle(machine);
    await machine.stop();
    const move = (from: string, to: string): void => {
      const disk = machine.machine.attach();
      disk.renameSync(from, to);
      disk.syncDirectorySync('/x');
    };
    planRestart(machine.machine.attach(), files, prepared.plan);
    move('/x/1', '/x/away');
    await machine.start();
    await checkBegun(machine, prepared);
    await write(machine, prepared.history, 20);
    machine.kill();
    move('/x/away', '/x/1');
    for (let life = 0; life < 3; life += 1) {
      await machine.start();
      expect(machine.group().state).toBe('normal');
      expect(machine.group().watermarks.newest).toBe(prepared.plan.number + 20 * (life + 1));
      await checkContents(machine, prepared.history);
      await write(machine, prepared.history, 20);
      if (life === 1) machine.losePower();
      else machine.kill();
    }
  });

  test('stays as it is where that cannot be planned', async () => {
    const machine = new SimulatedMachine('restart full');
    await machine.start();
    const { history, plan } = await prepare(machine);
    machine.machine.faults.add({ kind: 'no_space', operation: 'write', role: 'catalog', nth: 1 });
    await expect(
      machine.run(machine.system.restartGroup(machine.group(), plan)),
    ).rejects.toMatchObject({ code: 'disk_full' });
    await write(machine, history, 5);
    await checkContents(machine, history);
  });

  test('is opened later where it cannot be at once', async () => {
    const machine = new SimulatedMachine('restart later');
    await machine.start();
    const prepared = await prepare(machine);
    machine.machine.faults.add({
      kind: 'write_error',
      operation: 'write',
      role: 'checkpoint',
      nth: 1,
    });
    await machine.run(machine.system.restartGroup(machine.group(), prepared.plan));
    expect(machine.events.map(({ code }) => code)).toContain('group_not_opened');
    await checkBegun(machine, prepared);
  });
});
