import { expect, test } from 'vitest';
import { must } from '../../src/platform/assert.ts';
import { KiB, MiB, slabHeadroomBytes } from '../../src/platform/limits.ts';
import { serve } from './volume-under-test.ts';

test('a sync that the bound brings about in the middle of a run does not cover the run', async () => {
  for (let seed = 0; seed < 6; seed += 1) {
    const { machine, host } = await serve(`mid run ${seed}`, { sizeBytes: 4 * MiB });
    const { session } = host;
    const block = new Uint8Array(200 * KiB).fill(7);
    for (let i = 0; i < 20; i += 1) host.writeNow(0, block);
    const slab = must(session.slabs.take(), 'a slab is free');
    const number = session.stampWrite(slab, slabHeadroomBytes, 28, 1 * MiB, 4 * KiB);
    // The next request of the same chunk does not fit: a sync begins, then the run is appended.
    expect(session.admit(machine.system.pool.bytesMax)).toBe(false);
    expect(session.commitRun()).toBe(0);
    session.retire(slab);
    await machine.until(() => machine.group().watermarks.durable >= number);
    machine.losePower();
    await machine.start();
    expect(machine.group().watermarks.durable).toBe(number);
  }
});
