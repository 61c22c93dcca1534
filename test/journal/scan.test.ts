import { describe, expect, test } from 'vitest';
import { recordType } from '../../src/journal/record.ts';
import { segmentBytes } from '../../src/platform/limits.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedRandom } from '../simulation/simulated-random.ts';
import { HandmadeJournal, numbers, spoil, tear } from './handmade-journal.ts';

function newMachine(): SimulatedDisk {
  return new SimulatedDisk({ clock: new SimulatedClock(), random: new SimulatedRandom(1) });
}

function newJournal(): HandmadeJournal {
  return new HandmadeJournal(newMachine().attach());
}

describe('a journal that is whole', () => {
  test('is read from its first record to its last, over segments and areas', () => {
    const journal = newJournal();
    const first = journal.segment(1, { firstNumber: 1 });
    first.writes(1, 10);
    first.mark(7);
    first.pad(3);
    first.writes(11, 12);
    first.roll(2);
    const second = journal.segment(2, { durable: 9 });
    second.record(recordType.hole, 13, undefined, { length: 2 ** 40, wide: true });
    second.record(recordType.catalog, 14, Buffer.from('{}'));
    second.write(15);
    const { said, ...outcome } = journal.scan();
    const last = numbers(15, 15);
    expect(said).toEqual([...numbers(1, 12), 'type 3', 'type 4', ...last]);
    expect(outcome).toMatchObject({ lastNumber: 15, durable: 9, damage: undefined });
    expect(outcome).toMatchObject({ sequence: 2, offset: second.end });
    expect([...outcome.ends]).toEqual([
      [1, { offset: first.end, lastNumber: 12 }],
      [2, { offset: second.end, lastNumber: 15 }],
    ]);
  });

  test('is read from where the checkpoint says', () => {
    const journal = newJournal();
    const first = journal.segment(1, { firstNumber: 1 });
    const places = first.writes(1, 10);
    first.roll(2);
    journal.segment(2).writes(11, 12);
    const offset = places[4]?.offset ?? 0;
    expect(journal.scan({ number: 4, sequence: 1, offset }).said).toEqual(numbers(5, 12));
    // Everything before the segment that the checkpoint is in may be gone.
    journal.segments.shift();
    expect(journal.scan({ number: 10, sequence: 2, offset: 4096 }).said).toEqual(numbers(11, 12));
  });

  test('may be empty', () => {
    const journal = newJournal();
    expect(journal.scan()).toMatchObject({ lastNumber: 0, damage: undefined, said: [] });
    journal.segment(1, { firstNumber: 1 });
    expect(journal.scan()).toMatchObject({ lastNumber: 0, damage: undefined, said: [] });
  });

  test('may fill a segment to its last byte', () => {
    const journal = newJournal();
    const first = journal.segment(1, { firstNumber: 1 });
    first.write(1);
    first.fill();
    first.roll(2);
    expect(first.end).toBe(segmentBytes);
    journal.segment(2).write(2);
    expect(journal.scan()).toMatchObject({ lastNumber: 2, damage: undefined });
  });
});

describe('a torn tail', () => {
  test.each([0, 4, 28, 100, 511])('from byte %i on ends the journal and is no damage', (from) => {
    const journal = newJournal();
    const segment = journal.segment(1, { firstNumber: 1 });
    segment.writes(1, 9);
    segment.mark(9);
    tear(segment.write(10), from);
    const { said, lastNumber, damage } = journal.scan();
    expect(said).toEqual(numbers(1, 9));
    expect({ lastNumber, damage }).toEqual({ lastNumber: 9, damage: undefined });
  });

  test('hides the intact records behind it, and for ever (SAFETY 2)', () => {
    const journal = newJournal();
    const first = journal.segment(1, { firstNumber: 1 });
    first.writes(1, 1000);
    first.mark(1000);
    tear(first.write(1001, 'old'));
    first.write(1002, 'old');
    first.write(1003, 'old');
    expect(journal.scan()).toMatchObject({ lastNumber: 1000, damage: undefined });
    // The next opening begins at 1001 and gets no further than that.
    const second = journal.segment(2, { firstNumber: 1001, incarnation: 2, durable: 1000 });
    expect(journal.scan()).toMatchObject({ lastNumber: 1000, damage: undefined });
    second.write(1001, 'new');
    const { said, damage } = journal.scan();
    expect(said.slice(999)).toEqual(['1000', '1001new']);
    expect(damage).toBeUndefined();
  });

  test('that a later crash makes whole again stays void (SAFETY 2)', () => {
    const journal = newJournal();
    const first = journal.segment(1, { firstNumber: 1 });
    first.writes(1, 5);
    // Recovery could not read 6 and 7, began a segment, and then they can be read after all.
    first.writes(6, 7, 'old');
    journal.segment(2, { firstNumber: 6, incarnation: 2, durable: 5 });
    expect(journal.scan()).toMatchObject({ lastNumber: 5, damage: undefined });
    journal.segments[1]?.writes(6, 6, 'new');
    expect(journal.scan().said).toEqual([...numbers(1, 5), '6new']);
  });

  test('before an unused standby segment and a new incarnation', () => {
    const journal = newJournal();
    journal.segment(1, { firstNumber: 1 }).writes(1, 5);
    journal.segment(2, { durable: 5 });
    journal.segment(3, { firstNumber: 6, incarnation: 2, durable: 5 }).writes(6, 8);
    expect(journal.scan()).toMatchObject({ lastNumber: 8, damage: undefined, said: numbers(1, 8) });
  });

  test('in a standby segment that an old roll refers to', () => {
    const journal = newJournal();
    const first = journal.segment(1, { firstNumber: 1 });
    first.writes(1, 5);
    first.roll(2);
    tear(journal.segment(2).write(6));
    journal.segment(3, { firstNumber: 6, incarnation: 2, durable: 5 }).writes(6, 6, 'new');
    expect(journal.scan().said).toEqual([...numbers(1, 5), '6new']);
  });
});

describe('records that moved to another area', () => {
  test('are read where they are now', () => {
    const journal = newJournal();
    journal.segment(1, { firstNumber: 1 }).writes(1, 10, 'old');
    journal.segment(2, { durable: 3 });
    journal.segment(3, { firstNumber: 6, durable: 5 }).writes(6, 12, 'new');
    const expected = [...numbers(1, 5, 'old'), ...numbers(6, 12, 'new')];
    expect(journal.scan()).toMatchObject({ said: expected, damage: undefined });
  });

  test('twice in a row, the second time from further back or further on', () => {
    for (const from of [2, 6, 8]) {
      const journal = newJournal();
      journal.segment(1, { firstNumber: 1 }).writes(1, 10, 'a');
      journal.segment(2, { firstNumber: 6, durable: 5 }).writes(6, 9, 'b');
      journal.segment(3, { firstNumber: from, durable: from - 1 }).writes(from, 12, 'c');
      const expected = [
        ...numbers(1, Math.min(5, from - 1), 'a'),
        ...numbers(6, from - 1, 'b'),
        ...numbers(from, 12, 'c'),
      ];
      expect(journal.scan()).toMatchObject({ said: expected, damage: undefined });
    }
  });

  test('over several segments of the new area', () => {
    const journal = newJournal();
    journal.segment(1, { firstNumber: 1 }).writes(1, 10, 'a');
    journal.segment(2, { firstNumber: 6, durable: 5 }).writes(6, 7, 'b');
    journal.segment(3, { firstNumber: 8, durable: 5 }).writes(8, 11, 'b');
    const expected = [...numbers(1, 5, 'a'), ...numbers(6, 11, 'b')];
    expect(journal.scan()).toMatchObject({ said: expected, damage: undefined });
  });

  test('from an area that is gone, where nothing that is needed was in it', () => {
    const journal = newJournal();
    const second = journal.segment(2, { firstNumber: 6, durable: 5 });
    second.writes(6, 9);
    const start = { number: 5, sequence: 1, offset: 9000 };
    expect(journal.scan(start)).toMatchObject({ said: numbers(6, 9), damage: undefined });
  });
});

describe('damage', () => {
  test('is a bad record at or below a mark, and says which (SAFETY 3)', () => {
    for (const marked of [5, 9]) {
      const journal = newJournal();
      const segment = journal.segment(1, { firstNumber: 1 });
      const fifth = segment.writes(1, 9)[4] ?? segment.mark(0);
      segment.mark(marked);
      spoil(fifth);
      const { said, lastNumber, damage } = journal.scan();
      expect(said).toEqual(numbers(1, 4));
      expect(lastNumber).toBe(4);
      expect(damage).toMatchObject({ from: 5, through: marked });
      expect(damage?.text).toContain(`offset ${fifth.offset} of /j/000001.segment`);
    }
  });

  test('is not a bad record above every mark', () => {
    const journal = newJournal();
    const segment = journal.segment(1, { firstNumber: 1 });
    const places = segment.writes(1, 9);
    segment.mark(4);
    if (places[4]) spoil(places[4]);
    expect(journal.scan()).toMatchObject({ lastNumber: 4, damage: undefined });
  });

  test('is told by the header of a later segment', () => {
    const journal = newJournal();
    const first = journal.segment(1, { firstNumber: 1 });
    const places = first.writes(1, 9);
    first.roll(2);
    journal.segment(2, { durable: 7 }).writes(10, 11);
    if (places[5]) tear(places[5]);
    expect(journal.scan().damage).toMatchObject({ from: 6, through: 7 });
  });

  test('is told by a mark in a later segment, though that one is void to the scan', () => {
    const journal = newJournal();
    const first = journal.segment(1, { firstNumber: 1 });
    const places = first.writes(1, 9);
    first.roll(2);
    const second = journal.segment(2);
    second.writes(10, 11);
    second.mark(10);
    if (places[5]) tear(places[5]);
    const { said, damage } = journal.scan();
    expect(said).toEqual(numbers(1, 5));
    expect(damage).toMatchObject({ from: 6, through: 10 });
  });

  test('is told by the header of a new incarnation that begins behind a gap', () => {
    const journal = newJournal();
    const places = journal.segment(1, { firstNumber: 1 }).writes(1, 9);
    journal.segment(2, { firstNumber: 10, incarnation: 2, durable: 9 }).writes(10, 11);
    if (places[5]) tear(places[5]);
    const { said, damage } = journal.scan();
    expect(said).toEqual(numbers(1, 5));
    expect(damage).toMatchObject({ from: 6, through: 9 });
  });

  test('is a roll that is gone, where records behind it were durable', () => {
    const damages = [5, 6].map((durable) => {
      const journal = newJournal();
      const first = journal.segment(1, { firstNumber: 1 });
      first.writes(1, 5);
      spoil(first.roll(2));
      const second = journal.segment(2, { durable: 3 });
      second.writes(6, 7);
      second.mark(durable);
      const { said, damage } = journal.scan();
      expect(said).toEqual(numbers(1, 5));
      return damage;
    });
    expect(damages[0]).toBeUndefined();
    expect(damages[1]).toMatchObject({ from: 6, through: 6 });
  });

  test('is a segment that is not there', () => {
    const journal = newJournal();
    const first = journal.segment(1, { firstNumber: 1 });
    first.writes(1, 5);
    first.roll(2);
    const second = journal.segment(2);
    second.writes(6, 9);
    second.roll(3);
    const third = journal.segment(3, { durable: 8 });
    third.write(10);
    third.mark(9);
    journal.segments.splice(1, 1);
    const { said, damage } = journal.scan();
    expect(said).toEqual(numbers(1, 5));
    expect(damage).toMatchObject({ from: 6, through: 9 });
    // Also when it was the first one that the scan needs.
    journal.segments.shift();
    const start = { number: 5, sequence: 1, offset: 9000 };
    expect(journal.scan(start).damage).toMatchObject({ from: 6, through: 9 });
    journal.segments.shift();
    expect(journal.scan(start).damage).toMatchObject({ from: 6, through: 6 });
  });

  test('is a segment that cannot be read, with the reason', () => {
    const machine = newMachine();
    const journal = new HandmadeJournal(machine.attach());
    const segment = journal.segment(1, { firstNumber: 1 });
    segment.writes(1, 5);
    segment.mark(5);
    journal.segment(2, { firstNumber: 6, durable: 5 });
    machine.faults.add({ kind: 'read_error', operation: 'read', path: '/j/000001' });
    const { damage } = journal.scan();
    expect(damage).toMatchObject({ from: 1, through: 5 });
    expect(damage?.text).toContain('EIO');
  });

  test('is a number that is not the next one', () => {
    const journal = newJournal();
    const segment = journal.segment(1, { firstNumber: 1 });
    segment.writes(1, 5);
    segment.writes(7, 8);
    segment.mark(8);
    expect(journal.scan()).toMatchObject({ lastNumber: 5, damage: { from: 6, through: 8 } });
  });

  test('is not what the checkpoint says is in the volumes', () => {
    const journal = newJournal();
    const segment = journal.segment(1, { firstNumber: 1 });
    const places = segment.writes(1, 9);
    segment.mark(9);
    for (const place of places.slice(0, 5)) tear(place);
    const offset = places[5]?.offset ?? 0;
    const outcome = journal.scan({ number: 5, sequence: 1, offset });
    expect(outcome).toMatchObject({ said: numbers(6, 9), damage: undefined });
  });
});

describe('a slot that is used again', () => {
  test('shows nothing of its earlier use', () => {
    const journal = newJournal();
    const old = journal.segment(1, { firstNumber: 1, slot: 0 });
    old.writes(1, 20);
    old.mark(20);
    journal.segment(2, { slot: 1 }).writes(21, 22);
    const again = journal.segment(3, { firstNumber: 23, slot: 0, durable: 22 });
    again.writes(23, 24);
    const outcome = journal.scan({
      number: 22,
      sequence: 2,
      offset: journal.segments[0]?.end ?? 0,
    });
    expect(outcome).toMatchObject({ said: numbers(23, 24), durable: 22, damage: undefined });
  });
});
