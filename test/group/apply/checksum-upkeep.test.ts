import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ChecksumUpkeep, type UpkeepGroup } from '../../../src/group/apply/checksum-upkeep.ts';
import { Conditions } from '../../../src/group/catalog/conditions.ts';
import { SimulatedClock } from '../../simulation/simulated-clock.ts';

type Answer = (isComplete: boolean, failure: string | undefined) => void;

/** A group whose apply worker answers when it is told to, in order. */
function setting(checksums: boolean) {
  const clock = new SimulatedClock();
  const catalog = { checksums };
  const asked: { readonly what: 'open' | 'remove' | 'work'; readonly done: Answer }[] = [];
  const conditions = new Conditions(() => undefined);
  const group = {
    name: 'g',
    clock,
    catalog,
    conditions,
    volumes: new Map(),
    driver: {
      sync: () => undefined,
      requests: {
        keepChecksums: (_directory: string, place: object | undefined, done: Answer) =>
          void asked.push({ what: place ? 'open' : 'remove', done }),
        workOnChecksums: (_volumes: unknown, done: Answer) =>
          void asked.push({ what: 'work', done }),
      },
    },
  } as unknown as UpkeepGroup;
  const upkeep = new ChecksumUpkeep(group, '/checksums');
  const pass = async (milliseconds: number): Promise<void> => {
    let isOver = false;
    clock.after(milliseconds, () => {
      isOver = true;
    });
    await clock.runUntil(() => isOver, milliseconds + 1000);
  };
  const answer = (isComplete: boolean, failure?: string): void => {
    const first = asked.shift();
    first?.done(first.what === 'work' ? isComplete : first.what === 'remove', failure);
  };
  return { asked, catalog, conditions, upkeep, pass, answer };
}

test('the last setting holds, in whatever order it changes and answers come', async () => {
  const step = fc.constantFrom('setting', 'volumes', 'piece', 'whole', 'failure', 'time');
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(step, { maxLength: 40 }), async (isOn, steps) => {
      const { asked, catalog, conditions, upkeep, pass, answer } = setting(isOn);
      upkeep.start(false);
      for (const each of steps) {
        if (each === 'setting') {
          catalog.checksums = !catalog.checksums;
          upkeep.settingChanged();
        } else if (each === 'volumes') upkeep.volumesChanged();
        else if (each === 'time') await pass(60_000);
        else answer(each === 'whole', each === 'failure' ? 'no room' : undefined);
        expect(upkeep.isKept).toBe(catalog.checksums);
      }
      for (let i = 0; i < 50; i += 1) {
        if (asked.length > 0) answer(true);
        else await pass(60_000);
      }
      expect(upkeep.isComplete).toBe(catalog.checksums);
      expect(conditions.list()).toEqual([]);
      upkeep.close();
      await pass(120_000);
      expect(asked).toEqual([]);
    }),
    { numRuns: 200 },
  );
});

test('what was read while volumes came or went is not all of them', async () => {
  const { asked, upkeep, pass, answer } = setting(true);
  upkeep.start(true);
  answer(false);
  await pass(100);
  upkeep.volumesChanged();
  answer(true);
  expect(upkeep.isComplete).toBe(false);
  await pass(100);
  expect(asked.map(({ what }) => what)).toEqual(['work']);
  answer(true);
  expect(upkeep.isComplete).toBe(true);
});

test('a volume that goes while it is read is no failure', async () => {
  const { asked, conditions, upkeep, pass, answer } = setting(true);
  upkeep.start(true);
  answer(false);
  await pass(100);
  upkeep.volumesChanged();
  answer(false, 'no such file');
  expect(conditions.list()).toEqual([]);
  await pass(100);
  expect(asked.map(({ what }) => what)).toEqual(['work']);
  answer(false, 'no room');
  expect(conditions.list().map(({ code }) => code)).toEqual(['checksums_failed']);
  upkeep.close();
});
