import { describe, expect, test } from 'vitest';
import { must } from '../../src/platform/assert.ts';
import { MiB } from '../../src/platform/limits.ts';
import { areaOf, areas, check, serve, states, writeMuch } from './takeover-setting.ts';

describe('the emergency area', () => {
  test('takes what moves when the spare has no room for it', async () => {
    const setting = await serve('no room', 'spare', areas, 192 * MiB);
    const { machine, host } = setting;
    await host.flush();
    const { chain } = machine.group();
    const spare = must(machine.group().areas[1], 'there is a spare');
    const taken = spare.freeSlots.splice(1);
    machine.machine.faults.add({
      kind: 'sync_error',
      operation: 'sync',
      path: '/fast/a',
      times: 1,
    });
    const bytes = 200 * 1024;
    for (let i = 0; i < 90; i += 1)
      await host.write((i % 10) * bytes, new Uint8Array(bytes).fill(i));
    expect(chain.current.area.path).toBe('/fast/a');
    expect(await host.flush()).toBe(true);
    expect(states(setting)).toEqual(['failed', 'healthy']);
    expect(chain.current.area.role).toBe('emergency');
    expect(machine.group().failureText).toBe('');
    // It rolls back to the spare when there is room again.
    spare.freeSlots.push(...taken);
    machine.group().journal.segmentsFreed();
    await machine.pass(20);
    for (let i = 0; i < 90; i += 1)
      await host.write((i % 10) * bytes, new Uint8Array(bytes).fill(i));
    expect(chain.current.area).toBe(spare);
    expect(host.failures).toEqual([]);
  });

  test('takes over without a spare: hosts go on', async () => {
    for (let seed = 0; seed < 4; seed += 1) {
      const setting = await serve(`emergency ${seed}`, 'striped', ['/only']);
      const { machine, host } = setting;
      await writeMuch(setting, 20);
      expect(await host.flush()).toBe(true);
      await writeMuch(setting, 20);
      machine.machine.faults.add({
        kind: 'sync_error',
        operation: 'sync',
        path: '/only',
        times: 1,
      });
      expect(await host.flush()).toBe(true);
      machine.machine.dropCache();
      expect(states(setting)).toEqual(['failed']);
      expect(areaOf(setting)).toBe('/data/groups/g/emergency');
      await machine.pass(1500);
      expect(machine.group().conditions.has('g', 'journal_in_emergency_area')).toBe(true);
      // Several times what fits there: it is applied and released like any journal.
      await writeMuch(setting, 500, 200 * 1024);
      expect(host.failures).toEqual([]);
      const { newest } = machine.group().watermarks;
      expect(await host.flush()).toBe(true);
      if (seed % 2 === 0) machine.losePower();
      else machine.kill();
      await machine.start();
      expect(machine.group().failureText).toBe('');
      await check(setting, newest);
      expect(areaOf(setting)).toBe('/only');
      expect(machine.group().conditions.has('g', 'journal_in_emergency_area')).toBe(false);
    }
  });

  test('that fails too fails the journal, and says which updates are not durable', async () => {
    const setting = await serve('alone', 'spare', ['/only']);
    const { machine, host } = setting;
    await writeMuch(setting, 20);
    expect(await host.flush()).toBe(true);
    const { durable } = machine.group().watermarks;
    await writeMuch(setting, 20);
    for (const path of ['/only', '/data/groups/g/emergency'])
      machine.machine.faults.add({ kind: 'sync_error', operation: 'sync', path });
    expect(await host.flush()).toBe(false);
    expect(host.failures[0]?.from).toBe(durable + 1);
    expect(host.failures[0]?.text).toContain(`updates ${durable + 1} to ${durable + 22}`);
    expect(machine.group().state).toBe('abnormal');
    expect(await host.write(0, new Uint8Array(512))).toBeLessThan(0);
    machine.losePower();
    machine.machine.faults.clear();
    await machine.start();
    await check(setting, durable);
  });
});
