import { expect, test } from 'vitest';
import { isScheduledName } from '../../../src/group/catalog/snapshot-schedule.ts';
import { SnapshotSchedules } from '../../../src/group/system/snapshot-schedules.ts';
import { createClone } from '../../../src/group/volumes/clone-changes.ts';
import { createSnapshot, scheduleSnapshots } from '../../../src/group/volumes/snapshot-changes.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { parseSchedule } from '../../../src/platform/schedule-text.ts';
import { SimulatedMachine } from '../../journal/simulated-system.ts';

function begin(machine: SimulatedMachine): void {
  const { clock } = machine.group();
  const event = (): void => undefined;
  new SnapshotSchedules({ clock, event }, machine.system).start();
}

test('a schedule goes on over restarts, and leaves others alone', async () => {
  const machine = new SimulatedMachine('schedule');
  await machine.start();
  const group = await machine.createGroup();
  await machine.createVolume('v', MiB);
  begin(machine);
  const rules = parseSchedule('1m:3,5m:2') ?? [];
  expect(await machine.run(scheduleSnapshots(group, rules))).toBe(true);
  expect(await machine.run(scheduleSnapshots(group, rules))).toBe(false);
  const files = machine.system.filesOf(group);
  await machine.run(createSnapshot(machine.disk, group, files, 'mine'));
  await machine.pass(20 * 60_000);
  const names = (): string[] => machine.group().snapshots.living.map(({ name }) => name);
  const scheduled = names().filter(isScheduledName);
  expect(names()).toContain('mine');
  expect(scheduled.length).toBeGreaterThanOrEqual(4);
  expect(scheduled.length).toBeLessThanOrEqual(5);
  // One that a clone stands over stays for as long as that does.
  const [oldest = ''] = scheduled;
  createClone(group, oldest, 'c');
  machine.losePower();
  await machine.start();
  expect(machine.group().catalog.snapshotSchedule).toEqual(rules);
  expect(names().filter(isScheduledName)).toEqual(scheduled);
  begin(machine);
  await machine.pass(20 * 60_000);
  expect(names()).toContain(oldest);
  expect(names().filter(isScheduledName).length).toBeLessThanOrEqual(6);
  expect(machine.group().conditions.list()).toEqual([]);
  await machine.run(scheduleSnapshots(machine.group(), []));
  const last = names();
  await machine.pass(5 * 60_000);
  expect(names()).toEqual(last);
});
