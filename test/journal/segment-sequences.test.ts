import { describe, expect, test } from 'vitest';
import { decodeSegmentHeader } from '../../src/journal/segment.ts';
import { segmentHeaderBytes } from '../../src/platform/limits.ts';
import type { SimulatedMachine } from './simulated-system.ts';
import { check, serve, states, writeMuch } from './takeover-setting.ts';

/** Of every segment header that the device holds, in any area. */
function sequences(machine: SimulatedMachine): number[] {
  const found: number[] = [];
  const { disk } = machine;
  const block = disk.allocateAligned(segmentHeaderBytes);
  for (const area of machine.group().areas) {
    for (let slot = 0; slot < area.slots; slot += 1) {
      const file = disk.openSync(area.segmentPath(slot), 'read', 'segment');
      file.readDirectSync(block, 0, block.length, 0);
      file.closeSync();
      const decoded = decodeSegmentHeader(block);
      if (decoded.kind === 'header') found.push(decoded.header.sequence);
    }
  }
  return found.sort((a, b) => a - b);
}

describe('a segment that could not be prepared', () => {
  for (const [name, rule] of [
    ['synced', { kind: 'sync_error', operation: 'sync' }],
    ['written', { kind: 'write_error', operation: 'write' }],
  ] as const) {
    test(`because its header was not ${name} gives its sequence to no other`, async () => {
      for (let seed = 0; seed < 3; seed += 1) {
        const setting = await serve(`${name} ${seed}`);
        const { machine, host } = setting;
        // The next one is prepared in the area that is written.
        const path = '/fast/a/000002.segment';
        machine.machine.faults.add({ ...rule, path, nth: 1 });
        await writeMuch(setting, 100, 200 * 1024);
        expect(await host.flush()).toBe(true);
        expect(states(setting)[0]).toBe('failed');
        const all = sequences(machine);
        expect(all).toEqual([...new Set(all)]);
        const { durable } = machine.group().watermarks;
        machine.losePower();
        await machine.start();
        expect(machine.group().state).toBe('normal');
        await check(setting, durable);
      }
    });
  }
});
