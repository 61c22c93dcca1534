import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type ReceiveSlab,
  ReceiveSlabPool,
  type SlabBudget,
} from '../../src/journal/receive-slab.ts';
import { must } from '../../src/platform/assert.ts';

const anyStep = fc.record({
  budget: fc.nat({ max: 4 }),
  what: fc.constantFrom('take', 'take', 'take', 'give', 'wait'),
});

interface Part {
  readonly budget: SlabBudget;
  readonly slabs: ReceiveSlab[];
}

test('each budget gets what is kept for it, whatever the others took, and all get no more than there is', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 10, max: 24 }),
      fc.array(anyStep, { maxLength: 150 }),
      (slabsMax, steps) => {
        const pool = new ReceiveSlabPool(slabsMax);
        const parts = Array.from({ length: 5 }, (): Part => ({ budget: pool.budget(), slabs: [] }));
        const kept = Math.floor(slabsMax / 10);
        const waiting = new Set<Part>();
        let deniedTooEarly = 0;
        for (const { budget: at, what } of steps) {
          const part = must(parts[at], 'one of five');
          const { budget, slabs } = part;
          if (what === 'take') {
            const slab = budget.take();
            if (slab) slabs.push(slab);
            else if (slabs.length < kept) deniedTooEarly += 1;
          } else if (what === 'give') {
            const slab = slabs.pop();
            if (slab) budget.giveBack(slab);
          } else if (!waiting.has(part)) {
            waiting.add(part);
            budget.whenFree(() => waiting.delete(part));
          }
          expect(deniedTooEarly).toBe(0);
          expect(budget.inUse).toBe(slabs.length);
          expect(pool.inUse).toBe(parts.reduce((sum, each) => sum + each.slabs.length, 0));
          expect(pool.inUse).toBeLessThanOrEqual(slabsMax);
        }
        // Whoever waits is told once all of it came back and the news was passed on.
        for (const { budget, slabs } of parts) for (const slab of slabs) budget.giveBack(slab);
        for (const { budget } of parts) budget.passOn();
        expect(waiting.size).toBe(0);
      },
    ),
  );
});

test('the only one gets all, and what was kept for one that is closed is for the others', () => {
  const pool = new ReceiveSlabPool(8);
  const first = pool.budget();
  for (let count = 0; count < 8; count += 1) expect(first.take()).toBeDefined();
  expect(first.take()).toBeUndefined();
  const other = new ReceiveSlabPool(8);
  const [one, two] = [other.budget(), other.budget()];
  let taken = 0;
  while (one.take()) taken += 1;
  expect(taken).toBe(6);
  let wasTold = false;
  one.whenFree(() => {
    wasTold = true;
  });
  two.close();
  expect(wasTold).toBe(true);
  expect(one.take()).toBeDefined();
});
