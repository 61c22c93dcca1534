import { crc32 } from '../../src/platform/checksum.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import type { SimulatedFile } from './simulated-file.ts';

/** The number in the newest checkpoint of a group's directory that the device can show. */
export function checkpointOnDevice(machine: SimulatedDisk, directory: string): number | undefined {
  const file = machine.tree.find(`${directory}/checkpoint`);
  return file === undefined || file.isDirectory ? undefined : newestCheckpoint(file);
}

/** As told by the slots of the file, apart from the code that is tested. */
export function newestCheckpoint(file: SimulatedFile): number | undefined {
  const slots = Buffer.alloc(2 * 4096);
  file.readDirect(slots, 0, slots.length, 0);
  let newest: { counter: number; applied: number } | undefined;
  for (const slot of [slots.subarray(0, 4096), slots.subarray(4096)]) {
    if (slot.toString('latin1', 0, 8) !== 'jnbdCKP1') continue;
    if (slot.readUInt32LE(76) !== crc32(slot.subarray(0, 76))) continue;
    const counter = slot.readUIntLE(32, 6);
    if (newest === undefined || counter > newest.counter) {
      newest = { counter, applied: slot.readUIntLE(40, 6) };
    }
  }
  return newest?.applied;
}
