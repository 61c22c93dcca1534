import { describe, expect, test } from 'vitest';
import { errno } from '../../src/group/apply/export.ts';
import { deleteVolume } from '../../src/group/volumes/volume-changes.ts';
import { readCatalog } from '../../src/group/catalog/catalog.ts';
import { KiB, MiB } from '../../src/platform/limits.ts';
import type { SimulatedMachine } from './simulated-system.ts';
import { TestHost } from './test-host.ts';
import { serve } from './volume-under-test.ts';

const block = 128 * KiB;

/** Writes until the group refuses; the errno. */
async function writeUntilRefused(host: TestHost, atMost = 1000): Promise<number> {
  for (let i = 0; i < atMost; i += 1) {
    const number = await host.write((i % 8) * block, new Uint8Array(block).fill(i));
    if (number < 0) return -number;
    // Reads of status and replies let time pass between writes.
    if (i % 16 === 0) await host.flush();
  }
  return 0;
}

function conditions(machine: SimulatedMachine): string[] {
  return machine
    .group()
    .conditions.list()
    .map(({ code }) => code);
}

describe('a journal-only volume', () => {
  test('is journaled, stores nothing, and says so to who reads', async () => {
    const { machine, host } = await serve('journal-only', {
      sizeBytes: 2 * MiB,
      journalOnly: true,
    });
    expect(await host.write(0, new Uint8Array(4096).fill(1))).toBe(2);
    expect(await host.clear('hole', 0, 4096)).toBe(3);
    expect(await host.flush()).toBe(true);
    expect(await host.read(0, 512)).toBe(errno.EIO);
    expect(host.session.errorText).toContain('journal-only');
    expect(machine.disk.listSync('/data/groups/g/volumes')).toEqual([]);
    machine.group().hurryApply();
    await machine.until(() => machine.group().watermarks.applied === 3);
    await machine.pass(10_000);
    expect(machine.group().watermarks.released).toBe(0);
  });

  test('fills its journal, then gets ENOSPC, visibly, and others with it', async () => {
    const { machine, host } = await serve('full', { sizeBytes: 2 * MiB, journalOnly: true });
    await machine.createVolume('other', MiB);
    const other = new TestHost(machine, 'g/other');
    expect(await writeUntilRefused(host)).toBe(errno.ENOSPC);
    expect(host.session.errorText).toContain('journal of group g is full');
    await machine.pass(2000);
    expect(conditions(machine)).toEqual(['journal_full']);
    // Less than a record may still fit; no more than that.
    expect(await writeUntilRefused(other)).toBe(errno.ENOSPC);
    // What was accepted is durable, and none of it was released.
    expect(await host.flush()).toBe(true);
    expect(machine.group().watermarks.released).toBe(0);
    host.close();
    expect(await machine.run(deleteVolume(machine.group(), 'v', true))).toBe(true);
    await machine.pass(3000);
    expect(conditions(machine)).toEqual([]);
    expect(await writeUntilRefused(other, 300)).toBe(0);
  });

  test('with a full journal starts again, and goes on where it was', async () => {
    const setting = await serve('full restart', { sizeBytes: 2 * MiB, journalOnly: true });
    const { machine } = setting;
    const refusals: number[] = [];
    const isServing: boolean[] = [];
    for (let restart = 0; restart < 14; restart += 1) {
      isServing.push(machine.group().state === 'normal');
      if (machine.group().state === 'normal') {
        setting.reopen();
        refusals.push(await writeUntilRefused(setting.host));
      }
      const { newest } = machine.group().watermarks;
      machine.kill();
      await machine.start();
      expect(machine.group().watermarks.newest).toBe(newest);
      expect(machine.group().watermarks.released).toBe(0);
    }
    // The last segment of the journal, and then each of the emergency area, begins one life.
    expect(isServing).toEqual(Array.from({ length: 14 }, (_, restart) => restart < 6));
    expect(new Set(refusals)).toEqual(new Set([errno.ENOSPC]));
    expect(machine.group().state).toBe('abnormal');
    expect(conditions(machine)).toContain('journal_full');
    expect(machine.group().failureText).toContain('/data/groups/g/journal');
  });

  test('with a host that is made to wait instead, where the group says so', async () => {
    const { machine, host } = await serve('throttle', {
      sizeBytes: 2 * MiB,
      journalOnly: true,
      onFull: 'throttle',
    });
    let refused = false;
    let waited = 0;
    for (let i = 0; waited < 5 && i < 1000; i += 1) {
      if (host.session.admit(block + 64)) {
        refused ||= host.writeNow(0, new Uint8Array(block).fill(i)) < 0;
        await host.flush();
        waited = 0;
      } else {
        await machine.pass(2000);
        waited += 1;
      }
    }
    expect([waited, refused]).toEqual([5, false]);
    expect(host.session.newest * block).toBeGreaterThan(30 * MiB);
    expect(conditions(machine)).toEqual([]);
  });
});

describe('apply that cannot keep up', () => {
  test('slows hosts and refuses nothing', async () => {
    const setting = await serve('slow apply', { sizeBytes: 8 * MiB });
    const { machine } = setting;
    machine.machine.faults.add({
      kind: 'slow',
      operation: 'write',
      role: 'volume',
      milliseconds: 300,
    });
    const before = machine.clock.monotonicMilliseconds();
    await setting.writeMuch(700, 120 * KiB);
    expect(machine.clock.monotonicMilliseconds() - before).toBeGreaterThan(1000);
    machine.machine.faults.clear();
    await setting.flush();
    await setting.check(machine.group().watermarks.newest);
  });
});

describe('a volume that cannot grow', () => {
  test('keeps its records in the journal until there is space, and goes on by itself', async () => {
    const setting = await serve('no space', { sizeBytes: 8 * MiB });
    const { machine } = setting;
    const rule = { kind: 'no_space', operation: 'write', role: 'volume' } as const;
    machine.machine.faults.add(rule);
    await setting.writeMuch(200, 100 * KiB);
    await setting.flush();
    await machine.pass(5000);
    expect(conditions(machine)).toEqual(['volume_space']);
    expect(machine.group().watermarks.applied).toBeLessThan(machine.group().watermarks.newest);
    await setting.check(machine.group().watermarks.newest);
    // Also over a crash.
    machine.losePower();
    await machine.start();
    setting.reopen();
    await setting.check(201);
    await machine.pass(5000);
    expect(conditions(machine)).toEqual(['volume_space']);
    machine.machine.faults.remove(rule);
    await machine.until(() => machine.group().watermarks.applied >= 201);
    await machine.pass(2000);
    expect(conditions(machine)).toEqual([]);
    await setting.check(201);
  });

  test('refuses at arrival what would need space that is not there, and nothing else', async () => {
    const setting = await serve('thin', { sizeBytes: 64 * MiB });
    const { machine, host } = setting;
    await setting.host.write(0, new Uint8Array(block).fill(1));
    await setting.flush();
    machine.group().hurryApply();
    await machine.until(() => machine.group().watermarks.applied >= 2);
    machine.machine.capacityBytes = machine.machine.allocatedBytes + 18 * MiB;
    await machine.pass(1000);
    let written = 0;
    let refused = 0;
    for (let i = 1; i < 64; i += 1) {
      const number = await host.write(i * block, new Uint8Array(block).fill(i));
      if (number > 0) written += 1;
      else refused = -number;
      await machine.pass(20);
    }
    expect(refused).toBe(errno.ENOSPC);
    expect(host.session.errorText).toContain('no room');
    expect(written * block).toBeGreaterThan(1 * MiB);
    expect(written * block).toBeLessThan(4 * MiB);
    expect(conditions(machine)).toEqual(['volume_space']);
    // Overwriting and giving back need nothing, and make room.
    expect(await host.write(0, new Uint8Array(block).fill(9))).toBeGreaterThan(0);
    expect(await host.clear('hole', 0, 8 * MiB)).toBeGreaterThan(0);
    await setting.flush();
    await machine.pass(10_000);
    machine.group().hurryApply();
    await machine.pass(2000);
    expect(await host.write(0, new Uint8Array(block).fill(8))).toBeGreaterThan(0);
    expect(conditions(machine)).toEqual([]);
    const told = machine.events.filter(({ code }) => code.startsWith('volume_space'));
    const folder = '/data/groups/g/volumes';
    expect(told).toEqual([
      {
        code: 'volume_space',
        message: expect.stringContaining(`the file system below ${folder} is full`),
        fields: { group: 'g', nextCommand: `df ${folder}` },
      },
      {
        code: 'volume_space_cleared',
        message: expect.stringContaining(`the file system below ${folder} has room`),
        fields: { group: 'g' },
      },
    ]);
  });
});

describe('a volume that was deleted', () => {
  test('owes no space, while apply has not come to its records and over a restart', async () => {
    const setting = await serve('owed', { sizeBytes: 64 * MiB });
    const { machine, host } = setting;
    await machine.createVolume('other', 64 * MiB);
    // Apply fails with what comes first, and what is behind it waits.
    machine.machine.faults.add({ kind: 'no_space', operation: 'write', role: 'volume' });
    const other = new TestHost(machine, 'g/other');
    await other.write(0, new Uint8Array(block).fill(1));
    await other.flush();
    await machine.pass(1000);
    for (let at = 0; at < 24; at += 1) {
      await host.write(at * block, new Uint8Array(block).fill(at));
    }
    await host.clear('zero', 32 * MiB, 16 * MiB);
    await host.clear('hole', 0, 1 * MiB);
    await host.flush();
    const owed = (): number => machine.group().index.owedBlocks * 4096;
    expect(owed()).toBe(block * 25 + 16 * MiB);
    host.close();
    expect(await machine.run(deleteVolume(machine.group(), 'v', true))).toBe(true);
    expect(machine.group().watermarks.applied).toBeLessThan(machine.group().watermarks.newest);
    expect(owed()).toBe(block);
    machine.kill();
    await machine.start();
    await machine.pass(1000);
    expect(machine.group().watermarks.applied).toBeLessThan(machine.group().watermarks.newest);
    expect(owed()).toBe(block);
    machine.machine.faults.clear();
    await machine.until(() => owed() === 0);
    const again = new TestHost(machine, 'g/other');
    expect((await again.read(0, block)) as Buffer).toEqual(Buffer.alloc(block, 1));
  });

  test('owes what apply may still store of it', async () => {
    const setting = await serve('in use', { sizeBytes: 64 * MiB });
    const { machine, host } = setting;
    machine.machine.faults.add({
      kind: 'slow',
      operation: 'write',
      role: 'volume',
      milliseconds: 3000,
    });
    for (let at = 0; at < 8; at += 1) {
      await host.write(at * 2 * block, new Uint8Array(block).fill(at + 1));
    }
    await host.flush();
    await machine.until(() => machine.group().index.frozenCount === 1);
    host.close();
    expect(await machine.run(deleteVolume(machine.group(), 'v', true))).toBe(true);
    const { index } = machine.group();
    expect(index.owedBlocks === 0).toBe(index.frozenCount === 0);
    await machine.until(() => index.owedBlocks === 0);
  });
});

describe('a catalog file that cannot be replaced', () => {
  test('follows the journal later: the change holds meanwhile, and over a crash', async () => {
    for (const crashes of [false, true]) {
      const setting = await serve(`catalog ${crashes}`, { sizeBytes: MiB });
      const { machine } = setting;
      const path = machine.system.filesOf(machine.group()).catalog;
      const rule = { kind: 'no_space', operation: 'write', role: 'catalog' } as const;
      machine.machine.faults.add(rule);
      const volume = await machine.createVolume('new', MiB);
      expect(volume.catalog.id).toBe(2);
      expect(conditions(machine)).toEqual(['catalog_behind']);
      expect(readCatalog(machine.disk, path)?.volumes.length).toBe(1);
      const host = new TestHost(machine, 'g/new');
      await host.write(0, new Uint8Array(4096).fill(5));
      await host.flush();
      // No checkpoint passes the record of the change.
      machine.group().hurryApply();
      await machine.pass(20_000);
      machine.machine.faults.remove(rule);
      if (crashes) {
        machine.losePower();
        await machine.start();
      } else {
        await machine.pass(2000);
      }
      expect(conditions(machine)).toEqual([]);
      expect(readCatalog(machine.disk, path)?.volumes.length).toBe(2);
      const again = await machine.createVolume('new', MiB);
      expect(again.catalog.id).toBe(2);
      const reader = new TestHost(machine, 'g/new');
      expect((await reader.read(0, 4096)) as Buffer).toEqual(Buffer.alloc(4096, 5));
    }
  });
});
