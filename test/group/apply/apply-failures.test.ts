import { describe, expect, test } from 'vitest';
import { KiB, MiB, segmentBytes } from '../../../src/platform/limits.ts';
import type { SimulatedMachine } from '../../journal/simulated-system.ts';
import { TestHost } from '../../journal/test-host.ts';
import { type Setting, serve } from '../../journal/volume-under-test.ts';

function conditions(machine: SimulatedMachine, group = 'g'): string[] {
  return machine
    .group(group)
    .conditions.list()
    .map(({ code }) => code)
    .sort();
}

function isFull(machine: SimulatedMachine): boolean {
  const areas = machine.group().areas.filter(({ role }) => role === 'journal');
  return areas.every(({ freeSlots }) => freeSlots.length === 0);
}

/**
 * Lives of a few writes each, of which nothing is applied: each takes a segment. Ends in one that finds
 * none.
 */
async function fillWithLives(setting: Setting): Promise<void> {
  const { machine } = setting;
  for (let life = 0; life < 12; life += 1) {
    if (machine.group().state !== 'normal') return;
    setting.reopen();
    await setting.writeMuch(3);
    await setting.flush();
    machine.kill();
    await machine.start();
  }
}

async function writeAndRead(machine: SimulatedMachine, name: string): Promise<boolean> {
  const host = new TestHost(machine, name);
  const bytes = machine.random.bytes(4096);
  await host.write(8192, bytes);
  await host.flush();
  const found = await host.read(8192, 4096);
  host.close();
  return Buffer.isBuffer(found) && found.equals(bytes);
}

describe('a checkpoint that cannot be written', () => {
  for (const kind of ['sync_error', 'write_error'] as const) {
    test(`for a while (${kind}) is written later: the journal goes round`, async () => {
      const setting = await serve(kind, { sizeBytes: 8 * MiB });
      const { machine } = setting;
      const operation = kind === 'sync_error' ? 'sync' : 'write';
      const path = '/data/groups/g/checkpoint';
      machine.machine.faults.add({ kind, operation, role: 'checkpoint', path, nth: 1, times: 3 });
      await setting.writeMuch(40, 100 * KiB);
      machine.group().hurryApply();
      await machine.pass(1500);
      expect(conditions(machine)).toEqual(['volume_failed']);
      expect(machine.group().watermarks.released).toBe(0);
      // Twice the journal: without a checkpoint hosts would wait for ever.
      await setting.writeMuch(1200, 100 * KiB);
      await machine.pass(5000);
      expect(conditions(machine)).toEqual([]);
      await setting.flush();
      const { newest } = machine.group().watermarks;
      await setting.check(newest);
      machine.losePower();
      await machine.start();
      setting.reopen();
      await setting.check(newest);
    });
  }

  test('is not believed while only the page cache has it', async () => {
    const setting = await serve('cache', { sizeBytes: 1 * MiB });
    const { machine } = setting;
    const path = '/data/groups/g/checkpoint';
    machine.machine.faults.add({ kind: 'sync_error', operation: 'sync', role: 'checkpoint', path });
    await setting.writeMuch(40);
    await setting.flush();
    machine.group().hurryApply();
    await machine.pass(10_000);
    expect(machine.group().watermarks.applied).toBe(machine.group().watermarks.newest);
    expect(machine.group().watermarks.released).toBe(0);
    machine.losePower();
    machine.machine.faults.clear();
    await machine.start();
    setting.reopen();
    await setting.check(41);
  });
});

describe('a volume whose file is not there at the start', () => {
  test('keeps its records until it is back, beside one that is used', async () => {
    const setting = await serve('gone', { sizeBytes: 1 * MiB });
    const { machine } = setting;
    await machine.createVolume('w', MiB);
    await setting.writeMuch(40);
    await setting.flush();
    const { newest } = machine.group().watermarks;
    machine.kill();
    const file = '/data/groups/g/volumes/0001.volume';
    machine.machine.attach().renameSync(file, '/elsewhere');
    await machine.start();
    expect(conditions(machine)).toEqual(['volume_missing']);
    expect(await writeAndRead(machine, 'g/w')).toBe(true);
    await machine.pass(60_000);
    expect(conditions(machine)).toEqual(['volume_failed', 'volume_missing']);
    machine.kill();
    machine.machine.attach().renameSync('/elsewhere', file);
    await machine.start();
    setting.reopen();
    await setting.check(newest);
    await machine.pass(60_000);
    expect(machine.group().index.isEmpty).toBe(true);
    await setting.check(newest);
  });
});

describe('a volume whose file cannot be opened at the start', () => {
  test('keeps its records until it can, beside one that is used', async () => {
    const setting = await serve('unreadable', { sizeBytes: 1 * MiB });
    const { machine } = setting;
    await machine.createVolume('w', MiB);
    await setting.writeMuch(40);
    await setting.flush();
    const { newest } = machine.group().watermarks;
    machine.kill();
    const path = '/data/groups/g/volumes/0001.volume';
    machine.machine.faults.add({ kind: 'read_error', operation: 'read', path });
    await machine.start();
    expect(conditions(machine)).toEqual(['volume_failed']);
    expect(() => new TestHost(machine, 'g/v')).toThrow(`cannot open ${path}`);
    expect(await writeAndRead(machine, 'g/w')).toBe(true);
    machine.machine.faults.clear();
    await machine.pass(60_000);
    // Apply found it again; who reads needs a restart.
    expect(machine.group().index.isEmpty).toBe(true);
    expect(conditions(machine)).toEqual(['volume_failed']);
    machine.kill();
    await machine.start();
    setting.reopen();
    await setting.check(newest);
    expect(conditions(machine)).toEqual([]);
  });
});

describe('a journal without a free segment, at the start', () => {
  test('waits for apply, and serves; others do meanwhile', async () => {
    const setting = await serve('full', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    await machine.createGroup({}, 'other');
    await machine.createVolume('o', MiB, false, 'other');
    const rule = { kind: 'no_space', operation: 'write', role: 'volume' } as const;
    machine.machine.faults.add({ ...rule, path: '/data/groups/g' });
    await fillWithLives(setting);
    expect(machine.group().state).toBe('abnormal');
    expect(isFull(machine)).toBe(true);
    expect(conditions(machine)).toEqual(['journal_full', 'volume_space']);
    expect(machine.group().failureText).toContain(`no segment of ${segmentBytes} bytes is free`);
    expect(() => new TestHost(machine, 'g/v')).toThrow('by itself');
    expect(await writeAndRead(machine, 'other/o')).toBe(true);
    await machine.pass(60_000);
    expect(machine.group().state).toBe('abnormal');
    const { newest } = machine.group().watermarks;
    // Also over a restart, in order.
    await machine.stop();
    await machine.start();
    expect(machine.group().state).toBe('abnormal');
    machine.machine.faults.clear();
    await machine.until(() => machine.group().state === 'normal', 5000);
    expect(conditions(machine)).toEqual([]);
    setting.reopen();
    await setting.check(newest);
    await setting.writeMuch(20);
    await setting.check(newest + 20);
    await machine.stop();
  });

  test('waits for a checkpoint that cannot be written', async () => {
    const setting = await serve('no checkpoint', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    const path = '/data/groups/g/checkpoint';
    machine.machine.faults.add({ kind: 'write_error', operation: 'write', path });
    await fillWithLives(setting);
    expect(machine.group().state).toBe('abnormal');
    expect(conditions(machine)).toEqual(['journal_full', 'volume_failed']);
    machine.machine.faults.clear();
    await machine.until(() => machine.group().state === 'normal', 5000);
    expect(conditions(machine)).toEqual([]);
    setting.reopen();
    await setting.writeMuch(20);
    await setting.check(machine.group().watermarks.newest);
  });

  test('is deleted with its group', async () => {
    const setting = await serve('deleted', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    const path = '/data/groups/g/checkpoint';
    machine.machine.faults.add({ kind: 'write_error', operation: 'write', path });
    await fillWithLives(setting);
    expect(machine.group().state).toBe('abnormal');
    expect(await machine.run(machine.system.deleteGroup('g', true))).toBe(true);
    await machine.pass(10_000);
    expect(machine.disk.existsSync('/data/groups/g')).toBe(false);
  });
});
