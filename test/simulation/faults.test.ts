import { expect, test } from 'vitest';
import type { DiskFile } from '../../src/platform/disk.ts';
import { systemErrorCode } from '../../src/platform/errors.ts';
import { diskFaultKinds, FaultCounter, type FaultRule } from './faults.ts';
import { filled, newDisk } from './fresh-disk.ts';
import { ProcessClock } from './simulated-clock.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { ProcessDied } from './simulated-process-disk.ts';
import { SimulatedRandom } from './simulated-random.ts';

function codeOf(run: () => unknown): string {
  try {
    run();
    return 'done';
  } catch (error) {
    return systemErrorCode(error) ?? String(error);
  }
}

function write(file: DiskFile): string {
  return codeOf(() => file.writeSync(filled(512, 1), 0, 512, 0));
}

function withRules(...rules: FaultRule[]): SimulatedDisk {
  const machine = newDisk(1);
  for (const rule of rules) machine.faults.add(rule);
  return machine;
}

test('a rule strikes its operation of its role, the nth time, once', () => {
  const rule = { kind: 'write_error', operation: 'write', role: 'segment', nth: 3 } as const;
  const machine = withRules(rule);
  const disk = machine.attach();
  const segment = disk.openSync('/segment', 'create', 'segment');
  const volume = disk.openSync('/volume', 'create', 'volume');
  expect(Array.from({ length: 5 }, () => write(volume))).not.toContain('EIO');
  const codes = Array.from({ length: 5 }, () => write(segment));
  expect(codes).toEqual(['done', 'done', 'EIO', 'done', 'done']);
  expect(machine.counter.of('write_error')).toBe(1);
});

test('a rule may strike from the nth time on, as often as it says, under one path', () => {
  const machine = withRules({
    kind: 'no_space',
    operation: 'write',
    path: '/a/',
    nth: 2,
    times: 2,
  });
  const disk = machine.attach();
  disk.makeDirectorySync('/a');
  const inside = disk.openSync('/a/x', 'create', 'volume');
  const outside = disk.openSync('/x', 'create', 'volume');
  expect(write(outside)).toBe('done');
  const codes = Array.from({ length: 5 }, () => write(inside));
  expect(codes).toEqual(['done', 'ENOSPC', 'ENOSPC', 'done', 'done']);
});

test('a rule may strike by chance, until it is removed', () => {
  const rule = { kind: 'read_error', operation: 'read', probability: 0.25 } as const;
  const machine = withRules(rule);
  const file = machine.attach().openSync('/x', 'create', 'volume');
  file.writeSync(filled(512, 1), 0, 512, 0);
  const read = (): string => codeOf(() => file.readSync(new Uint8Array(512), 0, 512, 0));
  const struck = Array.from({ length: 1000 }, read).filter((code) => code === 'EIO').length;
  expect(struck).toBeGreaterThan(180);
  expect(struck).toBeLessThan(320);
  expect(machine.counter.of('read_error')).toBe(struck);
  machine.faults.remove(rule);
  expect(Array.from({ length: 100 }, read)).not.toContain('EIO');
});

test('an asynchronous read or sync that is struck says so to its callback', () => {
  const machine = withRules(
    { kind: 'read_error', operation: 'read', nth: 1 },
    { kind: 'sync_error', operation: 'sync', nth: 1 },
  );
  const file = machine.attach().openSync('/x', 'create', 'volume');
  const codes: (string | undefined)[] = [];
  file.read(new Uint8Array(10), 0, 10, 0, (error) => codes.push(systemErrorCode(error)));
  file.dataSync((error) => codes.push(systemErrorCode(error)));
  expect(codes).toEqual([]);
  machine.clock.runUntilIdle();
  expect(codes).toEqual(['EIO', 'EIO']);
});

test('a write that fails may have been done in part, from its beginning', () => {
  const lengths = new Set<number>();
  for (let seed = 0; seed < 50; seed++) {
    const machine = newDisk(seed);
    machine.faults.add({ kind: 'write_error', operation: 'write', nth: 2 });
    const disk = machine.attach();
    const file = disk.openSync('/x', 'create', 'volume');
    file.writeSync(filled(8192, 1), 0, 8192, 0);
    expect(codeOf(() => file.writeSync(filled(8192, 2), 0, 8192, 0))).toBe('EIO');
    const contents = disk.readFileSync('/x', 'volume') ?? filled(0, 0);
    const written = contents.lastIndexOf(2) + 1;
    expect(contents.subarray(0, written)).toEqual(filled(written, 2));
    expect(contents.subarray(written)).toEqual(filled(8192 - written, 1));
    lengths.add(written);
  }
  expect(lengths.size).toBeGreaterThan(20);
});

test('reservations, entries and directories are struck too', () => {
  const operations = ['write', 'entry', 'sync_directory'] as const;
  const machine = newDisk(1);
  const disk = machine.attach();
  const file = disk.openSync('/x', 'create', 'segment');
  for (const operation of operations) machine.faults.add({ kind: 'no_space', operation });
  const attempts = [
    () => file.preallocateSync(0, 4096),
    () => file.punchHoleSync(0, 4096),
    () => file.zeroRangeSync(0, 4096),
    () => file.truncateSync(0),
    () => disk.openSync('/y', 'create', 'segment'),
    () => disk.renameSync('/x', '/y'),
    () => disk.removeFileSync('/x'),
    () => disk.makeDirectorySync('/d'),
    () => disk.syncDirectorySync('/'),
    () => disk.replaceFileSync('/z', filled(1, 1), 'catalog'),
  ];
  for (const attempt of attempts) expect(codeOf(attempt)).toBe('ENOSPC');
  expect(disk.listSync('/')).toEqual(['x']);
});

test('bit rot changes one bit of what is read, for good', () => {
  for (let seed = 0; seed < 50; seed++) {
    const machine = newDisk(seed);
    const disk = machine.attach();
    const file = disk.openSync('/x', 'create', 'segment');
    file.writeSync(filled(10_000, 0), 0, 10_000, 0);
    file.dataSyncSync();
    disk.syncDirectorySync('/');
    machine.faults.add({ kind: 'bit_rot', operation: 'read', role: 'segment', nth: 1 });
    const bytes = new Uint8Array(3000);
    file.readSync(bytes, 0, 3000, 5000);
    expect(bitsSet(bytes)).toBe(1);
    machine.powerLost();
    expect(bitsSet(machine.attach().readFileSync('/x', 'segment') ?? bytes)).toBe(1);
    expect(machine.counter.of('bit_rot')).toBe(1);
  }
});

test('a bit can be made to rot once the device holds something', () => {
  const machine = newDisk(2);
  const disk = machine.attach();
  const file = disk.openSync('/x', 'create', 'segment');
  expect(machine.rotBit('/x')).toBe(false);
  file.writeSync(filled(4096, 0), 0, 4096, 0);
  expect(machine.rotBit('/x')).toBe(false); // The device has nothing of it yet.
  file.dataSyncSync();
  expect(machine.rotBit('/x')).toBe(true);
  expect(bitsSet(disk.readFileSync('/x', 'segment') ?? filled(0, 0))).toBe(1);
  expect(machine.counter.of('bit_rot')).toBe(1);
});

function bitsSet(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) for (let bit = 0; bit < 8; bit++) count += (byte >> bit) & 1;
  return count;
}

test('a full disk takes what fits, refuses the rest, and goes on when there is space', () => {
  const machine = newDisk(3, { capacityBytes: 64 * 1024 });
  const disk = machine.attach();
  const file = disk.openSync('/x', 'create', 'volume');
  file.writeSync(filled(40_960, 1), 0, 40_960, 0);
  expect(disk.freeBytesSync('/')).toBe(24_576);
  expect(codeOf(() => file.writeSync(filled(40_960, 2), 0, 40_960, 40_960))).toBe('ENOSPC');
  expect(file.sizeSync()).toBe(65_536);
  expect(disk.freeBytesSync('/')).toBe(0);
  expect(codeOf(() => file.preallocateSync(65_536, 4096))).toBe('ENOSPC');
  expect(codeOf(() => file.zeroRangeSync(65_536, 4096))).toBe('ENOSPC');
  file.writeSync(filled(4096, 3), 0, 4096, 0); // What is allocated can be overwritten.
  file.punchHoleSync(0, 8192);
  expect(disk.freeBytesSync('/')).toBe(8192);
  expect(codeOf(() => file.writeSync(filled(8192, 4), 0, 8192, 65_536))).toBe('done');
  disk.removeFileSync('/x');
  expect(disk.freeBytesSync('/')).toBe(0); // As long as it is open.
  file.closeSync();
  expect(disk.freeBytesSync('/')).toBe(64 * 1024);
  expect(machine.counter.of('disk_full')).toBe(3);
});

test('space adds up after renames over files, crashes and power losses', () => {
  for (let seed = 0; seed < 50; seed++) {
    const machine = newDisk(seed, { capacityBytes: 1024 * 1024 });
    const random = new SimulatedRandom(seed);
    for (let round = 0; round < 5; round++) {
      const disk = machine.attach();
      for (let step = 0; step < 30; step++) {
        const name = `/${random.int(5)}`;
        const file = disk.openSync(name, 'open-or-create', 'volume');
        file.writeSync(filled(4096, 1), 0, 4096, random.int(20) * 4096);
        if (random.chance(0.3)) file.punchHoleSync(random.int(20) * 4096, 8192);
        if (random.chance(0.3)) disk.renameSync(name, `/${random.int(5)}`);
        if (random.chance(0.2) && disk.existsSync(name)) disk.removeFileSync(name);
        if (random.chance(0.2)) file.dataSyncSync();
        if (random.chance(0.2)) disk.syncDirectorySync('/');
        if (random.chance(0.7)) file.closeSync();
      }
      if (random.chance(0.5)) machine.powerLost();
      else machine.processCrash();
      const after = machine.attach();
      const sizes = after.listSync('/').map((name) => {
        const file = after.openSync(`/${name}`, 'read', 'volume');
        return file.allocatedBytesSync();
      });
      const used = sizes.reduce((sum, size) => sum + size, 0);
      expect(machine.allocatedBytes).toBe(used);
      machine.processCrash();
    }
  }
});

test('what is slow takes its time: in the thread, or until it calls back', () => {
  const machine = newDisk(4);
  const file = machine.attach().openSync('/x', 'create', 'volume');
  const rule = { kind: 'slow', operation: 'sync', milliseconds: 5000 } as const;
  machine.faults.add(rule);
  const before = machine.clock.monotonicMilliseconds();
  file.dataSyncSync();
  expect(machine.clock.monotonicMilliseconds() - before).toBe(5000);
  let at = 0;
  file.dataSync(() => {
    at = machine.clock.monotonicMilliseconds();
  });
  machine.clock.runUntilIdle();
  expect(at - before).toBeGreaterThanOrEqual(10_000);
  expect(machine.counter.of('slow')).toBe(2);
});

test('a process can die in the middle of a write, and its clock with it', () => {
  const lengths = new Set<number>();
  for (let seed = 0; seed < 50; seed++) {
    const machine = newDisk(seed);
    const clock = new ProcessClock(machine.clock);
    const disk = machine.attach(() => clock.kill());
    const file = disk.openSync('/x', 'create', 'segment');
    clock.after(1, () => expect.unreachable('the process is dead'));
    machine.faults.add({ kind: 'death', operation: 'write', nth: 2 });
    file.writeSync(filled(100, 1), 0, 100, 0);
    expect(() => file.writeSync(filled(5000, 2), 0, 5000, 100)).toThrow(ProcessDied);
    expect(() => disk.listSync('/')).toThrow(ProcessDied);
    machine.clock.runUntilIdle();
    lengths.add(machine.attach().readFileSync('/x', 'segment')?.length ?? 0);
    expect(machine.counter.of('death')).toBe(1);
    expect(machine.counter.of('process_crash')).toBe(1);
  }
  expect(Math.min(...lengths)).toBeGreaterThanOrEqual(100);
  expect(lengths.size).toBeGreaterThan(20);
});

test('the counter says what never happened', () => {
  const counter = new FaultCounter(['one', 'two']);
  counter.count('one');
  counter.count('three', 5);
  expect(counter.neverHappened()).toEqual(['two']);
  const other = new FaultCounter(['two', 'four']);
  other.count('two');
  counter.add(other);
  counter.expect(['one']);
  expect(counter.neverHappened()).toEqual(['four']);
  expect(counter.report()).toEqual({ four: 0, one: 1, three: 5, two: 1 });
  expect(newDisk(5).counter.neverHappened().sort()).toEqual([...diskFaultKinds].sort());
});

test('a campaign with every rule sees every kind of fault', () => {
  const counter = new FaultCounter();
  const rules: FaultRule[] = [
    { kind: 'read_error', operation: 'read', probability: 0.01 },
    { kind: 'write_error', operation: 'write', probability: 0.01 },
    { kind: 'no_space', operation: 'write', probability: 0.01 },
    { kind: 'sync_error', operation: 'sync', probability: 0.05 },
    { kind: 'bit_rot', operation: 'read', probability: 0.01 },
    { kind: 'slow', operation: 'sync', probability: 0.05, milliseconds: 10 },
    { kind: 'death', operation: 'write', probability: 0.002 },
  ];
  for (let seed = 0; seed < 20; seed++) {
    const machine = newDisk(seed, { counter, capacityBytes: 256 * 1024 });
    for (const rule of rules) machine.faults.add(rule);
    campaign(machine, new SimulatedRandom(seed));
  }
  expect(counter.neverHappened()).toEqual([]);
});

function campaign(machine: SimulatedDisk, random: SimulatedRandom): void {
  let disk = machine.attach();
  for (let step = 0; step < 500; step++) {
    if (disk.isDead) disk = machine.attach();
    try {
      const name = `/${random.int(4)}`;
      const file = disk.openSync(name, 'open-or-create', 'volume');
      file.writeSync(filled(5000, step), 0, 5000, random.int(30) * 4096);
      file.punchHoleSync(random.int(30) * 4096, 4096);
      file.readIfCachedSync(filled(512, 0), 0, 512, 0);
      file.readSync(filled(8192, 0), 0, 8192, random.int(30) * 4096);
      if (random.chance(0.3)) file.dataSyncSync();
      file.closeSync();
      if (random.chance(0.2)) disk.renameSync(name, `/${random.int(4)}`);
      if (random.chance(0.1) && disk.existsSync(name)) disk.removeFileSync(name);
      if (random.chance(0.2)) disk.syncDirectorySync('/');
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
    }
    if (random.chance(0.02)) {
      machine.powerLost();
      disk = machine.attach();
    }
  }
}
