import { describe, expect, test } from 'vitest';
import { configureGroup } from '../../../src/group/system/group-settings.ts';
import type { Group } from '../../../src/group/order/group.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { must } from '../../../src/platform/assert.ts';
import { type Setting, serve } from '../../journal/volume-under-test.ts';

const block = 4 * KiB;

function bytes(fill: number): Uint8Array {
  return new Uint8Array(block).fill(fill);
}

function say(group: Group, systemId: number, received = group.watermarks.durable): void {
  group.followers.acknowledge({ systemId, received, applied: 0, sent: received, copied: [] });
}

function synchronous(group: Group, systemId: number, name: string): void {
  group.followers.register(systemId, name, group.watermarks.durable);
  group.followers.setSynchronous(systemId, true);
  say(group, systemId);
}

function codes(setting: Setting): readonly string[] {
  return setting.machine
    .group()
    .conditions.list()
    .map(({ code }) => code);
}

/** A group whose only synchronous follower, 7, is in step. */
async function protectedGroup(seed: string, onLoss: 'degrade' | 'stall'): Promise<Setting> {
  const setting = await serve(seed, { sizeBytes: 4 * MiB });
  const { machine } = setting;
  configureGroup(machine.group(), { synchronous: { onLoss } });
  synchronous(machine.group(), 7, 'b');
  await machine.until(() => machine.group().catalog.protection?.state === 'protected');
  say(machine.group(), 7);
  await machine.pass(10);
  return setting;
}

/** Says everything that is durable, every 100 ms, until the returned function is called. */
function keepSaying(setting: Setting, systemId: number): () => void {
  let isOver = false;
  const { machine } = setting;
  const again = (): void => {
    if (isOver) return;
    say(machine.group(), systemId);
    machine.clock.after(100, again);
  };
  again();
  return () => {
    isOver = true;
  };
}

describe('a group with a synchronous follower', () => {
  test('answers and shows an update once the follower has it, and applies none before', async () => {
    const setting = await protectedGroup('answers', 'degrade');
    const { machine, host } = setting;
    const { session } = host;
    const before = machine.group().watermarks.newest;
    expect(session.plainThrough).toBeLessThanOrEqual(before);
    const number = await host.write(block, bytes(1));
    session.requestDurable(number);
    await machine.pass(1000);
    expect(session.durable).toBe(number);
    expect(session.answerable).toBeLessThan(number);
    expect(machine.group().watermarks.applied).toBeLessThan(number);
    expect(session.admitsRead(block, 512)).toBe(false);
    expect(session.admitsRead(2 * block, block)).toBe(true);
    say(machine.group(), 7);
    expect(session.answerable).toBe(number);
    expect(session.admitsRead(block, 512)).toBe(true);
    await machine.until(() => machine.group().watermarks.applied === number);
  });

  test('degrades once its lease has run out, and says from which update on', async () => {
    const setting = await protectedGroup('degrades', 'degrade');
    const { machine, host } = setting;
    const has = machine.group().watermarks.durable;
    const number = await host.write(block, bytes(1));
    host.session.requestDurable(number);
    await machine.pass(4900);
    expect(host.session.answerable).toBe(has);
    await machine.until(() => host.session.answerable >= number);
    const protection = must(machine.group().catalog.protection, 'it is on record');
    expect(protection).toMatchObject({ state: 'unprotected', behind: has, believed: [] });
    expect(machine.group().watermarks.durable).toBeGreaterThanOrEqual(protection.number);
    expect(host.session.plainThrough).toBe(Number.POSITIVE_INFINITY);
    expect(codes(setting)).toEqual(['sync_lost']);
    const [condition] = machine.group().conditions.list();
    expect(condition?.message).toContain(`updates from ${has + 1} on`);
    expect(condition?.message).toContain('follower b');
    const stop = keepSaying(setting, 7);
    await machine.until(() => machine.group().catalog.protection?.state === 'protected');
    await machine.until(() => codes(setting).length === 0);
    stop();
    const told = machine.events.map(({ code }) => code).filter((code) => code.startsWith('sync_'));
    expect(told).toEqual([
      'sync_protected',
      'sync_unprotected',
      'sync_lost',
      'sync_protected',
      'sync_lost_cleared',
    ]);
  });

  test('misses nobody any more once who was lost is removed, from then on as before', async () => {
    const setting = await protectedGroup('removed', 'degrade');
    const { machine, host } = setting;
    await host.write(block, bytes(1));
    await machine.until(() => codes(setting).includes('sync_lost'));
    const before = must(machine.group().catalog.protection, 'it is on record');
    machine.group().followers.drop(7);
    await machine.until(() => codes(setting).length === 0);
    const after = must(machine.group().catalog.protection, 'it is on record');
    expect(after.number).toBeGreaterThan(before.number);
    expect({ ...after, number: before.number }).toEqual({ ...before, members: [], lost: [] });
    await machine.pass(10_000);
    expect(machine.group().catalog.protection).toBe(after);
  });

  test('stalls where it is to, and goes on when the follower is back or the setting is another', async () => {
    const setting = await protectedGroup('stalls', 'stall');
    const { machine, host } = setting;
    const first = await host.write(block, bytes(1));
    await machine.pass(20_000);
    expect(host.session.answerable).toBeLessThan(first);
    expect(codes(setting)).toEqual(['sync_stalled']);
    const stop = keepSaying(setting, 7);
    await machine.until(() => codes(setting).length === 0);
    expect(host.session.answerable).toBeGreaterThanOrEqual(first);
    stop();
    const second = await host.write(block, bytes(2));
    await machine.pass(20_000);
    expect(host.session.answerable).toBeLessThan(second);
    configureGroup(machine.group(), { synchronous: { onLoss: 'degrade' } });
    await machine.until(() => host.session.answerable >= second);
    expect(codes(setting)).toEqual(['sync_lost']);
  });

  test('lets hosts go on when the follower is dropped, once it trusts nothing any more', async () => {
    const setting = await protectedGroup('drops', 'stall');
    const { machine, host } = setting;
    const number = await host.write(block, bytes(1));
    host.session.requestDurable(number);
    machine.group().followers.drop(7);
    await machine.pass(4000);
    expect(host.session.answerable).toBeLessThan(number);
    await machine.until(() => host.session.plainThrough === Number.POSITIVE_INFINITY, 3000);
    expect(codes(setting)).toEqual([]);
  });

  test('lets hosts go on at once when the follower says itself that it left', async () => {
    const setting = await protectedGroup('leaves', 'stall');
    const { machine, host } = setting;
    const number = await host.write(block, bytes(1));
    host.session.requestDurable(number);
    await machine.pass(100);
    expect(host.session.answerable).toBeLessThan(number);
    machine.group().followers.drop(7);
    machine.group().synchronous.gaveUp(7);
    await machine.until(() => host.session.plainThrough === Number.POSITIVE_INFINITY, 500);
    expect(codes(setting)).toEqual([]);
  });

  test('waits for no follower that is synchronous no more, as soon as it knows', async () => {
    const setting = await protectedGroup('asynchronous', 'stall');
    const { machine, host } = setting;
    machine.group().followers.setSynchronous(7, false);
    await machine.until(() => machine.group().catalog.protection?.state === 'unprotected');
    await machine.pass(100);
    expect(host.session.plainThrough).toBeLessThan(Number.POSITIVE_INFINITY);
    say(machine.group(), 7);
    await machine.pass(10);
    expect(host.session.plainThrough).toBe(Number.POSITIVE_INFINITY);
    expect(codes(setting)).toEqual([]);
  });

  for (const end of ['kill', 'losePower', 'stop'] as const) {
    test(`waits again after a restart (${end}), and shows nothing that may have been held`, async () => {
      const setting = await protectedGroup(`restart ${end}`, 'stall');
      const { machine } = setting;
      const number = await setting.host.write(block, bytes(1));
      setting.host.session.requestDurable(number);
      await machine.until(() => setting.host.durable >= number);
      await (end === 'stop' ? machine.stop() : machine[end]());
      await machine.start();
      setting.reopen();
      const { session } = setting.host;
      expect(session.plainThrough).toBeLessThan(number);
      expect(session.admitsRead(3 * block, block)).toBe(false);
      await machine.pass(20_000);
      expect(session.admitsRead(3 * block, block)).toBe(false);
      expect(codes(setting)).toEqual(['sync_stalled']);
      // What was found may be applied, because nothing is read.
      expect(machine.group().watermarks.applied).toBe(number);
      const stop = keepSaying(setting, 7);
      await machine.until(() => session.admitsRead(3 * block, block));
      expect(session.answerable).toBeGreaterThanOrEqual(number);
      stop();
    });
  }

  test('keeps waiting, after it said that it does not, until the follower knows: also over a restart', async () => {
    const setting = await protectedGroup('believed', 'degrade');
    const { machine } = setting;
    machine.group().followers.setSynchronous(7, false);
    await machine.until(() => machine.group().catalog.protection?.state === 'unprotected');
    machine.kill();
    await machine.start();
    setting.reopen();
    const number = await setting.host.write(block, bytes(1));
    expect(setting.host.session.plainThrough).toBeLessThan(number);
    await machine.until(() => setting.host.session.plainThrough === Number.POSITIVE_INFINITY);
    await machine.pass(1000);
    machine.kill();
    await machine.start();
    setting.reopen();
    expect(setting.host.session.plainThrough).toBe(Number.POSITIVE_INFINITY);
  });

  test('waits for any one of two, and says which is away', async () => {
    const setting = await serve('any', { sizeBytes: 4 * MiB });
    const { machine, host } = setting;
    configureGroup(machine.group(), { synchronous: { wait: 1, onLoss: 'stall' } });
    synchronous(machine.group(), 7, 'b');
    synchronous(machine.group(), 8, 'c');
    const stop = keepSaying(setting, 7);
    await machine.until(() => machine.group().catalog.protection?.state === 'protected');
    say(machine.group(), 8);
    await machine.until(() => machine.group().catalog.protection?.members.length === 2);
    say(machine.group(), 8);
    await machine.until(() => machine.group().catalog.protection?.believed.length === 0);
    const number = await host.write(block, bytes(1));
    host.session.requestDurable(number);
    await machine.until(() => host.session.answerable >= number, 500);
    await machine.until(() => codes(setting).includes('sync_follower_lost'));
    expect(codes(setting)).toEqual(['sync_follower_lost']);
    machine.group().followers.setSynchronous(8, false);
    await machine.until(() => codes(setting).length === 0);
    stop();
    await machine.until(() => codes(setting).includes('sync_stalled'));
  });

  test('waits for all of two, for the one that is left, and for both again', async () => {
    const setting = await serve('all', { sizeBytes: 4 * MiB });
    const { machine, host } = setting;
    synchronous(machine.group(), 7, 'b');
    synchronous(machine.group(), 8, 'c');
    const members = (): string[] => {
      const { protection } = machine.group().catalog;
      return protection?.state === 'protected' ? protection.members.map(({ name }) => name) : [];
    };
    let stops = [keepSaying(setting, 7), keepSaying(setting, 8)];
    await machine.until(() => members().length === 2);
    must(stops[1], 'c says')();
    const number = await host.write(block, bytes(1));
    host.session.requestDurable(number);
    await machine.pass(2000);
    expect(host.session.answerable).toBeLessThan(number);
    await machine.until(() => members().length === 1);
    expect(members()).toEqual(['b']);
    await machine.until(() => host.session.answerable >= number);
    expect(codes(setting)).toEqual(['sync_follower_lost']);
    const next = await host.write(block, bytes(2));
    expect(host.session.plainThrough).toBeLessThan(next);
    host.session.requestDurable(next);
    await machine.until(() => host.session.answerable >= next, 500);
    must(stops[0], 'b says')();
    await machine.until(() => codes(setting).includes('sync_lost'));
    stops = [keepSaying(setting, 8)];
    await machine.until(() => members().length === 1);
    expect(members()).toEqual(['c']);
    stops = [...stops, keepSaying(setting, 7)];
    await machine.until(() => members().length === 2);
    await machine.until(() => codes(setting).length === 0);
    for (const stop of stops) stop();
  });

  test('where it is to stall waits for all of two, and for less by command alone', async () => {
    const setting = await serve('all stall', { sizeBytes: 4 * MiB });
    const { machine, host } = setting;
    configureGroup(machine.group(), { synchronous: { onLoss: 'stall' } });
    synchronous(machine.group(), 7, 'b');
    synchronous(machine.group(), 8, 'c');
    const stops = [keepSaying(setting, 7), keepSaying(setting, 8)];
    await machine.until(() => machine.group().catalog.protection?.members.length === 2);
    must(stops[1], 'c says')();
    const number = await host.write(block, bytes(1));
    host.session.requestDurable(number);
    await machine.pass(20_000);
    expect(host.session.answerable).toBeLessThan(number);
    expect(codes(setting)).toContain('sync_stalled');
    configureGroup(machine.group(), { synchronous: { onLoss: 'degrade' } });
    await machine.until(() => host.session.answerable >= number);
    expect(machine.group().catalog.protection).toMatchObject({
      state: 'protected',
      members: [{ name: 'b' }],
    });
    for (const stop of stops) stop();
  });

  test('is not held up for ever by a follower that is heard and takes nothing', async () => {
    const setting = await protectedGroup('stuck', 'degrade');
    const { machine, host } = setting;
    const has = machine.group().watermarks.durable;
    let isOver = false;
    const again = (): void => {
      if (isOver) return;
      say(machine.group(), 7, has);
      machine.clock.after(100, again);
    };
    again();
    const number = await host.write(block, bytes(1));
    host.session.requestDurable(number);
    await machine.until(() => host.session.answerable >= number, 15_000);
    expect(machine.group().catalog.protection).toMatchObject({ state: 'unprotected', behind: has });
    isOver = true;
  });
});
