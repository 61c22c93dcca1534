import { describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../src/platform/limits.ts';
import {
  dropPreserved,
  PreservedBlocks,
  preservedBlockBytes,
  putBack,
} from '../../src/volume/preserved-blocks.ts';
import type { DiskFile } from '../../src/platform/disk.ts';
import { must } from '../../src/platform/assert.ts';
import { newDisk } from '../simulation/fresh-disk.ts';
import type { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedRandom } from '../simulation/simulated-random.ts';

const directory = '/preserved';
const sizes = new Map([
  [1, 2 * MiB],
  [2, 1 * MiB + 512 * 3],
]);
const volumes = [...sizes].map(([id, sizeBytes]) => ({ id, sizeBytes }));

function pathOf(id: number): string {
  return `/volume-${id}`;
}

function contentsOf(machine: SimulatedDisk, id: number): Buffer {
  const disk = machine.attach();
  return Buffer.from(must(disk.readFileSync(pathOf(id), 'volume'), 'the volume is there'));
}

/** A volume with data and holes, on the device. */
function prepare(machine: SimulatedDisk, random: SimulatedRandom): Map<number, Buffer> {
  const disk = machine.attach();
  for (const { id, sizeBytes } of volumes) {
    const file = disk.openSync(pathOf(id), 'create', 'volume');
    file.truncateSync(sizeBytes);
    for (let i = 0; i < 8; i += 1) {
      const length = 512 * random.between(1, 300);
      const offset = 512 * random.int((sizeBytes - length) / 512);
      file.writeSync(random.bytes(length), 0, length, offset);
    }
    file.dataSyncSync();
    file.closeSync();
  }
  disk.syncDirectorySync('/');
  return new Map(volumes.map(({ id }) => [id, contentsOf(machine, id)]));
}

/** As apply and copies do: preserved, then overwritten. Grows one of them, too. */
function overwrite(machine: SimulatedDisk, random: SimulatedRandom, steps: number): void {
  const disk = machine.attach();
  const files = new Map(
    volumes.map(({ id }) => [id, disk.openSync(pathOf(id), 'read-write', 'volume')]),
  );
  const preserved = new PreservedBlocks(disk, { directory, volumes });
  const fileOf = (id: number): DiskFile => must(files.get(id), `volume ${id} is open`);
  for (let step = 0; step < steps; step += 1) {
    const pieces = Array.from({ length: random.between(1, 4) }, () => {
      const id = random.pick([1, 2]);
      const grown = (sizes.get(id) ?? 0) + (id === 1 ? 256 * KiB : 0);
      const length = 512 * random.between(1, 400);
      return { id, length, offset: 512 * random.int((grown - length) / 512) };
    });
    for (const { id, offset, length } of pieces) preserved.want(id, offset, length);
    preserved.keep(fileOf);
    for (const { id, offset, length } of pieces) {
      if (random.chance(0.3)) fileOf(id).punchHoleSync(offset, length);
      else fileOf(id).writeSync(random.bytes(length), 0, length, offset);
    }
    if (random.chance(0.3)) for (const file of files.values()) file.dataSyncSync();
  }
}

async function restore(machine: SimulatedDisk): Promise<void> {
  const disk = machine.attach();
  const { clock } = machine;
  const places = volumes.map((volume) => ({ ...volume, path: pathOf(volume.id) }));
  await clock.run(putBack({ disk, clock }, directory, places), 60_000);
}

function dieAt(machine: SimulatedDisk, random: SimulatedRandom): void {
  const operation = random.pick(['write', 'sync', 'entry'] as const);
  machine.faults.add({ kind: 'death', operation, nth: random.between(1, 40) });
}

function end(machine: SimulatedDisk, random: SimulatedRandom): void {
  machine.faults.clear();
  if (random.chance(0.7)) machine.powerLost();
  else machine.processCrash();
}

describe('blocks that are preserved', () => {
  test('make volumes what they were, wherever the process died', async () => {
    let deaths = 0;
    for (let seed = 0; seed < 150; seed += 1) {
      const machine = newDisk(`preserve ${seed}`);
      const random = new SimulatedRandom(seed);
      const before = prepare(machine, random);
      for (let life = 0; life < 3; life += 1) {
        dieAt(machine, random);
        try {
          overwrite(machine, random, 6);
        } catch {
          deaths += 1;
        }
        end(machine, random);
      }
      dieAt(machine, random);
      await restore(machine).catch(() => {
        deaths += 1;
      });
      end(machine, random);
      await restore(machine);
      machine.powerLost();
      for (const [id, contents] of before) {
        const same = contents.equals(contentsOf(machine, id));
        expect({ seed, id, same }).toEqual({ seed, id, same: true });
      }
    }
    expect(deaths).toBeGreaterThan(200);
  }, 120_000);

  test('are those that were overwritten, once each', () => {
    const machine = newDisk('preserve once');
    const disk = machine.attach();
    prepare(machine, new SimulatedRandom('preserve once'));
    const file = disk.openSync(pathOf(1), 'read-write', 'volume');
    const preserved = new PreservedBlocks(disk, { directory, volumes });
    let asked = 0;
    const open = (): DiskFile => {
      asked += 1;
      return file;
    };
    preserved.want(1, 0, 100);
    preserved.keep(open);
    preserved.want(1, 512, preservedBlockBytes - 512);
    preserved.keep(open);
    expect(asked).toBe(1);
    preserved.want(1, preservedBlockBytes - 512, 1024);
    preserved.keep(open);
    expect(asked).toBe(2);
    // What is no volume of theirs, or lies behind its end, has nothing to be preserved.
    preserved.want(3, 0, 512);
    preserved.want(2, 4 * MiB, 512);
    preserved.keep(open);
    expect(asked).toBe(2);
    preserved.drop();
    expect(disk.existsSync(directory)).toBe(false);
    dropPreserved(disk, directory);
  });

  test('are not believed after a sync that failed', () => {
    const machine = newDisk('preserve sync');
    const disk = machine.attach();
    prepare(machine, new SimulatedRandom('preserve sync'));
    const file = disk.openSync(pathOf(1), 'read-write', 'volume');
    const preserved = new PreservedBlocks(disk, { directory, volumes });
    preserved.want(1, 0, 512);
    machine.faults.add({ kind: 'sync_error', operation: 'sync', nth: 1 });
    expect(() => preserved.keep(() => file)).toThrow('EIO');
    preserved.want(1, 0, 512);
    expect(() => preserved.keep(() => file)).toThrow('EIO');
    preserved.close();
    const again = new PreservedBlocks(disk, { directory, volumes });
    again.want(1, 0, 512);
    again.keep(() => file);
  });
});
