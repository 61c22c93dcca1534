import { describe, expect, test } from 'vitest';
import type { Followers } from '../../../src/group/followers/followers.ts';
import { resizeVolume } from '../../../src/group/volumes/volume-changes.ts';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { SimulatedMachine } from '../../journal/simulated-system.ts';
import { type Setting, serve } from '../../journal/volume-under-test.ts';

const recordBytes = 100 * KiB;

function followers(machine: SimulatedMachine): Followers {
  return machine.group().followers;
}

/** Everything is applied, and a checkpoint says so: what is kept now is held. */
async function settle(machine: SimulatedMachine): Promise<void> {
  const { newest } = machine.group().watermarks;
  machine.group().hurryApply();
  await machine.until(() => machine.group().watermarks.applied === newest);
  machine.group().hurryApply();
  await machine.pass(1000);
}

function acknowledge(machine: SimulatedMachine, systemId: number, received: number): void {
  followers(machine).acknowledge({ systemId, received, applied: 0, sent: received, copied: [] });
}

/** Numbers that stand in live segments, from the lowest on without a gap. */
function keptNumbers(setting: Setting): { readonly lowest: number; readonly isGapless: boolean } {
  const live = new Set([...setting.machine.group().chain.live()].map(({ file }) => file.path));
  const numbers = setting
    .journalNumbers()
    .filter(({ path }) => live.has(path))
    .map(({ number }) => number);
  const distinct = [...new Set(numbers)].sort((a, b) => a - b);
  const lowest = distinct[0] ?? 0;
  return { lowest, isGapless: distinct.every((number, at) => number === lowest + at) };
}

describe('a registered follower', () => {
  test('keeps what it does not have, and lets go of what it has', async () => {
    const setting = await serve('keeps', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    followers(machine).register(7, 'b', 1);
    followers(machine).register(8, 'c', 1);
    await setting.writeMuch(300, recordBytes);
    await setting.flush();
    await settle(machine);
    expect(machine.group().watermarks.released).toBe(1);
    expect(keptNumbers(setting)).toMatchObject({ isGapless: true });
    expect(keptNumbers(setting).lowest).toBeLessThanOrEqual(2);
    acknowledge(machine, 7, 250);
    expect(machine.group().watermarks.released).toBe(1);
    acknowledge(machine, 8, 200);
    expect(machine.group().watermarks.released).toBe(200);
    const { lowest, isGapless } = keptNumbers(setting);
    expect(isGapless).toBe(true);
    expect(lowest).toBeGreaterThan(1);
    expect(lowest).toBeLessThanOrEqual(201);
    expect(followers(machine).drop(8)).toBe(true);
    expect(followers(machine).drop(8)).toBe(false);
    expect(machine.group().watermarks.released).toBe(250);
  });

  test('holds by what it applied where the group says so', async () => {
    const setting = await serve('applied', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    const { changes, catalog } = machine.group();
    changes.replace({ ...catalog, release: 'applied' });
    followers(machine).register(7, 'b', 1);
    await setting.writeMuch(100, recordBytes);
    await setting.flush();
    await settle(machine);
    acknowledge(machine, 7, 90);
    expect(machine.group().watermarks.released).toBe(0);
    // It was away, and is back with what it had.
    followers(machine).register(7, 'b', 90);
    expect(machine.group().watermarks.released).toBe(0);
    const told = { systemId: 7, received: 90, sent: 90, copied: [] };
    followers(machine).acknowledge({ ...told, applied: 60 });
    expect(machine.group().watermarks.released).toBe(60);
    changes.replace({ ...machine.group().catalog, release: 'received' });
    followers(machine).releaseRuleChanged();
    expect(machine.group().watermarks.released).toBe(90);
  });

  test('is believed only where that can be true', async () => {
    const setting = await serve('lies', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    followers(machine).register(7, 'b', 1);
    await setting.writeMuch(20, recordBytes);
    await setting.flush();
    const { durable } = machine.group().watermarks;
    acknowledge(machine, 7, durable + 1000);
    expect(followers(machine).find(7)).toMatchObject({ received: durable, state: 'following' });
    acknowledge(machine, 7, 3);
    expect(followers(machine).find(7)).toMatchObject({ received: durable });
    acknowledge(machine, 9, 3);
    expect(followers(machine).find(9)).toBeUndefined();
  });

  test('that comes back again and again costs no writing, and stays suspended', async () => {
    const setting = await serve('back', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    followers(machine).register(7, 'b', 0);
    await setting.writeMuch(50, recordBytes);
    await setting.flush();
    acknowledge(machine, 7, 30);
    const rule = { kind: 'write_error', operation: 'write' } as const;
    machine.machine.faults.add({ ...rule, path: '/data/groups/g/followers' });
    expect(followers(machine).register(7, 'b', 40).state).toBe('following');
    await settle(machine);
    expect(machine.group().watermarks.released).toBe(40);
    // What the file says of it is still true, which it would not be of a lower position.
    expect(() => followers(machine).register(7, 'b', 40)).not.toThrow();
    machine.machine.faults.clear();
    followers(machine).suspend(7);
    expect(followers(machine).register(7, 'b', 45).state).toBe('suspended');
    await machine.stop();
    await machine.start();
    expect(followers(machine).find(7)).toMatchObject({ state: 'suspended', received: 45 });
  });

  test('cannot begin at what is released', async () => {
    const setting = await serve('released', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    await setting.writeMuch(100, recordBytes);
    await setting.flush();
    await settle(machine);
    const { released } = machine.group().watermarks;
    expect(released).toBe(machine.group().watermarks.newest);
    expect(() => followers(machine).register(7, 'b', released - 1)).toThrow(
      expect.objectContaining({ code: 'position_released' }) as Error,
    );
    followers(machine).register(7, 'b', released);
  });

  test('is not registered where that cannot be written, and stays where it cannot be dropped', async () => {
    const setting = await serve('unwritten', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    const path = '/data/groups/g/followers';
    const rule = { kind: 'write_error', operation: 'write', path } as const;
    const code = expect.objectContaining({ code: 'write_failed' }) as Error;
    machine.machine.faults.add(rule);
    expect(() => followers(machine).register(7, 'b', 1)).toThrow(code);
    expect(machine.group().retention.isHeld).toBe(false);
    machine.machine.faults.clear();
    followers(machine).register(7, 'b', 1);
    machine.machine.faults.add(rule);
    expect(() => followers(machine).drop(7)).toThrow(code);
    expect(machine.group().retention.isHeld).toBe(true);
    expect(followers(machine).find(7)).toBeDefined();
  });
});

describe('over a restart', () => {
  test('and over being registered again, a synchronous follower stays one', async () => {
    const setting = await serve('synchronous', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    followers(machine).register(7, 'b', 1);
    followers(machine).setSynchronous(7, true);
    followers(machine).register(7, 'c', 0);
    expect(followers(machine).find(7)).toMatchObject({ name: 'c', synchronous: true });
    await machine.stop();
    await machine.start();
    expect(followers(machine).find(7)?.synchronous).toBe(true);
    followers(machine).setSynchronous(7, false);
    expect(followers(machine).find(7)?.synchronous).toBe(false);
    expect(() => followers(machine).setSynchronous(8, true)).toThrow(/no system 8/);
  });

  for (const end of ['kill', 'losePower'] as const) {
    test(`everything from its position on is still there (${end})`, {
      timeout: 60_000,
    }, async () => {
      for (let seed = 0; seed < 5; seed += 1) {
        const journalCapacityBytes = 160 * MiB;
        const setting = await serve(`${end} ${seed}`, { sizeBytes: 4 * MiB, journalCapacityBytes });
        const { machine } = setting;
        followers(machine).register(7, 'b', 1);
        let said = 1;
        for (let life = 0; life < 4; life += 1) {
          await setting.writeMuch(machine.random.between(50, 250), recordBytes);
          await setting.flush();
          if (machine.random.chance(0.7)) await settle(machine);
          const { durable } = machine.group().watermarks;
          said = Math.max(said, durable - machine.random.int(150));
          acknowledge(machine, 7, said);
          // Freed segments are used again before any checkpoint or file knows of it.
          await setting.writeMuch(machine.random.between(50, 250), recordBytes);
          await setting.flush();
          if (machine.random.chance(0.5)) await machine.pass(31_000);
          const before = machine.group().watermarks;
          machine[end]();
          await machine.start();
          setting.reopen();
          const { released, durable: found } = machine.group().watermarks;
          expect(found).toBeGreaterThanOrEqual(before.durable);
          expect(followers(machine).find(7)?.state).not.toBe('behind');
          expect(released).toBeLessThanOrEqual(said);
          const kept = keptNumbers(setting);
          expect(kept.isGapless).toBe(true);
          expect(kept.lowest).toBeLessThanOrEqual(released + 1);
          const cursor = followers(machine).find(7);
          expect(cursor?.received).toBeLessThanOrEqual(said);
          setting.history.forgetAfter(found);
        }
        await setting.check(said);
      }
    });
  }

  test('positions that moved are written in time, and when the group closes', async () => {
    const setting = await serve('positions', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    followers(machine).register(7, 'b', 1);
    await setting.writeMuch(50, recordBytes);
    await setting.flush();
    acknowledge(machine, 7, 20);
    await machine.pass(31_000);
    acknowledge(machine, 7, 30);
    machine.kill();
    await machine.start();
    expect(followers(machine).find(7)).toMatchObject({
      received: 20,
      state: 'following',
      name: 'b',
    });
    acknowledge(machine, 7, 40);
    await machine.stop();
    await machine.start();
    expect(followers(machine).find(7)).toMatchObject({ received: 40 });
    followers(machine).suspend(7);
    machine.kill();
    await machine.start();
    expect(followers(machine).find(7)?.state).toBe('suspended');
    followers(machine).resume(7);
    expect(followers(machine).find(7)?.state).toBe('registered');
    followers(machine).drop(7);
    machine.losePower();
    await machine.start();
    expect(followers(machine).list()).toEqual([]);
    expect(machine.group().retention.isHeld).toBe(false);
  });

  test('a damaged file is told of: what it held may not be released', async () => {
    const setting = await serve('damaged', { sizeBytes: 4 * MiB });
    const { machine } = setting;
    followers(machine).register(7, 'b', 1);
    machine.kill();
    const disk = machine.machine.attach();
    const path = '/data/groups/g/followers';
    const text = Buffer.from(disk.readFileSync(path, 'catalog') ?? []).toString();
    disk.replaceFileSync(path, Buffer.from(text.replace('"b"', '"d"')), 'catalog');
    await expect(machine.start()).rejects.toMatchObject({ code: 'catalog_damaged' });
    disk.removeFileSync(path);
    await machine.start();
    expect(followers(machine).list()).toEqual([]);
  });
});

describe('a journal that a follower holds full', () => {
  async function fill(onFull: 'suspend' | 'throttle' | 'fail'): Promise<Setting> {
    const setting = await serve(onFull, { sizeBytes: 4 * MiB, onFull });
    const { machine } = setting;
    followers(machine).register(7, 'b', 1);
    followers(machine).register(8, 'c', 1);
    await setting.writeMuch(450, recordBytes);
    await setting.flush();
    await settle(machine);
    acknowledge(machine, 8, 400);
    return setting;
  }

  test('goes on without the one that holds most (suspend)', async () => {
    const setting = await fill('suspend');
    const { machine } = setting;
    await setting.writeMuch(200, recordBytes);
    expect(followers(machine).find(7)?.state).toBe('behind');
    expect(followers(machine).find(8)?.state).toBe('following');
    expect(machine.group().conditions.has('g b', 'follower_behind')).toBe(true);
    // What changed since is noted for whole segments.
    const { released } = machine.group().watermarks;
    expect(released).toBeGreaterThan(200);
    expect(released).toBeLessThanOrEqual(400);
    expect(followers(machine).maps.find(7)).toMatchObject({ from: 1 });
    await setting.flush();
    machine.kill();
    await machine.start();
    expect(followers(machine).find(7)?.state).toBe('behind');
    expect(machine.group().conditions.has('g b', 'follower_behind')).toBe(true);
    followers(machine).register(7, 'b', machine.group().watermarks.durable);
    expect(machine.group().conditions.has('g b', 'follower_behind')).toBe(false);
  });

  test('refuses hosts (fail)', async () => {
    const setting = await fill('fail');
    const { host } = setting;
    for (const bytes of [recordBytes, 4096, 512]) {
      let result = 1;
      for (let i = 0; i < 400 && result > 0; i += 1) {
        result = await host.write(0, new Uint8Array(bytes));
      }
      expect(result).toBe(-28);
    }
    const { machine } = setting;
    const volume = must(machine.group().volumes.get('v'), 'the volume is there');
    // A command does not wait for a follower that may be away for days.
    const grow = async (): Promise<void> => {
      for (let size = 5; size < 50; size += 1) {
        await machine.run(resizeVolume(machine.group(), volume, size * MiB));
      }
    };
    await expect(grow()).rejects.toMatchObject({ code: 'journal_full' });
    expect(followers(setting.machine).find(7)?.state).toBe('registered');
    acknowledge(setting.machine, 7, 400);
    await setting.machine.pass(2000);
    expect(await host.write(0, new Uint8Array(recordBytes))).toBeGreaterThan(0);
  });

  test('lets hosts wait (throttle)', async () => {
    const setting = await fill('throttle');
    const { machine } = setting;
    let isDone = false;
    const written = setting.writeMuch(400, recordBytes).then(() => {
      isDone = true;
    });
    await machine.pass(20_000);
    expect(isDone).toBe(false);
    for (let second = 0; second < 100 && !isDone; second += 1) {
      acknowledge(machine, 7, machine.group().watermarks.durable);
      acknowledge(machine, 8, machine.group().watermarks.durable);
      await machine.pass(1000);
    }
    await written;
    expect(followers(machine).find(7)?.state).toBe('following');
  });
});

describe('a journal that a follower holds full, at the start', () => {
  async function full(onFull: 'suspend' | 'throttle'): Promise<Setting> {
    const setting = await serve(`start ${onFull}`, { sizeBytes: 4 * MiB, onFull });
    const { machine } = setting;
    followers(machine).register(7, 'b', 1);
    for (let life = 0; life < 12 && machine.group().state === 'normal'; life += 1) {
      setting.reopen();
      await setting.writeMuch(3);
      await setting.flush();
      await settle(machine);
      machine.kill();
      await machine.start();
    }
    return setting;
  }

  test('is begun without the follower (suspend)', async () => {
    const { machine } = await full('suspend');
    expect(machine.group().state).toBe('normal');
    expect(followers(machine).find(7)?.state).toBe('behind');
  });

  test('is served once the follower has what it holds (throttle)', async () => {
    const setting = await full('throttle');
    const { machine } = setting;
    expect(machine.group().state).toBe('abnormal');
    expect(machine.group().isReadable).toBe(true);
    await machine.pass(20_000);
    expect(machine.group().state).toBe('abnormal');
    acknowledge(machine, 7, machine.group().watermarks.durable);
    await machine.until(() => machine.group().state === 'normal', 5000);
    setting.reopen();
    await setting.check(machine.group().watermarks.durable);
  });
});

describe('a group whose volumes store nothing', () => {
  test('keeps what its followers do not have, and everything from where the last one was (SAFETY 7)', async () => {
    const setting = await serve('journal-only', { sizeBytes: 4 * MiB, journalOnly: true });
    const { machine } = setting;
    await setting.writeMuch(50, recordBytes);
    await setting.flush();
    await settle(machine);
    expect(machine.group().watermarks.released).toBe(0);
    followers(machine).register(7, 'b', 1);
    acknowledge(machine, 7, 30);
    expect(machine.group().watermarks.released).toBe(30);
    followers(machine).drop(7);
    await setting.writeMuch(50, recordBytes);
    await setting.flush();
    await settle(machine);
    expect(machine.group().watermarks.released).toBe(30);
    machine.kill();
    await machine.start();
    expect(machine.group().watermarks.released).toBeLessThanOrEqual(30);
  });
});
