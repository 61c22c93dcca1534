import { describe, expect, test } from 'vitest';
import { segmentFileName } from '../../src/journal/segment.ts';
import { MiB, segmentBytes } from '../../src/platform/limits.ts';
import type { SimulatedMachine } from './simulated-system.ts';
import { newMachine, serve } from './volume-under-test.ts';

describe('a journal that holds what nobody followed yet', () => {
  test('keeps every record of a journal-only volume over restarts (SAFETY 7)', async () => {
    const setting = await serve('held', { sizeBytes: 2 * MiB, journalOnly: true });
    const { machine } = setting;
    for (let restart = 0; restart < 3; restart += 1) {
      await setting.writeMuch(40, 100 * 1024);
      await setting.flush();
      // A checkpoint, so that recovery need not read them again.
      machine.group().hurryApply();
      await machine.until(() => machine.group().watermarks.applied >= 40 * (restart + 1));
      await machine.pass(10_000);
      if (restart === 1) machine.losePower();
      else machine.kill();
      await machine.start();
      setting.reopen();
    }
    const { released, newest } = machine.group().watermarks;
    expect([released, newest]).toEqual([0, 121]);
    const live = [...machine.group().chain.live()];
    expect(live.length * segmentBytes).toBeGreaterThan(120 * 100 * 1024);
    // Every number from 1 on stands in a segment that will not be used again.
    const inUse = new Set(live.map(({ file }) => file.path));
    const found = setting.journalNumbers().filter(({ path }) => inUse.has(path));
    expect(new Set(found.map(({ number }) => number)).size).toBe(121);
  });
});

describe('an area that is not there', () => {
  const directories = ['/x/1', '/x/2'];

  function hide(machine: SimulatedMachine, path: string): void {
    const disk = machine.machine.attach();
    disk.renameSync(path, `${path}.away`);
    disk.syncDirectorySync('/x');
  }

  function show(machine: SimulatedMachine, path: string): void {
    const disk = machine.machine.attach();
    disk.renameSync(`${path}.away`, path);
    disk.syncDirectorySync('/x');
  }

  test.each(['striped', 'spare'] as const)(
    'is not done without where it may hold what was durable (%s)',
    async (areaLayout) => {
      const setting = await serve('gone', {
        sizeBytes: 2 * MiB,
        journalDirectories: directories,
        areaLayout,
      });
      const { machine } = setting;
      await setting.writeMuch(250, 100 * 1024);
      if (areaLayout === 'spare') {
        machine.machine.faults.add({
          kind: 'sync_error',
          operation: 'sync',
          path: '/x/1',
          times: 1,
        });
      }
      await setting.flush();
      await setting.writeMuch(100, 100 * 1024);
      await setting.flush();
      const { durable } = machine.group().watermarks;
      const area = machine.group().chain.current.area.path;
      machine.kill();
      hide(machine, area);
      await machine.start();
      // Nothing is served that could be older than what was flushed, and nothing is written.
      expect(machine.group().state).toBe('abnormal');
      expect(machine.group().failureText).toContain(area);
      await machine.stop();
      show(machine, area);
      await machine.start();
      expect(machine.group().state).toBe('normal');
      setting.reopen();
      await setting.check(durable);
    },
  );
});

describe('an area that cannot be written at the start', () => {
  test('is left for another one', async () => {
    const journalDirectories = ['/x/1', '/x/2'];
    const setting = await serve('start', {
      sizeBytes: MiB,
      journalDirectories,
      areaLayout: 'spare',
    });
    const { machine } = setting;
    await setting.writeMuch(20);
    await setting.flush();
    const { durable } = machine.group().watermarks;
    for (const operation of ['write', 'sync'] as const) {
      machine.kill();
      const kind = operation === 'write' ? 'write_error' : 'sync_error';
      machine.machine.faults.add({ kind, operation, path: '/x/1' });
      await machine.start();
      expect(machine.group().state).toBe('normal');
      const states = machine.group().areas.map(({ state }) => state);
      expect(states).toEqual(['failed', 'healthy', 'healthy']);
      expect(machine.group().conditions.has('/x/1', 'area_failed')).toBe(true);
      setting.reopen();
      await setting.check(durable);
      machine.machine.faults.clear();
    }
  });

  test('is left for the emergency area where there is no other one', async () => {
    const setting = await serve('start', { sizeBytes: MiB, journalDirectories: ['/x/1'] });
    const { machine } = setting;
    await setting.writeMuch(20);
    await setting.flush();
    const { durable } = machine.group().watermarks;
    machine.kill();
    machine.machine.faults.add({ kind: 'write_error', operation: 'write', path: '/x/1' });
    await machine.start();
    expect(machine.group().chain.current.area.role).toBe('emergency');
    expect(machine.group().conditions.has('g', 'journal_in_emergency_area')).toBe(true);
    setting.reopen();
    await setting.check(durable);
    await setting.writeMuch(20);
    await setting.flush();
  });

  test('leaves nothing served where no other one can be, and says which', async () => {
    const setting = await serve('start', { sizeBytes: MiB, journalDirectories: ['/x/1'] });
    const { machine } = setting;
    await setting.writeMuch(20);
    await setting.flush();
    machine.kill();
    for (const path of ['/x/1', '/data/groups/g/emergency'])
      machine.machine.faults.add({ kind: 'write_error', operation: 'write', path });
    await expect(machine.start()).rejects.toMatchObject({
      code: 'journal_failed',
      message: expect.stringContaining('/x/1') as string,
    });
  });
});

describe('a data directory', () => {
  test('can be moved, with the journals in it', async () => {
    const setting = await serve('moved', { sizeBytes: MiB });
    const { machine } = setting;
    await setting.writeMuch(20);
    await setting.flush();
    const { durable } = machine.group().watermarks;
    machine.kill();
    machine.machine.attach().renameSync('/data', '/srv');
    machine.directory = '/srv';
    await machine.start();
    const paths = machine.group().areas.map(({ path }) => path);
    expect(paths).toEqual(['/srv/groups/g/journal', '/srv/groups/g/emergency']);
    setting.reopen();
    await setting.check(durable);
    await setting.writeMuch(20);
    await setting.flush();
  });

  test('that lost a catalog is left as it is', async () => {
    const setting = await serve('lost', { sizeBytes: MiB });
    const { machine } = setting;
    await setting.writeMuch(20);
    await setting.flush();
    const { durable } = machine.group().watermarks;
    machine.kill();
    const disk = machine.machine.attach();
    disk.renameSync('/data/groups/g/catalog', '/catalog');
    await expect(machine.start()).rejects.toMatchObject({ code: 'catalog_damaged' });
    machine.kill();
    machine.machine.attach().renameSync('/catalog', '/data/groups/g/catalog');
    await machine.start();
    setting.reopen();
    await setting.check(durable);
  });
});

describe('a header that cannot be read', () => {
  test('is damage where the segment may hold what was durable', async () => {
    const machine = newMachine('header');
    const setting = await serve(machine, { sizeBytes: MiB });
    await setting.writeMuch(20);
    await setting.flush();
    machine.kill();
    await machine.start();
    setting.reopen();
    await setting.writeMuch(20);
    await setting.flush();
    const { path } = machine.group().chain.current.file;
    machine.kill();
    const disk = machine.machine.attach();
    const file = disk.openSync(path, 'read-write', 'segment');
    file.writeSync(new Uint8Array(4096).fill(0xff), 0, 4096, 0);
    file.dataSyncSync();
    await machine.start();
    expect(machine.group().state).toBe('abnormal');
    expect(machine.group().failureText).toContain(path);
    expect(path.endsWith(segmentFileName(0))).toBe(false);
  });
});

describe('a daemon that dies at any moment', () => {
  test('loses nothing that was acknowledged, and with the power nothing that was flushed', async () => {
    for (let seed = 0; seed < 25; seed += 1) {
      const setting = await serve(`die ${seed}`, { sizeBytes: 2 * MiB });
      const { machine } = setting;
      for (let round = 0; round < 4; round += 1) {
        const killsPower = machine.random.chance(0.5);
        await setting.writeMuch(machine.random.int(60), 20_000);
        if (machine.random.chance(0.7)) await setting.flush();
        await setting.writeMuch(machine.random.int(20));
        await machine.pass(machine.random.int(3000));
        const { durable, newest } = machine.group().watermarks;
        if (killsPower) machine.losePower();
        else machine.kill();
        await machine.start();
        setting.reopen();
        await setting.check(killsPower ? durable : newest);
      }
    }
  });
});
