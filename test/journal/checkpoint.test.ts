import { expect, test } from 'vitest';
import { type Checkpoint, CheckpointFile } from '../../src/journal/checkpoint.ts';
import type { Disk } from '../../src/platform/disk.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedRandom } from '../simulation/simulated-random.ts';

const groupId = '00112233445566778899aabbccddeeff';
const path = '/checkpoint';

function newMachine(seed = 1): SimulatedDisk {
  return new SimulatedDisk({ clock: new SimulatedClock(), random: new SimulatedRandom(seed) });
}

function checkpoint(applied: number): Checkpoint {
  return {
    groupId,
    applied,
    released: applied - 1,
    sequence: applied * 3,
    offset: 4096 + applied,
    hasChecksums: applied % 2 === 0,
  };
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return 'done';
  } catch (error) {
    return error instanceof JnbdError ? error.code : String(error);
  }
}

function readBack(disk: Disk): Checkpoint {
  const opened = CheckpointFile.open(disk, path, groupId);
  opened.file.close();
  return opened.checkpoint;
}

test('the newest checkpoint is read back, with numbers of 48 bits', () => {
  const disk = newMachine().attach();
  const large = {
    groupId,
    applied: 2 ** 48 - 1,
    released: 2 ** 48 - 2,
    sequence: 2 ** 47,
    offset: 2 ** 24,
    hasChecksums: true,
  };
  CheckpointFile.create(disk, path, checkpoint(1));
  expect(readBack(disk)).toEqual(checkpoint(1));
  for (const next of [checkpoint(2), checkpoint(3), checkpoint(4), large]) {
    const { file } = CheckpointFile.open(disk, path, groupId);
    file.writeSync(next);
    file.close();
    expect(readBack(disk)).toEqual(next);
  }
});

test('power lost while one is written leaves it or the one before', () => {
  const seen = new Set<number>();
  for (let seed = 0; seed < 100; seed += 1) {
    const machine = newMachine(seed);
    const disk = machine.attach();
    CheckpointFile.create(disk, path, checkpoint(1));
    const { file } = CheckpointFile.open(disk, path, groupId);
    for (let applied = 2; applied < 5; applied += 1) file.writeSync(checkpoint(applied));
    machine.faults.add({ kind: 'death', operation: seed % 2 === 0 ? 'write' : 'sync', nth: 1 });
    expect(() => file.writeSync(checkpoint(5))).toThrow('dead');
    machine.powerLost();
    const { applied } = readBack(machine.attach());
    expect([4, 5]).toContain(applied);
    seen.add(applied);
  }
  expect(seen.size).toBe(2);
});

test('a damaged slot leaves the other one; two damaged are an error that says so', () => {
  const disk = newMachine().attach();
  CheckpointFile.create(disk, path, checkpoint(1));
  const { file } = CheckpointFile.open(disk, path, groupId);
  file.writeSync(checkpoint(2));
  file.close();
  const raw = disk.openSync(path, 'read-write', 'checkpoint');
  const before = Buffer.alloc(8192);
  raw.readSync(before, 0, 8192, 0);
  for (let bit = 0; bit < 80 * 8; bit += 1) {
    const bytes = Buffer.from(before);
    bytes[4096 + (bit >> 3)] = (bytes[4096 + (bit >> 3)] ?? 0) ^ (1 << (bit & 7));
    raw.writeSync(bytes, 0, 8192, 0);
    expect(readBack(disk).applied, `bit ${bit}`).toBe(1);
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    raw.writeSync(bytes, 0, 8192, 0);
    expect(
      codeOf(() => readBack(disk)),
      `bit ${bit}`,
    ).toBe('checkpoint_damaged');
  }
});

test('a checkpoint that is missing is damage', () => {
  const disk = newMachine().attach();
  expect(codeOf(() => readBack(disk))).toBe('checkpoint_damaged');
});

test('the checkpoint of another group is none', () => {
  const disk = newMachine().attach();
  CheckpointFile.create(disk, path, { ...checkpoint(1), groupId: 'f'.repeat(32) });
  expect(codeOf(() => readBack(disk))).toBe('checkpoint_damaged');
});

test('a newer format is told from damage', async () => {
  const { crc32 } = await import('../../src/platform/checksum.ts');
  const disk = newMachine().attach();
  CheckpointFile.create(disk, path, checkpoint(1));
  const raw = disk.openSync(path, 'read-write', 'checkpoint');
  const bytes = Buffer.alloc(4096);
  raw.readSync(bytes, 0, 4096, 0);
  bytes.writeUInt16LE(2, 8);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 76)), 76);
  raw.writeSync(bytes, 0, 4096, 0);
  expect(codeOf(() => readBack(disk))).toBe('format_newer');
});
