import { expect, test } from 'vitest';
import { contentsOf, create, filled, newDisk, outcomes, seeds } from './fresh-disk.ts';
import { ProcessDied, type SimulatedProcessDisk } from './simulated-process-disk.ts';

test('a new file may vanish until its directory is synced, however well it was synced itself', () => {
  const lost = outcomes((disk) => {
    const file = disk.openSync('/x', 'create', 'volume');
    file.writeSync(filled(512, 1), 0, 512, 0);
    file.dataSyncSync();
  });
  expect([...lost.keys()].sort()).toEqual(['1', 'gone']);
  const kept = outcomes((disk) => {
    const file = disk.openSync('/x', 'create', 'volume');
    disk.syncDirectorySync('/');
    file.writeSync(filled(512, 1), 0, 512, 0);
    file.dataSyncSync();
  });
  expect([...kept.keys()]).toEqual(['1']);
});

test('a directory whose own entry was not synced takes with it what was synced in it', () => {
  const run = (disk: SimulatedProcessDisk, makes: (path: string) => void): void => {
    makes('/d');
    const file = disk.openSync('/d/x', 'create', 'volume');
    file.writeSync(filled(512, 1), 0, 512, 0);
    file.dataSyncSync();
    disk.syncDirectorySync('/d');
  };
  const kept = outcomes((disk) => run(disk, (path) => disk.makeDirectorySync(path)), '/d/x');
  expect([...kept.keys()]).toEqual(['1']);
  const undone = outcomes((disk) => {
    disk.makeDirectorySync('/before');
    run(disk, () => disk.renameSync('/before', '/d'));
  }, '/d/x');
  expect([...undone.keys()].sort()).toEqual(['1', 'gone']);
});

test('a rename is undone or not, but the file always has one name', () => {
  const seen = new Set<string>();
  for (const seed of seeds) {
    const machine = newDisk(seed);
    const disk = machine.attach();
    create(disk, '/a').writeSync(filled(1, 1), 0, 1, 0);
    disk.makeDirectorySync('/d');
    disk.renameSync('/a', '/b');
    disk.renameSync('/b', '/d/c');
    disk.renameSync('/d/c', '/e');
    machine.powerLost();
    const after = machine.attach();
    const names = ['/a', '/b', '/d/c', '/e'].filter((name) => after.existsSync(name));
    expect(names).toHaveLength(1);
    seen.add(names.join());
  }
  expect([...seen].sort()).toEqual(['/a', '/b', '/d/c', '/e']);
});

test('a synced rename stays, from whichever of its directories, and brings what it presupposes', () => {
  for (const [synced, seed] of ['/', '/d'].flatMap((at) => seeds.map((of) => [at, of] as const))) {
    const machine = newDisk(seed);
    const disk = machine.attach();
    disk.makeDirectorySync('/d');
    disk.openSync('/a', 'create', 'volume');
    disk.renameSync('/a', '/d/b');
    disk.syncDirectorySync(synced);
    machine.powerLost();
    const after = machine.attach();
    expect([after.existsSync('/a'), after.existsSync('/d/b')]).toEqual([false, true]);
  }
});

test('a removed file may come back, with what was synced of it, until its directory is synced', () => {
  const run = (disk: SimulatedProcessDisk): void => {
    const file = create(disk, '/x');
    file.writeSync(filled(512, 1), 0, 512, 0);
    file.dataSyncSync();
    disk.removeFileSync('/x');
  };
  expect([...outcomes(run).keys()].sort()).toEqual(['1', 'gone']);
  const synced = outcomes((disk) => {
    run(disk);
    disk.syncDirectorySync('/');
  });
  expect([...synced.keys()]).toEqual(['gone']);
});

test('a replaced small file has the old contents or the new, and the new ones once it returned', () => {
  const found = outcomes((disk) => {
    disk.replaceFileSync('/x', filled(3000, 1), 'catalog');
    disk.replaceFileSync('/x', filled(4000, 2), 'catalog');
  });
  expect([...found.keys()]).toEqual(['2 2 2 2 2 2 2 2']);
  const seen = new Set<string>();
  for (const seed of seeds) {
    const machine = newDisk(seed);
    const disk = machine.attach();
    disk.replaceFileSync('/x', filled(3000, 1), 'catalog');
    const nth = 1 + (seed % 6);
    const operation = (['entry', 'write', 'write', 'sync', 'entry', 'sync_directory'] as const)[
      nth - 1
    ];
    machine.faults.add({
      kind: 'death',
      operation: operation ?? 'sync',
      nth: nth === 3 || nth === 5 ? 2 : 1,
    });
    expect(() => disk.replaceFileSync('/x', filled(4000, 2), 'catalog')).toThrow(ProcessDied);
    machine.powerLost();
    const contents = contentsOf(machine.attach(), '/x') ?? filled(0, 0);
    expect([3000, 4000]).toContain(contents.length);
    expect(contents).toEqual(filled(contents.length, contents.length === 3000 ? 1 : 2));
    seen.add(`${nth} ${contents.length}`);
  }
  expect(seen).toContain('1 3000');
  expect(seen).toContain('6 3000');
  expect(seen).toContain('6 4000');
});
