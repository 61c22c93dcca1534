import { describe, expect, test } from 'vitest';
import { checkText } from '../../src/cli/journal-texts.ts';
import type { RecordReport, SegmentReport } from '../../src/journal/inspect-report.ts';
import { must } from '../../src/platform/assert.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { newDisk } from '../simulation/fresh-disk.ts';
import { inspectJournal } from '../../src/journal/inspect.ts';
import { HandmadeJournal, spoil } from './handmade-journal.ts';
import { codes, flip, group, groupDirectory, inspect } from './inspection.ts';
import { serve } from './volume-under-test.ts';

/** Of a journal directory by itself: what was released, and what is elsewhere, is not known. */
describe('a journal directory away from its group', () => {
  test('whose segments were used again is not called damaged', async () => {
    let warned = 0;
    // One history of some thirty has something to warn of: the first of these, or one that comes soon.
    for (let seed = 56; seed < 59 || (warned === 0 && seed < 90); seed += 1) {
      const setting = await serve(`alone ${seed}`, { sizeBytes: 2 * MiB });
      const { machine } = setting;
      for (let round = 0; round < 4; round += 1) {
        await setting.writeMuch(200 + machine.random.int(300), 100 * KiB);
        await setting.flush();
        await machine.pass(machine.random.int(3000));
        if (machine.random.chance(0.5)) machine.losePower();
        else machine.kill();
        if (round === 3) break;
        await machine.start();
        setting.reopen();
      }
      expect(inspect(machine).damaged).toBe(false);
      machine.disk.renameSync(`${groupDirectory}/journal`, '/alone');
      const report = inspect(machine, '/alone');
      expect(group(report).problems.filter(({ severity }) => severity === 'damage')).toEqual([]);
      for (const { code, message } of group(report).problems) {
        expect(code).toBe('undecided');
        expect(message).toContain('cannot be told');
        warned += 1;
      }
    }
    expect(warned).toBeGreaterThan(0);
  }, 180_000);

  test('is damaged where its own segments show it', async () => {
    const setting = await serve('alone and damaged', { sizeBytes: 2 * MiB });
    const { machine } = setting;
    await setting.writeMuch(500, 100 * KiB);
    await setting.flush();
    await machine.pass(500);
    machine.kill();
    machine.disk.renameSync(`${groupDirectory}/journal`, '/alone');
    const records: RecordReport[] = [];
    const { segments } = group(inspect(machine, '/alone', records));
    const [{ path }, { header }] = segments.filter(({ numbers }) => numbers).slice(-2) as [
      SegmentReport,
      SegmentReport,
    ];
    expect(header?.durable).toBeGreaterThan(0);
    const record = must(
      records.filter(({ type, path: where }) => type === 'write' && where === path)[1],
      'a record with one before it',
    );
    flip(machine.disk, path, record.offset + 40);
    expect(codes(inspect(machine, '/alone'))).toContain('damage record_damaged');
  });
});

/** 1 leads to 2, which is in another directory or was used again; then 3, and 4 behind it. */
function handmade() {
  const disk = newDisk(1).attach();
  const journal = new HandmadeJournal(disk);
  const first = journal.segment(1, { firstNumber: 1 });
  const early = first.writes(1, 20);
  first.roll(2);
  const third = journal.segment(3, { durable: 30 });
  const late = third.writes(31, 40);
  third.roll(4);
  const fourth = journal.segment(4, { durable: 40 });
  fourth.writes(41, 45);
  return { disk, early, late };
}

test('one warning says what is missing and why it cannot be decided', () => {
  const { disk } = handmade();
  const report = inspectJournal(disk, '/j');
  expect(group(report).problems).toMatchObject([
    { severity: 'warning', code: 'undecided', from: 21, through: 30 },
  ]);
  expect(group(report).problems[0]?.message).toMatch(
    /^updates 21-30 are in no segment here; whether they were released .* the checkpoint and the head/,
  );
  expect(checkText(report)).toMatch(/no damage that can be told.*: 35 records of 3 segments/);
});

test('a record is damaged where every segment up to a later mark is there', () => {
  const { disk, late } = handmade();
  spoil(must(late[4], 'update 35'));
  expect(codes(inspectJournal(disk, '/j'))).toEqual(['damage record_damaged', 'warning undecided']);
});

test('a record may have been written again in a segment that is not there', () => {
  const { disk, early } = handmade();
  spoil(must(early[4], 'update 5'));
  const report = inspectJournal(disk, '/j');
  expect(codes(report)).toEqual(['warning undecided', 'warning undecided']);
  expect(group(report).problems[0]).toMatchObject({ from: 5, through: 5 });
  expect(group(report).problems[0]?.message).toContain('written again in a segment that is not');
});
