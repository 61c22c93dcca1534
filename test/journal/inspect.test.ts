import { describe, expect, test } from 'vitest';
import { inspectText } from '../../src/cli/journal-texts.ts';
import type { RecordReport } from '../../src/journal/inspect-report.ts';
import { must } from '../../src/platform/assert.ts';
import { JnbdError } from '../../src/platform/errors.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import { HandmadeJournal, tear } from './handmade-journal.ts';
import { codes, crashed, flip, group, groupDirectory, inspect } from './inspection.ts';
import { serve } from './volume-under-test.ts';

describe('a journal that is whole', () => {
  test('is shown as it is, beside its daemon and without it', async () => {
    const setting = await serve('whole', { sizeBytes: 2 * MiB });
    const { machine } = setting;
    await setting.writeMuch(400, 100 * KiB);
    await setting.flush();
    await machine.pass(500);
    const { newest, durable } = machine.group().watermarks;
    for (const isHeld of [true, false]) {
      if (!isHeld) machine.kill();
      const report = inspect(machine);
      expect(report).toMatchObject({ formatVersion: 1, heldByDaemon: isHeld, damaged: false });
      const read = group(report);
      expect(read.problems).toEqual([]);
      expect(read).toMatchObject({ name: 'g', directory: groupDirectory });
      expect(read.recovery).toEqual({ lastNumber: newest, damage: null });
      expect(read.watermarks).toMatchObject({ newest, durable });
      expect(read.ranges.at(-1)?.through).toBe(newest);
      expect(read.ranges.length).toBe(1);
      const counts = read.areas[0]?.segmentsByState ?? {};
      expect(Object.values(counts).reduce((sum, one) => sum + one, 0)).toBe(4);
      expect(read.areas[0]).toMatchObject({ state: 'ok', slots: 4 });
      expect(read.volumes).toMatchObject([{ id: 1, name: 'v', state: 'ok', sizeBytes: 2 * MiB }]);
      const live = read.segments.filter(({ state }) => state === 'live');
      expect(live.map(({ header }) => header?.sequence)).toEqual(
        live.map((_, at) => (live[0]?.header?.sequence ?? 0) + at),
      );
      expect(live.slice(0, -1).every(({ end }) => end === 'roll')).toBe(true);
      expect(live.at(-1)?.end).toBe('unwritten');
    }
  });

  test('is the same by any of its directories', async () => {
    const { machine } = await crashed('directories');
    const whole = group(inspect(machine));
    for (const directory of [groupDirectory, `${groupDirectory}/journal`]) {
      expect(group(inspect(machine, directory))).toEqual(whole);
    }
    machine.disk.renameSync(`${groupDirectory}/journal`, '/alone');
    const alone = group(inspect(machine, '/alone'));
    expect(alone).toMatchObject({ name: null, directory: null, groupId: whole.groupId });
    expect(alone.recovery).toBeNull();
    expect(alone.problems).toEqual([]);
    expect(alone.ranges).toEqual([{ from: 1, through: 121 }]);
  });

  test('is shown record by record', async () => {
    const { machine } = await crashed('records');
    const records: RecordReport[] = [];
    inspect(machine, '/data', records);
    const numbered = records.filter(({ type }) => !['pad', 'mark', 'roll'].includes(type));
    expect(numbered.map(({ number }) => number)).toEqual(
      Array.from({ length: 121 }, (_, at) => at + 1),
    );
    expect(numbered[0]).toMatchObject({ type: 'catalog', isVoid: false });
    expect(numbered.slice(1).every(({ volume }) => volume === 1)).toBe(true);
    expect(new Set(numbered.map(({ type }) => type))).toEqual(
      new Set(['catalog', 'write', 'zero', 'hole']),
    );
    const now = machine.clock.wallMilliseconds();
    for (const { timeMilliseconds } of numbered) {
      expect(timeMilliseconds).toBeGreaterThan(now - 60_000);
      expect(timeMilliseconds).toBeLessThanOrEqual(now);
    }
  });

  test('that went round does not take what was there before for a torn tail', async () => {
    const setting = await serve('round', { sizeBytes: 2 * MiB });
    const { machine } = setting;
    await setting.writeMuch(2000, 100 * KiB);
    await setting.flush();
    await machine.pass(500);
    machine.kill();
    const report = inspect(machine);
    const { segments } = group(report);
    expect(Math.max(...segments.map(({ header }) => header?.sequence ?? 0))).toBeGreaterThan(5);
    expect(segments.map(({ end }) => end)).not.toContain('torn');
    const unused = must(
      segments.find(({ state }) => state === 'unused'),
      'one is prepared',
    );
    expect(unused.end).toBe('unwritten');
    const line = inspectText(report)
      .split('\n')
      .find((one) => one.endsWith(unused.path));
    expect(line).toMatch(/^\d+ +unused +- +0 +- +- +- +- /);
  });

  test('stays so through takeovers, and what they left is void', async () => {
    const setting = await serve('takeover', {
      sizeBytes: 2 * MiB,
      journalDirectories: ['/x/1', '/x/2'],
      areaLayout: 'spare',
    });
    const { machine } = setting;
    await setting.writeMuch(40);
    await setting.flush();
    await setting.writeMuch(40);
    machine.machine.faults.add({ kind: 'sync_error', operation: 'sync', path: '/x/1', times: 1 });
    await setting.flush();
    const records: RecordReport[] = [];
    machine.kill();
    const report = inspect(machine, '/data', records);
    expect(report.damaged).toBe(false);
    expect(group(report).recovery).toEqual({ lastNumber: 81, damage: null });
    expect(group(report).ranges).toEqual([{ from: 1, through: 81 }]);
    const voids = records.filter(({ isVoid }) => isVoid).map(({ number }) => number);
    expect(voids.length).toBeGreaterThan(0);
    const counted = records.filter(({ isVoid, type }) => !isVoid && type === 'write');
    expect(new Set(counted.map(({ number }) => number)).size).toBe(counted.length);
  });

  test('is never called damaged after a crash, and a start finds what was foretold', async () => {
    let torn = 0;
    for (let seed = 0; seed < 20; seed += 1) {
      const setting = await serve(`foretell ${seed}`, { sizeBytes: 2 * MiB });
      const { machine } = setting;
      for (let round = 0; round < 3; round += 1) {
        await setting.writeMuch(machine.random.int(40), 20_000);
        if (machine.random.chance(0.5)) await setting.flush();
        await setting.writeMuch(machine.random.int(40));
        if (machine.random.chance(0.5)) await machine.pass(machine.random.int(2000));
        if (machine.random.chance(0.7)) machine.losePower();
        else machine.kill();
        const report = inspect(machine);
        expect(group(report).problems).toEqual([]);
        const { lastNumber, damage } = must(group(report).recovery, 'it was foretold');
        expect(damage).toBeNull();
        torn += group(report).segments.filter(({ end }) => end === 'torn').length;
        await machine.start();
        expect(machine.group().watermarks.durable).toBe(lastNumber);
        setting.reopen();
        await setting.check(lastNumber);
      }
    }
    expect(torn).toBeGreaterThan(0);
  }, 60_000);
});

describe('a flipped bit', () => {
  test('in any retained record is named with its file, its offset and its number', async () => {
    for (const journalOnly of [false, true]) {
      const { machine } = await crashed(`flip ${journalOnly}`, { journalOnly });
      const records: RecordReport[] = [];
      inspect(machine, '/data', records);
      const numbered = records.filter(({ number, type }) => number !== null && type !== 'mark');
      for (let round = 0; round < 12; round += 1) {
        // Not the last: nothing behind it says that it was durable but the idle mark.
        const record = machine.random.pick(numbered.slice(0, -1));
        const number = record.number ?? 0;
        const at =
          record.offset + machine.random.int(28 + (record.type === 'write' ? record.length : 0));
        flip(machine.disk, record.path, at);
        const report = inspect(machine);
        expect(report.damaged).toBe(true);
        const problem = group(report).problems[0];
        expect(problem).toMatchObject({
          severity: 'damage',
          code: 'record_damaged',
          path: record.path,
          offset: record.offset,
          from: number,
          through: number,
        });
        expect(problem?.message).toContain(`update ${number} of ${record.path}`);
        const { applied } = group(report).watermarks;
        expect(group(report).recovery?.damage?.from).toBe(number > applied ? number : undefined);
        flip(machine.disk, record.path, at);
        expect(inspect(machine).damaged).toBe(false);
      }
    }
  });

  test('in the last durable record is told by the mark behind it', async () => {
    const { machine } = await crashed('last');
    const records: RecordReport[] = [];
    inspect(machine, '/data', records);
    const last = must(
      records.findLast(({ number, type }) => number === 121 && type !== 'mark'),
      'there is a last one',
    );
    flip(machine.disk, last.path, last.offset + 30);
    const report = inspect(machine);
    expect(codes(report)).toEqual(['damage record_damaged']);
    expect(group(report).problems[0]).toMatchObject({ from: 121, through: 121, path: last.path });
    expect(group(report).problems[0]?.offset).toBe(last.offset);
  });

  test('in several records is named for each', async () => {
    const { machine } = await crashed('several');
    const records: RecordReport[] = [];
    inspect(machine, '/data', records);
    const damaged = [20, 21, 50, 100];
    for (const record of records) {
      if (damaged.includes(record.number ?? 0) && record.type !== 'mark')
        flip(machine.disk, record.path, record.offset + 5);
    }
    const found = group(inspect(machine)).problems.map(({ from, through }) => [from, through]);
    expect(found).toEqual([
      [20, 21],
      [50, 50],
      [100, 100],
    ]);
  });

  test('in a header, a checkpoint, a head or a catalog is named', async () => {
    const { machine } = await crashed('truths');
    const { disk } = machine;
    const segment = must(
      group(inspect(machine)).segments.find(({ state }) => state === 'live'),
      'one is live',
    );
    flip(disk, segment.path, 40);
    expect(inspect(machine).damaged).toBe(false);
    flip(disk, segment.path, 2048 + 40);
    const report = inspect(machine);
    expect(codes(report)).toContain('damage header_damaged');
    expect(group(report).problems.some(({ path }) => path === segment.path)).toBe(true);
    expect(group(report).recovery?.damage).not.toBeNull();
    flip(disk, segment.path, 40);
    flip(disk, segment.path, 2048 + 40);
    for (const [name, code] of [
      ['checkpoint', 'damage checkpoint_damaged'],
      ['head', 'damage head_damaged'],
      ['catalog', 'damage catalog_damaged'],
    ] as const) {
      flip(disk, `${groupDirectory}/${name}`, 50);
      const damaged = inspect(machine);
      expect(codes(damaged)).toContain(code);
      expect(damaged.damaged).toBe(true);
      flip(disk, `${groupDirectory}/${name}`, 50);
    }
    expect(inspect(machine).damaged).toBe(false);
  });
});

describe('what is not there', () => {
  test('an area, and what was in it', async () => {
    const { machine } = await crashed('area', { journalDirectories: ['/x/1', '/x/2'] });
    const { path } = must(
      group(inspect(machine)).segments.find(({ state }) => state === 'live'),
      'one is live',
    );
    const area = path.slice(0, 4);
    machine.disk.renameSync(area, '/away');
    const report = inspect(machine);
    expect(codes(report)).toContain('warning area_missing');
    expect(report.damaged).toBe(true);
    expect(group(report).areas.find(({ state }) => state === 'missing')?.path).toBe(area);
    machine.disk.renameSync('/x/2', '/x/1');
    expect(codes(inspect(machine))).toContain('damage area_foreign');
  });

  test('the identity of an area', async () => {
    const { machine } = await crashed('identity');
    const { disk } = machine;
    const file = `${groupDirectory}/journal/area`;
    disk.renameSync(file, '/identity');
    const problem = group(inspect(machine)).problems[0];
    expect(problem).toMatchObject({ severity: 'damage', code: 'area_missing', path: file });
    expect(problem?.message).toContain(`${file} is missing`);
    const [line] = Buffer.from(disk.readFileSync('/identity', 'area') ?? [])
      .toString('utf8')
      .split('\n');
    expect(problem?.message.endsWith(line ?? '')).toBe(true);
  });

  test('a volume, a catalog, a group that was never finished', async () => {
    const { machine } = await crashed('missing');
    const { disk } = machine;
    disk.renameSync(`${groupDirectory}/volumes/0001.volume`, '/volume');
    expect(codes(inspect(machine))).toEqual(['damage volume_missing']);
    disk.renameSync('/volume', `${groupDirectory}/volumes/0001.volume`);
    disk.renameSync(`${groupDirectory}/catalog`, '/catalog');
    expect(codes(inspect(machine))).toEqual(['damage catalog_missing']);
    disk.renameSync('/catalog', `${groupDirectory}/unfinished`);
    const report = inspect(machine);
    expect(codes(report)).toEqual(['warning group_unfinished']);
    expect(report.damaged).toBe(false);
  });

  test('a segment file, or a part of one', async () => {
    const { machine } = await crashed('short');
    const { path } = must(
      group(inspect(machine)).segments.find(({ state }) => state === 'live'),
      'one is live',
    );
    const file = machine.disk.openSync(path, 'read-write', 'segment');
    file.truncateSync(1 * MiB);
    file.closeSync();
    expect(codes(inspect(machine))).toContain('damage segment_short');
    machine.disk.removeFileSync(path);
    expect(codes(inspect(machine))).toContain('damage segment_missing');
  });

  test('anything at all', async () => {
    const { machine } = await crashed('nothing');
    machine.disk.makeDirectorySync('/empty');
    for (const directory of ['/empty', '/nowhere', `${groupDirectory}/catalog`]) {
      expect(() => inspect(machine, directory)).toThrow(JnbdError);
    }
  });

  test('a format that this jnbd knows', async () => {
    const { machine } = await crashed('newer');
    const { disk } = machine;
    const text = Buffer.from(disk.readFileSync(`${groupDirectory}/journal/area`, 'area') ?? []);
    const newer = text.toString('utf8').replace('"formatVersion":1', '"formatVersion":2');
    disk.replaceFileSync(`${groupDirectory}/journal/area`, Buffer.from(newer), 'area');
    expect(() => inspect(machine)).toThrow('format 2');
  });
});

describe('beside a daemon', () => {
  test('what only looks damaged is looked at again', async () => {
    const setting = await serve('again', { sizeBytes: 2 * MiB });
    const { machine } = setting;
    await setting.writeMuch(60);
    await setting.flush();
    await machine.pass(500);
    const rule = { kind: 'read_error', operation: 'read', role: 'segment', nth: 3 } as const;
    machine.machine.faults.add(rule);
    expect(inspect(machine)).toMatchObject({ heldByDaemon: true, damaged: false });
    machine.kill();
    machine.machine.faults.add(rule);
    expect(inspect(machine)).toMatchObject({ heldByDaemon: false, damaged: true });
  });
});

describe('a handmade journal directory', () => {
  test('with a torn tail and records behind it has no damage', async () => {
    const setting = await serve('handmade', { sizeBytes: MiB });
    const { machine } = setting;
    machine.kill();
    const journal = new HandmadeJournal(machine.disk);
    const first = journal.segment(1, { firstNumber: 1 });
    first.writes(1, 20);
    first.mark(15);
    tear(first.write(21));
    first.writes(22, 25);
    tear(first.write(26), 28);
    const second = journal.segment(2, { firstNumber: 21, durable: 20, incarnation: 2 });
    second.writes(21, 22);
    const read = group(inspect(machine, '/j'));
    expect(read.problems).toEqual([]);
    expect(read.ranges).toEqual([{ from: 1, through: 22 }]);
    expect(read.segments.map(({ end }) => end)).toEqual(['torn', 'unwritten']);
    expect(read.segments.map(({ numbers }) => numbers)).toEqual([
      { from: 1, through: 20 },
      { from: 21, through: 22 },
    ]);
    expect(read.segments[0]?.header).toEqual(
      expect.objectContaining({ sequence: 1, firstNumber: 1, incarnation: 1 }),
    );
  });
});
