import { describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { compare, followed, restart } from './followed-system.ts';
import { TestReader } from './test-reader.ts';

describe('a reader', () => {
  test('gets every durable record once and in order, over many segments', async () => {
    const all = await followed('all');
    const { setting, machine, reader } = all;
    await setting.writeMuch(300, 100 * KiB);
    await setting.flush();
    await reader.drain();
    expect(reader.number).toBe(machine.group().watermarks.durable);
    compare(all);
  });

  test('gets them in frames of any size, and the largest records too', async () => {
    const all = await followed('sizes', { sizeBytes: 8 * MiB });
    const { setting, machine, reader } = all;
    const largest = 256 * KiB - 64 - 32;
    const tooLarge: number[] = [];
    for (let i = 0; i < 300; i += 1) {
      const bytes = machine.random.pick([512, 4096, 100 * KiB, 200 * KiB, largest]);
      await setting.writeMuch(1, bytes);
      if (i % 10 === 0) await setting.flush();
      if (!machine.random.chance(0.2)) continue;
      const batchBytes = machine.random.pick([64 * KiB, 300 * KiB, 64 * MiB]);
      const result = await reader.read({ batchBytes });
      const answerBytes = result.kind === 'records' ? result.bytes : 0;
      tooLarge.push(
        ...[answerBytes].filter((size) => size > Math.max(batchBytes, 256 * KiB + 200)),
      );
    }
    expect(tooLarge).toEqual([]);
    await setting.flush();
    await reader.drain({ batchBytes: 64 * KiB });
    expect(reader.number).toBe(machine.group().watermarks.durable);
    compare(all);
  });

  test('gets nothing that is not durable', async () => {
    const all = await followed('durable');
    const { setting, machine, reader } = all;
    for (let i = 0; i < 50; i += 1) {
      await setting.writeMuch(machine.random.between(1, 20));
      const { durable } = machine.group().watermarks;
      const answer = reader.ask({ waitMilliseconds: 1 });
      await machine.until(() => answer.isDone);
      const result = reader.take(answer);
      expect(result.kind).not.toBe('problem');
      expect(reader.number).toBeLessThanOrEqual(machine.group().watermarks.durable);
      expect(result.kind === 'nothing' && reader.number < durable).toBe(false);
    }
    compare(all);
  });

  for (const end of ['kill', 'losePower'] as const) {
    test(`goes on where it was over restarts, in new stretches (${end})`, async () => {
      for (let seed = 0; seed < 5; seed += 1) {
        const all = await followed(`${end} ${seed}`, { journalCapacityBytes: 256 * MiB });
        const { setting, machine, reader } = all;
        const { random } = machine;
        for (let life = 0; life < 6; life += 1) {
          for (let step = 0; step < 10; step += 1) {
            await setting.writeMuch(random.int(30), random.pick([512, 4096, 60 * KiB]));
            if (random.chance(0.5)) await setting.flush();
            if (random.chance(0.5)) await reader.read({ batchBytes: 256 * KiB });
          }
          await restart(all, end);
        }
        await reader.drain();
        expect(reader.number).toBe(machine.group().watermarks.durable);
        const { lineage } = machine.group().catalog;
        expect(reader.stretches).toEqual(
          lineage.filter(({ firstNumber }) => firstNumber <= reader.number),
        );
        expect(reader.stretches.length).toBeGreaterThan(3);
        compare(all);
      }
    });
  }

  test('gets nothing of a stretch that the catalog on disk does not have', async () => {
    const all = await followed('stretch');
    const { setting, machine, source, reader } = all;
    await setting.writeMuch(20);
    await setting.flush();
    await reader.drain();
    const { number } = reader;
    source.end();
    machine.kill();
    const path = '/data/groups/g/catalog';
    machine.machine.faults.add({ kind: 'write_error', operation: 'write', path });
    await machine.start();
    expect(machine.group().changes.isFileBehind).toBe(true);
    setting.reopen();
    setting.history.forgetAfter(machine.group().watermarks.newest);
    await source.start();
    await setting.writeMuch(20);
    await setting.flush();
    const found = machine.group().watermarks.durable - 20;
    const answer = reader.ask({ waitMilliseconds: 20_000 });
    await machine.pass(5000);
    expect(found).toBe(number);
    expect(answer.isDone).toBe(false);
    machine.machine.faults.clear();
    await machine.until(() => answer.isDone, 2000);
    expect(reader.take(answer).kind).toBe('records');
    await reader.drain();
    expect(reader.number).toBe(number + 20);
    compare(all);
  });

  test('follows the journal out of areas that fail', async () => {
    for (let seed = 0; seed < 8; seed += 1) {
      const journalDirectories = ['/x/1', '/x/2', '/x/3'];
      const all = await followed(`fail ${seed}`, {
        journalDirectories,
        areaLayout: seed % 2 === 0 ? 'spare' : 'striped',
      });
      const { setting, machine, reader } = all;
      const { random } = machine;
      for (const path of journalDirectories) {
        for (let step = 0; step < 12; step += 1) {
          await setting.writeMuch(random.int(20), random.pick([512, 4096, 100 * KiB]));
          if (random.chance(0.4)) await setting.flush();
          if (random.chance(0.5)) await reader.read({ batchBytes: 512 * KiB });
        }
        const operation = random.pick(['sync', 'write'] as const);
        const kind = operation === 'sync' ? 'sync_error' : 'write_error';
        machine.machine.faults.add({ kind, operation, path, nth: random.between(1, 4) });
      }
      await setting.writeMuch(40, 60 * KiB);
      await setting.flush();
      machine.machine.dropCache();
      await reader.drain();
      expect(machine.group().areas.some(({ state }) => state === 'failed')).toBe(true);
      expect(reader.number).toBe(machine.group().watermarks.durable);
      compare(all);
    }
  });

  test('lets go of what it has: the journal goes round below it', async () => {
    const all = await followed('round', { onFull: 'fail' });
    const { setting, machine, reader } = all;
    for (let i = 0; i < 60; i += 1) {
      await setting.writeMuch(40, 100 * KiB);
      await setting.flush();
      await reader.drain();
    }
    expect(machine.group().watermarks.released).toBeGreaterThan(1500);
    compare(all);
    const late = new TestReader(all.source, 7);
    expect(await late.read()).toMatchObject({ kind: 'problem', code: 'position_released' });
  });

  test('two at different places do not disturb each other', async () => {
    const all = await followed('two');
    const { setting, machine, reader, source } = all;
    machine.group().followers.register(8, 'reader', 0);
    await machine.pass(2);
    const other = new TestReader(source, 8);
    for (let i = 0; i < 60; i += 1) {
      await setting.writeMuch(machine.random.int(20), 30 * KiB);
      if (i % 3 === 0) await setting.flush();
      if (machine.random.chance(0.7)) await reader.read({ batchBytes: 200 * KiB });
      if (machine.random.chance(0.2)) await other.read({ batchBytes: 64 * KiB });
    }
    await setting.flush();
    await Promise.all([reader.drain(), other.drain()]);
    expect(other.records.length).toBe(reader.records.length);
    compare(all);
    compare({ ...all, reader: other });
  });
});

describe('a read that waits', () => {
  test('is answered as soon as something is durable', async () => {
    const all = await followed('wait');
    const { setting, machine, reader } = all;
    await reader.drain();
    for (let i = 0; i < 20; i += 1) {
      const answer = reader.ask({ waitMilliseconds: 30_000 });
      await machine.pass(machine.random.int(200));
      expect(answer.isDone).toBe(false);
      await setting.writeMuch(3);
      const began = machine.clock.monotonicMilliseconds();
      await machine.until(() => answer.isDone);
      expect(machine.clock.monotonicMilliseconds() - began).toBeLessThan(40);
      expect(reader.take(answer).kind).toBe('records');
    }
    compare(all);
  });

  test('ends when its time is over', async () => {
    const { machine, reader } = await followed('time over');
    await reader.drain();
    const began = machine.clock.monotonicMilliseconds();
    const result = await reader.read({ waitMilliseconds: 5000 });
    expect(result.kind).toBe('nothing');
    const waited = machine.clock.monotonicMilliseconds() - began;
    expect(waited).toBeGreaterThanOrEqual(5000);
    expect(waited).toBeLessThan(5100);
  });

  test('tells how much is behind it, and how old', async () => {
    const { setting, machine, reader } = await followed('behind');
    await setting.writeMuch(100, 100 * KiB);
    await setting.flush();
    await machine.pass(3000);
    await reader.read();
    const result = await reader.read({ batchBytes: 1 * MiB, waitMilliseconds: 10 });
    if (result.kind !== 'records') throw new Error(result.kind);
    const { unsentBytes, oldestUnsentMilliseconds, watermarks, usedBytes } = result.answer;
    expect(watermarks.newest).toBe(101);
    expect(unsentBytes).toBeGreaterThan(8 * MiB);
    expect(unsentBytes).toBeLessThan(11 * MiB);
    expect(oldestUnsentMilliseconds).toBeGreaterThanOrEqual(3000);
    expect(oldestUnsentMilliseconds).toBeLessThan(3200);
    expect(usedBytes).toBeGreaterThan(0);
    await reader.drain();
    const last = await reader.read();
    if (last.kind !== 'nothing') throw new Error(last.kind);
    expect(last.answer).toMatchObject({ unsentBytes: 0, oldestUnsentMilliseconds: 0 });
  });

  test('costs the main thread a message when there is news, not one for each record', async () => {
    const { setting, machine, source, reader } = await followed('messages');
    await reader.drain();
    const before = source.posted.get('progress') ?? 0;
    const answer = reader.ask({ waitMilliseconds: 60_000 });
    await machine.pass(10);
    await setting.writeMuch(500);
    await machine.until(() => answer.isDone);
    reader.take(answer);
    expect((source.posted.get('progress') ?? 0) - before).toBeLessThanOrEqual(3);
    const idle = source.posted.get('progress') ?? 0;
    await setting.writeMuch(500);
    await machine.pass(5000);
    expect(source.posted.get('progress') ?? 0).toBe(idle);
  });

  test('is answered when the system stops', async () => {
    const { machine, source, reader } = await followed('stop');
    await reader.drain();
    const answer = reader.ask({ waitMilliseconds: 60_000 });
    await machine.pass(10);
    await machine.run(source.source.close(1000));
    expect(reader.take(answer)).toMatchObject({ kind: 'problem', code: 'shutting_down' });
  });

  test('is forgotten when its client goes away', async () => {
    const { setting, machine, reader } = await followed('gone');
    await reader.drain();
    for (let i = 0; i < 200; i += 1) {
      const answer = reader.ask({ waitMilliseconds: 60_000 });
      await machine.pass(1);
      answer.leave();
      await machine.pass(1);
    }
    await setting.writeMuch(10);
    await setting.flush();
    await reader.drain();
    expect(reader.number).toBe(machine.group().watermarks.durable);
  });
});
