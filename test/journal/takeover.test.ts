import { describe, expect, test } from 'vitest';
import { must } from '../../src/platform/assert.ts';
import { MiB } from '../../src/platform/limits.ts';
import { areaOf, areas, check, serve, states, writeMuch } from './takeover-setting.ts';

describe('an area that fails', () => {
  test('at a write is left for the spare within the call: nothing is lost, nobody is told', async () => {
    const setting = await serve('write');
    const { machine, host } = setting;
    await writeMuch(setting, 50);
    await host.flush();
    expect(areaOf(setting)).toBe('/fast/a');
    await writeMuch(setting, 20);
    machine.machine.faults.add({
      kind: 'write_error',
      operation: 'write',
      path: '/fast/a',
      nth: 3,
    });
    await writeMuch(setting, 20);
    expect(areaOf(setting)).toBe('/other/b');
    expect(states(setting)).toEqual(['failed', 'healthy']);
    expect(machine.group().conditions.has('/fast/a', 'area_failed')).toBe(true);
    expect(await host.flush()).toBe(true);
    expect(host.failures).toEqual([]);
    await check(setting, machine.group().watermarks.newest);
    const { durable } = machine.group().watermarks;
    machine.losePower();
    await machine.start();
    await check(setting, durable);
  });

  test('at a sync is left for the spare: who waits goes on waiting (SAFETY 4)', async () => {
    for (let seed = 0; seed < 20; seed += 1) {
      const setting = await serve(seed);
      const { machine, host } = setting;
      await writeMuch(setting, 50);
      await host.flush();
      machine.machine.faults.add({
        kind: 'sync_error',
        operation: 'sync',
        path: '/fast/a',
        times: 1,
      });
      await writeMuch(setting, 50);
      expect(await host.flush()).toBe(true);
      expect(host.failures).toEqual([]);
      expect(states(setting)).toEqual(['failed', 'healthy']);
      // The page cache of the failed area lies: what it dropped must not be needed.
      machine.machine.dropCache();
      await check(setting, machine.group().watermarks.newest);
      const { durable } = machine.group().watermarks;
      if (seed % 2 === 0) machine.losePower();
      else machine.kill();
      await machine.start();
      await check(setting, durable);
    }
  });

  test('with records in the index that wait for apply', async () => {
    for (let seed = 0; seed < 20; seed += 1) {
      const setting = await serve(`frozen ${seed}`);
      const { machine, host } = setting;
      await writeMuch(setting, 30);
      await host.flush();
      await writeMuch(setting, 30);
      // Frozen with a tail that is not durable, as the timer of apply may do at any moment.
      expect(machine.group().index.freeze()).toBe(true);
      await writeMuch(setting, 10);
      machine.machine.faults.add({
        kind: 'sync_error',
        operation: 'sync',
        path: '/fast/a',
        times: 1,
      });
      expect(await host.flush()).toBe(true);
      machine.machine.dropCache();
      await check(setting, machine.group().watermarks.newest);
      machine.group().hurryApply();
      const { newest } = machine.group().watermarks;
      const isChecked = seed % 2 === 0;
      await machine.until(() => machine.group().watermarks.applied === newest || !isChecked);
      await machine.pass(seed * 7);
      await check(setting, newest);
      if (seed % 4 < 2) machine.losePower();
      else machine.kill();
      await machine.start();
      expect(machine.group().failureText).toBe('');
      await check(setting, newest);
    }
  });

  test('twice: the second spare takes over too', async () => {
    const setting = await serve('twice', 'spare', ['/x/1', '/x/2', '/x/3']);
    const { machine, host } = setting;
    for (const path of ['/x/1', '/x/2']) {
      await writeMuch(setting, 30);
      expect(areaOf(setting)).toBe(path);
      machine.machine.faults.add({ kind: 'sync_error', operation: 'sync', path, times: 1 });
      expect(await host.flush()).toBe(true);
    }
    expect(states(setting)).toEqual(['failed', 'failed', 'healthy']);
    await writeMuch(setting, 30);
    await host.flush();
    const { durable } = machine.group().watermarks;
    machine.losePower();
    await machine.start();
    await check(setting, durable);
  });

  test('twice at once: the spare fails while records move to it', async () => {
    const setting = await serve('at once', 'spare', ['/x/1', '/x/2', '/x/3']);
    const { machine, host } = setting;
    await writeMuch(setting, 30);
    const { faults } = machine.machine;
    faults.add({ kind: 'sync_error', operation: 'sync', path: '/x/1', times: 1 });
    // The header of its first segment can be written, what moves there cannot.
    faults.add({ kind: 'write_error', operation: 'write', path: '/x/2', nth: 3 });
    expect(await host.flush()).toBe(true);
    expect(states(setting)).toEqual(['failed', 'failed', 'healthy']);
    expect(areaOf(setting)).toBe('/x/3');
    const { durable } = machine.group().watermarks;
    await check(setting, durable);
    machine.losePower();
    await machine.start();
    await check(setting, durable);
  });

  test('loses nothing that was answered to a daemon killed in the middle of moving', async () => {
    let deaths = 0;
    for (let nth = 1; nth < 40; nth += 1) {
      const setting = await serve(`killed ${nth}`);
      const { machine, host, history } = setting;
      await writeMuch(setting, 20);
      await host.flush();
      await writeMuch(setting, 20);
      const { newest } = machine.group().watermarks;
      const { faults } = machine.machine;
      faults.add({ kind: 'write_error', operation: 'write', path: '/fast/a', times: 1 });
      faults.add({ kind: 'death', operation: 'write', path: '/other/b', nth });
      const { disk } = machine;
      // Under way when the daemon dies, it may be there or not.
      const bytes = machine.random.bytes(512);
      history.add({ number: newest + 1, export: 'g/v', offset: 0, length: 512, bytes });
      await host.write(0, bytes).catch((error: unknown) => {
        if (!disk.isDead) throw error;
      });
      if (disk.isDead) deaths += 1;
      machine.kill();
      machine.machine.faults.clear();
      await machine.start();
      await check(setting, newest);
    }
    expect(deaths).toBeGreaterThan(20);
  });

  test('in the middle of a chunk, with what moves filling the next segment', async () => {
    const setting = await serve('filling', 'spare', areas, 192 * MiB);
    const { machine, host, history } = setting;
    await host.flush();
    const bytes = 200 * 1024;
    for (let i = 0; i < 80; i += 1) await host.write((i % 10) * bytes, machine.random.bytes(bytes));
    machine.machine.faults.add({
      kind: 'write_error',
      operation: 'write',
      path: '/fast/a',
      times: 1,
    });
    // Two slabs of one chunk: the second record is stamped while the first one's run fails.
    const slabs = [0, 1].map(() => must(machine.group().slabs.take(), 'a slab is free'));
    for (const [at, slab] of slabs.entries()) {
      const payload = machine.random.bytes(bytes);
      slab.bytes.set(payload, 64 + 28);
      const number = host.session.stampWrite(slab, 64, 28, at * bytes, bytes);
      history.add({ number, export: 'g/v', offset: at * bytes, length: bytes, bytes: payload });
    }
    expect(host.session.commitRun()).toBe(0);
    for (const slab of slabs) host.session.retire(slab);
    expect(states(setting)).toEqual(['failed', 'healthy']);
    expect(await host.flush()).toBe(true);
    const { durable } = machine.group().watermarks;
    expect(durable).toBe(83);
    await check(setting, durable);
    machine.losePower();
    await machine.start();
    await check(setting, durable);
  });
});

describe('an area that is slow', () => {
  test('is left for the spare, and is used again when it has rested', async () => {
    const setting = await serve('slow');
    const { machine, host } = setting;
    await writeMuch(setting, 20);
    await host.flush();
    machine.machine.faults.add({
      kind: 'slow',
      operation: 'sync',
      path: '/fast/a',
      milliseconds: 10_000,
      times: 1,
    });
    await writeMuch(setting, 20);
    const before = machine.clock.monotonicMilliseconds();
    // Not within the call, where the whole thread would wait.
    await machine.until(() => states(setting)[0] === 'slow');
    expect(await host.flush()).toBe(true);
    expect(machine.clock.monotonicMilliseconds() - before).toBeLessThan(4000);
    expect(areaOf(setting)).toBe('/other/b');
    expect(machine.group().conditions.has('/fast/a', 'area_slow')).toBe(true);
    await check(setting, machine.group().watermarks.newest);
    await machine.pass(40_000);
    expect(states(setting)).toEqual(['healthy', 'healthy']);
    expect(machine.group().conditions.has('/fast/a', 'area_slow')).toBe(false);
    await writeMuch(setting, 20);
    await host.flush();
    const { durable } = machine.group().watermarks;
    machine.losePower();
    await machine.start();
    await check(setting, durable);
  });
});

describe('a slow area among striped ones', () => {
  test('is the one that is left, not the one that is being written', async () => {
    const setting = await serve('striped slow', 'striped');
    const { machine, host } = setting;
    const bytes = 200 * 1024;
    for (let i = 0; i < 60; i += 1) await host.write((i % 10) * bytes, machine.random.bytes(bytes));
    await host.flush();
    for (let i = 0; i < 30; i += 1) await host.write((i % 10) * bytes, machine.random.bytes(bytes));
    expect(areaOf(setting)).toBe('/other/b');
    machine.machine.faults.add({
      kind: 'slow',
      operation: 'sync',
      path: '/fast/a',
      milliseconds: 20_000,
      times: 1,
    });
    const { newest } = machine.group().watermarks;
    expect(await host.flush()).toBe(true);
    expect(machine.clock.monotonicMilliseconds()).toBeLessThan(10_000);
    expect(states(setting)).toEqual(['slow', 'healthy']);
    await check(setting, newest);
    machine.losePower();
    await machine.start();
    await check(setting, newest);
  });
});

describe('striped areas', () => {
  test('are written in turn, all of them', async () => {
    const setting = await serve('striped', 'striped');
    const { machine, host } = setting;
    const seen: string[] = [];
    for (let i = 0; i < 200; i += 1) {
      await writeMuch(setting, 1, 200 * 1024);
      const area = areaOf(setting);
      if (seen.at(-1) !== area) seen.push(area);
    }
    expect(seen.slice(0, 3)).toEqual(['/fast/a', '/other/b', '/fast/a']);
    await host.flush();
    await check(setting, machine.group().watermarks.newest);
    const { durable } = machine.group().watermarks;
    machine.losePower();
    await machine.start();
    await check(setting, durable);
  });

  test('go on with those that are left', async () => {
    const setting = await serve('striped failure', 'striped');
    const { machine, host } = setting;
    await writeMuch(setting, 100, 200 * 1024);
    machine.machine.faults.add({
      kind: 'sync_error',
      operation: 'sync',
      path: '/other/b',
      times: 1,
    });
    await writeMuch(setting, 100, 200 * 1024);
    expect(await host.flush()).toBe(true);
    expect(states(setting)).toEqual(['healthy', 'failed']);
    await check(setting, machine.group().watermarks.newest);
    const { durable } = machine.group().watermarks;
    machine.losePower();
    await machine.start();
    await check(setting, durable);
  });
});
