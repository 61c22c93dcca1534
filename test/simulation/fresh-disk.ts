/** Disks of the tests of the simulated disk, and what they are looked at by. */
import type { DiskFile } from '../../src/platform/disk.ts';
import { SimulatedClock } from './simulated-clock.ts';
import { SimulatedDisk, type SimulatedDiskOptions } from './simulated-disk.ts';
import type { SimulatedProcessDisk } from './simulated-process-disk.ts';
import { SimulatedRandom } from './simulated-random.ts';

export const seeds = Array.from({ length: 200 }, (_, seed) => seed);

export function newDisk(
  seed: number | string,
  options: Partial<SimulatedDiskOptions> = {},
): SimulatedDisk {
  const random = new SimulatedRandom(seed);
  return new SimulatedDisk({ clock: new SimulatedClock(), random, ...options });
}

export function filled(length: number, byte: number): Uint8Array {
  return new Uint8Array(length).fill(byte);
}

/** A file whose entry is on the device. */
export function create(disk: SimulatedProcessDisk, name: string): DiskFile {
  const file = disk.openSync(name, 'create', 'volume');
  disk.syncDirectorySync('/');
  return file;
}

export function contentsOf(disk: SimulatedProcessDisk, name: string): Uint8Array | undefined {
  return disk.readFileSync(name, 'volume');
}

/** First byte of each sector. */
export function sectorsOf(bytes: Uint8Array | undefined): number[] {
  const sectors: number[] = [];
  for (let at = 0; at < (bytes?.length ?? 0); at += 512) sectors.push(bytes?.[at] ?? -1);
  return sectors;
}

/** What a power loss left, by how often over all seeds, after `run` on a fresh disk. */
export function outcomes(
  run: (disk: SimulatedProcessDisk, machine: SimulatedDisk) => void,
  name = '/x',
) {
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
