import { expect, test } from 'vitest';
import type { DiskFile } from '../../src/platform/disk.ts';
import { systemErrorCode } from '../../src/platform/errors.ts';
import { SimulatedClock } from './simulated-clock.ts';
import {
  ProcessDied,
  SimulatedDisk,
  type SimulatedDiskOptions,
  type SimulatedProcessDisk,
} from './simulated-disk.ts';
import { SimulatedRandom } from './simulated-random.ts';

const seeds = Array.from({ length: 200 }, (_, seed) => seed);

function newDisk(
  seed: number | string,
  options: Partial<SimulatedDiskOptions> = {},
): SimulatedDisk {
  const random = new SimulatedRandom(seed);
  return new SimulatedDisk({ clock: new SimulatedClock(), random, ...options });
}

function filled(length: number, byte: number): Uint8Array {
  return new Uint8Array(length).fill(byte);
}

/** A file whose entry is on the device. */
function create(disk: SimulatedProcessDisk, name: string): DiskFile {
  const file = disk.openSync(name, 'create', 'volume');
  disk.syncDirectorySync('/');
  return file;
}

function contentsOf(disk: SimulatedProcessDisk, name: string): Uint8Array | undefined {
  return disk.readFileSync(name, 'volume');
}

/** First byte of each sector. */
function sectorsOf(bytes: Uint8Array | undefined): number[] {
  const sectors: number[] = [];
  for (let at = 0; at < (bytes?.length ?? 0); at += 512) sectors.push(bytes?.[at] ?? -1);
  return sectors;
}

/** What a power loss left, by how often over all seeds, after `run` on a fresh disk. */
function outcomes(run: (disk: SimulatedProcessDisk, machine: SimulatedDisk) => void, name = '/x') {
  const found = new Map<string, number>();
  for (const seed of seeds) {
    const machine = newDisk(seed);
    run(machine.attach(), machine);
    machine.powerLost();
    const contents = contentsOf(machine.attach(), name);
    const outcome = contents === undefined ? 'gone' : sectorsOf(contents).join(' ');
    found.set(outcome, (found.get(outcome) ?? 0) + 1);
  }
  return found;
}

test('what was synced survives, whatever else happens', () => {
  const found = outcomes((disk) => {
    const file = create(disk, '/x');
    file.writeSync(filled(1024, 1), 0, 1024, 0);
    file.dataSyncSync();
    file.writeSync(filled(1024, 2), 0, 1024, 1024);
  });
  for (const outcome of found.keys()) expect(outcome).toMatch(/^1 1( [02]){0,2}$/);
});

test('of one write, each sector is kept or lost: nothing, everything and everything between', () => {
  const found = outcomes((disk) => {
    const file = create(disk, '/x');
    file.writeSync(filled(2048, 1), 0, 2048, 0);
    file.dataSyncSync();
    file.writeSync(filled(2048, 2), 0, 2048, 0);
  });
  for (const outcome of found.keys()) expect(outcome).toMatch(/^[12] [12] [12] [12]$/);
  expect(found.get('1 1 1 1')).toBeGreaterThan(10);
  expect(found.get('2 2 2 2')).toBeGreaterThan(10);
  expect(found.size).toBeGreaterThanOrEqual(12);
});

test('writes are reordered: a later one is kept while an earlier one is lost', () => {
  const found = outcomes((disk) => {
    const file = create(disk, '/x');
    file.preallocateSync(0, 4096);
    file.dataSyncSync();
    for (const at of [0, 1, 2]) file.writeSync(filled(512, at + 1), 0, 512, at * 512);
  });
  const kept = new Set([...found.keys()].map((outcome) => outcome.split(' ').slice(0, 3).join('')));
  expect([...kept].sort()).toEqual(['000', '003', '020', '023', '100', '103', '120', '123']);
});

test('of several writes of a sector, any may be the last that the device got', () => {
  const found = outcomes((disk) => {
    const file = create(disk, '/x');
    for (const byte of [1, 2, 3]) file.writeSync(filled(512, byte), 0, 512, 0);
    file.dataSyncSync();
    for (const byte of [4, 5]) file.writeSync(filled(512, byte), 0, 512, 0);
  });
  expect([...found.keys()].sort()).toEqual(['3', '4', '5']);
});

test('a sector is written as a whole: what a later write leaves of an earlier one comes with it', () => {
  for (const seed of seeds) {
    const machine = newDisk(seed);
    const file = create(machine.attach(), '/x');
    file.writeSync(filled(512, 1), 0, 512, 0);
    file.dataSyncSync();
    file.writeSync(filled(100, 2), 0, 100, 0);
    file.writeSync(filled(100, 3), 0, 100, 100);
    machine.powerLost();
    const contents = contentsOf(machine.attach(), '/x');
    expect(['1 1', '2 1', '2 3']).toContain(`${contents?.[0]} ${contents?.[100]}`);
  }
});

test('a size that was not synced may be lost or stay with contents that are zero', () => {
  const found = outcomes((disk) => {
    create(disk, '/x').writeSync(filled(1024, 1), 0, 1024, 0);
  });
  expect([...found.keys()].sort()).toEqual(['', '0 0', '0 1', '1 0', '1 1'].sort());
});

test('reservations, holes and truncations are lost or kept', () => {
  const reserved = outcomes((disk) => create(disk, '/x').preallocateSync(0, 4096));
  expect(reserved.size).toBe(2);
  const written = (disk: SimulatedProcessDisk): DiskFile => {
    const file = create(disk, '/x');
    file.writeSync(filled(4096, 1), 0, 4096, 0);
    file.dataSyncSync();
    return file;
  };
  const punched = outcomes((disk) => written(disk).punchHoleSync(0, 4096));
  const zeroed = outcomes((disk) => written(disk).zeroRangeSync(0, 4096));
  for (const found of [punched, zeroed]) {
    expect([...found.keys()].sort()).toEqual(['0 0 0 0 0 0 0 0', '1 1 1 1 1 1 1 1']);
  }
  const cut = outcomes((disk) => written(disk).truncateSync(512));
  expect([...cut.keys()].sort()).toEqual(['1', '1 1 1 1 1 1 1 1']);
  const synced = outcomes((disk) => {
    const file = written(disk);
    file.preallocateSync(4096, 4096);
    file.punchHoleSync(0, 4096);
    file.dataSyncSync();
  });
  expect([...synced.keys()]).toEqual([Array.from({ length: 16 }, () => 0).join(' ')]);
});

test('space that was reserved and synced stays reserved', () => {
  for (const seed of seeds) {
    const machine = newDisk(seed, { capacityBytes: 1024 * 1024 });
    const file = create(machine.attach(), '/x');
    file.preallocateSync(0, 512 * 1024);
    file.dataSyncSync();
    file.punchHoleSync(0, 4096);
    file.preallocateSync(512 * 1024, 4096);
    machine.powerLost();
    const free = machine.freeBytes;
    expect(free % 4096).toBe(0);
    expect(Math.abs(free - 512 * 1024)).toBeLessThanOrEqual(4096);
    const reopened = machine.attach().openSync('/x', 'read', 'volume');
    expect(free + reopened.allocatedBytesSync()).toBe(1024 * 1024);
  }
});

test('a sync covers what was written before it began, not what came while it ran', () => {
  const found = outcomes((disk, machine) => {
    const file = create(disk, '/x');
    file.preallocateSync(0, 4096);
    file.dataSyncSync();
    file.writeSync(filled(512, 1), 0, 512, 0);
    let isSynced = false;
    file.dataSync((error) => {
      expect(error).toBeNull();
      isSynced = true;
    });
    file.writeSync(filled(512, 2), 0, 512, 512);
    expect(isSynced).toBe(false);
    machine.clock.runUntilIdle();
    expect(isSynced).toBe(true);
  });
  expect([...found.keys()].map((outcome) => outcome.slice(0, 3)).sort()).toEqual(['1 0', '1 2']);
});

test('a sync that was not done by the power loss covers nothing', () => {
  const found = outcomes((disk) => {
    const file = create(disk, '/x');
    file.preallocateSync(0, 512);
    file.dataSyncSync();
    file.writeSync(filled(512, 1), 0, 512, 0);
    file.dataSync(() => expect.unreachable('the process is dead'));
  });
  expect([...found.keys()].sort()).toEqual(['0', '1']);
});

test('every version of every sector since the last sync may come back, and nothing else', () => {
  for (const seed of seeds) checkAgainstHistory(seed);
});

/** Bytes of a whole small file, zero after its end, as of every operation. */
function checkAgainstHistory(seed: number): void {
  const maximum = 48 * 1024;
  const machine = newDisk(seed, { delayMillisecondsMax: 5 });
  const random = new SimulatedRandom(`operations ${seed}`);
  let file = create(machine.attach(), '/x');
  const aligned = new Uint8Array(maximum);
  function image(): Uint8Array {
    aligned.fill(0);
    file.readSync(aligned, 0, maximum, 0);
    return aligned.slice();
  }
  let history = [{ image: image(), size: 0 }];
  let covered = 0;
  for (let step = 0; step < 150; step++) {
    const at = random.chance(0.5) ? random.int(10) * 4096 : random.int(maximum - 8000);
    const length = random.pick([0, 100, 512, 4096, 8000, random.int(8000)]);
    const what = random.int(14);
    if (what < 6) file.writeSync(random.bytes(length), 0, length, at);
    else if (what === 6) file.punchHoleSync(at, length);
    else if (what === 7) file.zeroRangeSync(at, length);
    else if (what === 8) file.preallocateSync(at, length);
    else if (what === 9) file.truncateSync(at);
    else if (what === 10) {
      file.dataSyncSync();
      covered = history.length - 1;
    } else if (what === 11) {
      const before = history.length - 1;
      const of = history;
      file.dataSync((error) => {
        expect(error).toBeNull();
        if (of === history) covered = Math.max(covered, before);
      });
    } else if (what === 12) machine.clock.step();
    else if (random.chance(0.3)) {
      machine.powerLost();
      const disk = machine.attach();
      file = disk.openSync('/x', 'read-write', 'volume');
      const size = file.sizeSync();
      const sizes = history.slice(covered).map((version) => version.size);
      expect(size).toBeGreaterThanOrEqual(Math.min(...sizes));
      expect(size).toBeLessThanOrEqual(Math.max(...sizes));
      const left = image();
      for (let sector = 0; sector * 512 < size; sector++) {
        const end = Math.min(size, (sector + 1) * 512);
        const found = Buffer.from(left.subarray(sector * 512, end));
        // What is cut off by a truncation is zero after it, whatever it is that was cut.
        const cuts = [
          512,
          ...sizes.map((at) => at - sector * 512).filter((at) => at > 0 && at < 512),
        ];
        const isKnown = history.slice(covered).some((version) =>
          cuts.some((cut) => {
            const expected = version.image.slice(sector * 512, end);
            return found.equals(expected.fill(0, cut));
          }),
        );
        if (!isKnown) expect.unreachable(`seed ${seed} step ${step}: sector ${sector} is new`);
      }
      const direct = disk.allocateAligned(maximum);
      expect(file.readDirectSync(direct, 0, maximum, 0)).toBe(size);
      expect(Buffer.compare(direct.subarray(0, size), left.subarray(0, size))).toBe(0);
      history = [];
      covered = 0;
    }
    history.push({ image: image(), size: file.sizeSync() });
  }
}

test('a process crash loses nothing that was written, and ends handles, locks and callbacks', () => {
  const machine = newDisk(1);
  const disk = machine.attach();
  const file = disk.openSync('/x', 'create', 'volume');
  file.writeSync(filled(5000, 1), 0, 5000, 0);
  disk.makeDirectorySync('/d');
  disk.renameSync('/x', '/d/y');
  const lock = disk.lockSync('/lock');
  expect(lock).toBeDefined();
  const other = machine.attach();
  expect(other.lockSync('/lock')).toBeUndefined();
  file.dataSync(() => expect.unreachable('the process is dead'));
  file.read(new Uint8Array(10), 0, 10, 0, () => expect.unreachable('the process is dead'));
  machine.processCrash(disk);
  expect(() => file.writeSync(filled(1, 1), 0, 1, 0)).toThrow(ProcessDied);
  expect(() => file.readIfCachedSync(filled(1, 1), 0, 1, 0)).toThrow(ProcessDied);
  expect(() => disk.existsSync('/lock')).toThrow(ProcessDied);
  expect(() => disk.openSync('/lock', 'read', 'lock')).toThrow(ProcessDied);
  machine.clock.runUntilIdle();
  expect(contentsOf(other, '/d/y')).toEqual(filled(5000, 1));
  const retaken = other.lockSync('/lock');
  expect(retaken).toBeDefined();
  lock?.release();
  expect(other.lockSync('/lock')).toBeUndefined();
  retaken?.release();
  expect(other.lockSync('/lock')).toBeDefined();
});

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

test('a synced rename stays, from whichever of its directories', () => {
  for (const [synced, seed] of ['/', '/d'].flatMap((at) => seeds.map((of) => [at, of] as const))) {
    const machine = newDisk(seed);
    const disk = machine.attach();
    create(disk, '/a');
    disk.makeDirectorySync('/d');
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

test('after a failed sync the cache lies: reads show it, the device does not have it, no later sync writes it', () => {
  let lost = 0;
  for (const seed of seeds) {
    const machine = newDisk(seed);
    const disk = machine.attach();
    const file = create(disk, '/x');
    file.writeSync(filled(4096, 1), 0, 4096, 0);
    file.dataSyncSync();
    file.writeSync(filled(2048, 2), 0, 2048, 0);
    const rule = { kind: 'sync_error', operation: 'sync', nth: 1 } as const;
    machine.faults.add(rule);
    expect(() => file.dataSyncSync()).toThrow('EIO');
    file.dataSyncSync();
    const bytes = disk.allocateAligned(4096);
    file.readSync(bytes, 0, 4096, 0);
    expect(sectorsOf(bytes)).toEqual([2, 2, 2, 2, 1, 1, 1, 1]);
    file.readDirectSync(bytes, 0, 4096, 0);
    const device = sectorsOf(bytes);
    expect(device.join('')).toMatch(/^[12]{4}1111$/);
    lost += device.filter((byte, sector) => sector < 4 && byte === 1).length;
    if (seed % 4 === 0) machine.dropCache();
    else if (seed % 4 === 1) machine.powerLost();
    else {
      // Written again, it is dirty again, and a sync means what it says.
      file.writeSync(filled(1024, 3), 0, 1024, 0);
      file.readDirectSync(bytes, 0, 4096, 0);
      expect(sectorsOf(bytes)).toEqual([3, 3, ...device.slice(2)]);
      file.dataSyncSync();
      device.splice(0, 2, 3, 3);
      if (seed % 4 === 2) machine.powerLost();
      else machine.dropCache();
    }
    expect(sectorsOf(contentsOf(machine.attach(), '/x'))).toEqual(device);
  }
  expect(lost).toBeGreaterThan(seeds.length);
});

test('a failed asynchronous sync gives up on what it covered only', () => {
  for (const seed of seeds) {
    const machine = newDisk(seed);
    const disk = machine.attach();
    const file = create(disk, '/x');
    file.preallocateSync(0, 4096);
    file.dataSyncSync();
    file.writeSync(filled(512, 1), 0, 512, 0);
    machine.faults.add({ kind: 'sync_error', operation: 'sync', nth: 1 });
    let code: string | undefined;
    file.dataSync((error) => {
      code = systemErrorCode(error);
    });
    file.writeSync(filled(512, 2), 0, 512, 512);
    machine.clock.runUntilIdle();
    expect(code).toBe('EIO');
    file.dataSyncSync();
    machine.powerLost();
    const [first, second] = sectorsOf(contentsOf(machine.attach(), '/x'));
    expect([0, 1]).toContain(first);
    expect(second).toBe(2);
  }
});

test('asynchronous reads and syncs end later, in any order, and their buffer has noise until then', () => {
  const machine = newDisk(3);
  const disk = machine.attach();
  const file = create(disk, '/x');
  file.writeSync(filled(4096, 1), 0, 4096, 0);
  const order: number[] = [];
  const buffers = Array.from({ length: 20 }, () => filled(4096, 1));
  for (const [number, bytes] of buffers.entries()) {
    file.read(bytes, 0, 4096, 0, (error, count) => {
      expect([error, count]).toEqual([null, 4096]);
      order.push(number);
    });
  }
  expect(order).toEqual([]);
  expect(buffers.filter((bytes) => bytes[7] !== 1).length).toBeGreaterThan(15);
  file.closeSync();
  machine.clock.runUntilIdle();
  expect(order).not.toEqual(order.toSorted((left, right) => left - right));
  expect(order.toSorted((left, right) => left - right)).toEqual([...buffers.keys()]);
  for (const bytes of buffers) expect(bytes).toEqual(filled(4096, 1));
});

test('a read that overlaps a write in time sees the old or the new contents', () => {
  const seen = new Set<number | undefined>();
  for (const seed of seeds) {
    const machine = newDisk(seed);
    const file = create(machine.attach(), '/x');
    file.writeSync(filled(100, 1), 0, 100, 0);
    const bytes = new Uint8Array(100);
    file.read(bytes, 0, 100, 0, () => seen.add(bytes[0]));
    file.writeSync(filled(100, 2), 0, 100, 0);
    machine.clock.runUntilIdle();
  }
  expect([...seen].sort()).toEqual([1, 2]);
});

test('cached reads sometimes say that they would have to ask', () => {
  const machine = newDisk(4, { cacheMissChance: 0.2 });
  const file = create(machine.attach(), '/x');
  file.writeSync(filled(100, 1), 0, 100, 0);
  const bytes = new Uint8Array(100);
  const answers = Array.from({ length: 1000 }, () => file.readIfCachedSync(bytes, 0, 100, 0));
  const misses = answers.filter((answer) => answer === -1).length;
  expect(misses).toBeGreaterThan(100);
  expect(misses).toBeLessThan(300);
  expect(machine.counter.of('cache_miss')).toBe(misses);
  expect(new Set(answers)).toEqual(new Set([-1, 100]));
});

test('files that are closed, or open for reading only, refuse', () => {
  const machine = newDisk(5);
  const disk = machine.attach();
  const file = create(disk, '/x');
  const reader = disk.openSync('/x', 'read', 'volume');
  expect(() => reader.writeSync(filled(1, 1), 0, 1, 0)).toThrow('EBADF');
  expect(() => reader.punchHoleSync(0, 1)).toThrow('EBADF');
  file.closeSync();
  file.closeSync();
  expect(() => file.sizeSync()).toThrow('EBADF');
  expect(() => file.dataSync(() => {})).toThrow('EBADF');
  const bytes = new Uint8Array(4096);
  expect(() => reader.readSync(bytes, 0, 4097, 0)).toThrow('range');
  expect(() => reader.readDirectSync(bytes, 0, 4096, 0)).toThrow('direct reads are aligned');
});

test('blocks are shared where the disk can, and what a failed sync lost is not among them', () => {
  const machine = newDisk(6, { canShareBlocks: true });
  const disk = machine.attach();
  const from = create(disk, '/from');
  const to = create(disk, '/to');
  from.writeSync(filled(8192, 1), 0, 8192, 0);
  from.truncateSync(16_384);
  expect(to.cloneRangeSync(from, 4096, 12_288, 4096)).toBe(true);
  expect(to.sizeSync()).toBe(16_384);
  expect(to.allocatedBytesSync()).toBe(4096);
  expect(to.nextDataSync(0)).toBe(4096);
  expect(to.cloneRangeSync(from, 1, 4096, 0)).toBe(false);
  const unable = newDisk(6).attach();
  expect(create(unable, '/a').cloneRangeSync(create(unable, '/b'), 0, 4096, 0)).toBe(false);
});

test('the same seed gives the same disk', () => {
  const run = (seed: number): string => {
    const machine = newDisk(seed, { cacheMissChance: 0.3 });
    const random = new SimulatedRandom('workload');
    let traces = '';
    for (let round = 0; round < 20; round++) {
      const file = machine.attach().openSync('/x', 'open-or-create', 'volume');
      for (let at = 0; at < 20; at++) {
        file.writeSync(random.bytes(3000), 0, 3000, random.int(20_000));
        traces += file.readIfCachedSync(new Uint8Array(10), 0, 10, 0);
        file.dataSync(() => {
          traces += machine.clock.monotonicMilliseconds();
        });
        machine.clock.step();
      }
      machine.powerLost();
      traces += Buffer.from(contentsOf(machine.attach(), '/x') ?? []).toString('hex');
    }
    return traces + JSON.stringify(machine.counter.report());
  };
  expect(run(1)).toBe(run(1));
  expect(run(1) === run(2)).toBe(false);
});
