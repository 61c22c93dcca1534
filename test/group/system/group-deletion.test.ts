import { expect, test } from 'vitest';
import { MiB } from '../../../src/platform/limits.ts';
import { SimulatedMachine } from '../../journal/simulated-system.ts';

test('a group whose deletion failed on the way is made anew, and nothing of it is left', async () => {
  const machine = new SimulatedMachine('half');
  const system = await machine.start();
  await machine.createGroup({ journalDirectories: ['/areas/a'] });
  await machine.createVolume('v', MiB);
  const path = '/areas/a/000002.segment';
  machine.machine.faults.add({ kind: 'write_error', operation: 'entry', path, times: 1 });
  await expect(machine.run(system.deleteGroup('g', true))).rejects.toThrow('EIO');
  expect(machine.disk.existsSync(path)).toBe(true);
  expect(system.groups.size).toBe(0);
  await machine.createGroup();
  expect(machine.disk.existsSync('/areas/a')).toBe(false);
  await machine.createVolume('w', MiB);
  machine.losePower();
  await machine.start();
  expect([...machine.group().volumes.keys()]).toEqual(['w']);
});

test('a deletion that failed is done when it is asked for again', async () => {
  const machine = new SimulatedMachine('again');
  const system = await machine.start();
  await machine.createGroup({ journalDirectories: ['/areas/a'] });
  // Its checksums have their directory.
  await machine.pass(100);
  const path = '/data/groups/g';
  machine.machine.faults.add({ kind: 'write_error', operation: 'entry', path, times: 1 });
  await expect(machine.run(system.deleteGroup('g', true))).rejects.toThrow('EIO');
  expect(machine.disk.existsSync(`${path}/catalog`)).toBe(true);
  expect(await machine.run(system.deleteGroup('g', true))).toBe(true);
  expect([machine.disk.existsSync(path), machine.disk.existsSync('/areas/a')]).toEqual([
    false,
    false,
  ]);
  expect(await machine.run(system.deleteGroup('g', true))).toBe(false);
});

test('a group that was made but could not be opened is made anew', async () => {
  const machine = new SimulatedMachine('unopened');
  await machine.start();
  const path = '/data/groups/g/head';
  machine.machine.faults.add({ kind: 'read_error', operation: 'read', path, times: 1 });
  await expect(machine.createGroup()).rejects.toThrow('EIO');
  await machine.createGroup();
  await machine.createVolume('v', MiB);
  machine.kill();
  await machine.start();
  expect(machine.group().state).toBe('normal');
});

test('a group that could not be made tells why, also where it could not be taken away again', async () => {
  const machine = new SimulatedMachine('told');
  const system = await machine.start();
  const { faults } = machine.machine;
  faults.add({ kind: 'write_error', operation: 'entry', path: '/areas/a', times: 1 });
  faults.add({ kind: 'write_error', operation: 'entry', path: '/data/groups/g/volumes', nth: 2 });
  await expect(machine.createGroup({ journalDirectories: ['/areas/a'] })).rejects.toThrow(
    'cannot make journal directory /areas/a: EIO',
  );
  expect(machine.disk.isDirectorySync('/data/groups/g/volumes')).toBe(true);
  expect(system.groups.size).toBe(0);
  await machine.createGroup();
  expect(machine.group().state).toBe('normal');
});
