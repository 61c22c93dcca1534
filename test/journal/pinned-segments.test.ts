import { expect, test } from 'vitest';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { SimulatedMachine } from './simulated-system.ts';
import { TestHost } from './test-host.ts';
import { serve } from './volume-under-test.ts';

test('reads that hold the journal up let it go on when they are done', async () => {
  const machine = new SimulatedMachine('pinned', { cacheMissChance: 1 });
  const setting = await serve(machine, { sizeBytes: 8 * MiB });
  const reader = new TestHost(machine, 'g/v');
  await setting.writeMuch(20, 100 * KiB);
  machine.machine.faults.add({
    kind: 'slow',
    operation: 'read',
    role: 'segment',
    milliseconds: 20_000,
    isLaterOnly: true,
  });
  const before = machine.clock.monotonicMilliseconds();
  const reading = reader.read(0, 8 * MiB);
  // Twice the journal: its segments are released, but those that are read cannot be used again.
  await setting.writeMuch(1200, 100 * KiB);
  expect(machine.clock.monotonicMilliseconds() - before).toBeGreaterThan(20_000);
  expect(machine.clock.monotonicMilliseconds() - before).toBeLessThan(40_000);
  machine.machine.faults.clear();
  expect(Buffer.isBuffer(await reading)).toBe(true);
  await setting.check(machine.group().watermarks.newest);
});
