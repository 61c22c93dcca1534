import { expect, test } from 'vitest';
import { must } from '../../src/platform/assert.ts';
import { errno } from '../../src/group/apply/export.ts';
import { KiB, MiB, slabHeadroomBytes } from '../../src/platform/limits.ts';
import { serve } from './volume-under-test.ts';

test('what was numbered when the journal had just failed is not read from a segment', async () => {
  const { machine, host } = await serve('mid stamp', { sizeBytes: 4 * MiB });
  const { session } = host;
  const bytes = 4 * KiB;
  await host.write(0, new Uint8Array(bytes).fill(1));
  expect(await host.flush()).toBe(true);
  machine.machine.faults.add({ kind: 'write_error', operation: 'write', role: 'segment' });
  const first = must(session.slabs.take(), 'a slab is free');
  const second = must(session.slabs.take(), 'a slab is free');
  expect(session.stampWrite(first, slabHeadroomBytes, 28, 0, bytes)).toBeGreaterThan(0);
  // In another slab: the run before it is appended, in vain, and then this record is numbered.
  expect(session.stampWrite(second, slabHeadroomBytes, 28, 1 * MiB, bytes)).toBeGreaterThan(0);
  expect(session.commitRun()).toBe(errno.EIO);
  session.retire(first);
  session.retire(second);
  expect(await host.read(0, bytes)).toBe(errno.EIO);
  expect(await host.read(1 * MiB, bytes)).toBe(errno.EIO);
});
