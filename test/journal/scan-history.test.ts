import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SimulatedClock } from '../simulation/simulated-clock.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedRandom } from '../simulation/simulated-random.ts';
import { HandmadeJournal, spoil } from './handmade-journal.ts';
import { JournalWriter, type Step } from './journal-writer.ts';

const plain = (...kinds: Step['kind'][]) => fc.record({ kind: fc.constantFrom(...kinds) });
const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constant('append'), count: fc.integer({ min: 1, max: 6 }) }),
    },
    {
      weight: 9,
      arbitrary: plain('sync', 'sync', 'mark', 'roll', 'standby', 'takeover', 'checkpoint'),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('crash'),
        torn: fc.array(fc.boolean(), { maxLength: 8 }),
      }),
    },
  ) as fc.Arbitrary<Step>,
  { maxLength: 60 },
);

function written(asked: readonly Step[]): JournalWriter {
  const machine = new SimulatedDisk({
    clock: new SimulatedClock(),
    random: new SimulatedRandom(1),
  });
  const writer = new JournalWriter(new HandmadeJournal(machine.attach()));
  for (const step of asked) writer.step(step);
  return writer;
}

test('after any history recovery finds every durable record, the right one, and no damage', () => {
  fc.assert(
    fc.property(steps, (asked) => {
      const writer = written(asked);
      const outcome = writer.check();
      expect(outcome.lastNumber).toBe(writer.newest);
    }),
    { numRuns: 150 },
  );
}, 60_000);

test('a flipped bit in any record that the journal knows to be durable is damage', () => {
  let spoiled = 0;
  fc.assert(
    fc.property(steps, fc.nat(), fc.integer({ min: 4, max: 539 }), (asked, chosen, byte) => {
      const writer = written(asked);
      const first = writer.start.number + 1;
      const last = Math.min(writer.told, writer.durable);
      if (last < first) return;
      spoiled += 1;
      const number = first + (chosen % (last - first + 1));
      spoil(writer.place(number), byte);
      const { damage, lastNumber } = writer.journal.scan(writer.start);
      expect(lastNumber).toBe(number - 1);
      expect(damage).toMatchObject({ from: number });
      expect(damage?.through).toBeGreaterThanOrEqual(last);
    }),
    { numRuns: 300 },
  );
  expect(spoiled).toBeGreaterThan(30);
}, 60_000);
