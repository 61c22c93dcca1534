import { expect, test } from 'vitest';
import { KiB, MiB, segmentBytes } from '../../../src/platform/limits.ts';
import { serve } from '../../journal/volume-under-test.ts';

test('a checkpoint begins when a quarter of the journal is applied: hosts go on in the rest', async () => {
  const journalCapacityBytes = 16 * segmentBytes;
  const setting = await serve('pace', { sizeBytes: 8 * MiB, journalCapacityBytes });
  const { machine } = setting;
  const { watermarks } = machine.group();
  const writes = (bytes: number): number => Math.ceil(bytes / (100 * KiB));
  await setting.writeMuch(writes(3.5 * segmentBytes), 100 * KiB);
  await machine.pass(1000);
  expect(watermarks.applied).toBe(watermarks.newest);
  expect(watermarks.released).toBe(0);
  await setting.writeMuch(writes(1.5 * segmentBytes), 100 * KiB);
  await machine.pass(1000);
  expect(watermarks.released).toBeGreaterThan(0);
});
