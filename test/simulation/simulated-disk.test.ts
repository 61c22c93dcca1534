import { expect, test } from 'vitest';
import type { DiskFile } from '../../src/platform/disk.ts';
import { systemErrorCode } from '../../src/platform/errors.ts';
import { contentsOf, create, filled, newDisk, outcomes, sectorsOf, seeds } from './fresh-disk.ts';
import { ProcessDied, type SimulatedProcessDisk } from './simulated-process-disk.ts';
import { SimulatedRandom } from './simulated-random.ts';

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
  expect(other.isLockedSync('/lock')).toBe(true);
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

/** A file whose first four sectors a failed sync gave up on; what the device has of its eight. */
function afterFailedSync(seed: number) {
  const machine = newDisk(seed);
  const disk = machine.attach();
  const file = create(disk, '/x');
  file.writeSync(filled(4096, 1), 0, 4096, 0);
  file.dataSyncSync();
  file.writeSync(filled(2048, 2), 0, 2048, 0);
  machine.faults.add({ kind: 'sync_error', operation: 'sync', nth: 1 });
  expect(() => file.dataSyncSync()).toThrow('EIO');
  file.dataSyncSync();
  const bytes = disk.allocateAligned(4096);
  const device = (): number[] =>
    sectorsOf(bytes.subarray(0, file.readDirectSync(bytes, 0, 4096, 0)));
  const cached = (): number[] => sectorsOf(bytes.subarray(0, file.readSync(bytes, 0, 4096, 0)));
  return { machine, file, cached, device };
}

test('after a failed sync the cache lies, and no later sync makes it true', () => {
  let lost = 0;
  for (const seed of seeds) {
    const { machine, cached, device } = afterFailedSync(seed);
    expect(cached()).toEqual([2, 2, 2, 2, 1, 1, 1, 1]);
    const held = device();
    expect(held.join('')).toMatch(/^[12]{4}1111$/);
    lost += held.filter((byte, sector) => sector < 4 && byte === 1).length;
    if (seed % 2 === 0) machine.dropCache();
    else machine.powerLost();
    expect(sectorsOf(contentsOf(machine.attach(), '/x'))).toEqual(held);
  }
  expect(lost).toBeGreaterThan(seeds.length);
});

test('what a failed sync gave up on and is written again is synced again', () => {
  for (const seed of seeds) {
    const { machine, file, device } = afterFailedSync(seed);
    const held = device();
    file.writeSync(filled(1024, 3), 0, 1024, 0);
    expect(device()).toEqual([3, 3, ...held.slice(2)]);
    file.dataSyncSync();
    if (seed % 2 === 0) machine.dropCache();
    else machine.powerLost();
    expect(sectorsOf(contentsOf(machine.attach(), '/x'))).toEqual([3, 3, ...held.slice(2)]);
  }
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
  expect(seen).toEqual(new Set([1, 2]));
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
