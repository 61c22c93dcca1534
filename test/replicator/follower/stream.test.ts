import { describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { TestHost } from '../../journal/test-host.ts';
import {
  compare,
  isStreaming,
  leftMilliseconds,
  pair,
  pass,
  timeoutMilliseconds,
  write,
} from './streamed-pair.ts';

describe('a stream', () => {
  test('brings what is written, and acknowledgements without delay', async () => {
    const all = await pair('stream brings');
    const { fleet, primary, secondary, host } = all;
    const before = fleet.clock.monotonicMilliseconds();
    for (let i = 0; i < 50; i += 1) {
      await write(all, 1, 4 * KiB);
      const { newest } = primary.group().watermarks;
      host.session.requestDurable(newest);
      await primary.until(() => primary.group().replies.gate.answerable === newest);
      expect(secondary.group().watermarks.durable).toBe(newest);
    }
    const passed = fleet.clock.monotonicMilliseconds() - before;
    // Two syncs, and pieces on the way of which each takes up to 2 ms; with a timer anywhere it is more.
    expect(passed / 50).toBeLessThan(20);
    await write(all, 300, 200 * KiB);
    await compare(all);
    expect(isStreaming(secondary)).toBe(true);
  });

  test('that breaks, stands still or arrives otherwise is followed by reads without a gap, and by another one', async () => {
    for (let seed = 0; seed < 6; seed += 1) {
      const all = await pair(`stream breaks ${seed}`);
      const { fleet, primary, secondary } = all;
      const { links } = fleet;
      const what = (['breaks', 'stalls', 'garbles'] as const)[seed % 3] ?? 'breaks';
      links.weather = { ...links.weather, [what]: 20 };
      for (let round = 0; round < 20; round += 1) {
        await write(all, 20);
        await pass(fleet, fleet.random.int(400));
      }
      links.weather = { ...links.weather, [what]: 0 };
      await compare(all);
      await secondary.until(() => isStreaming(secondary));
      await primary.until(() => {
        const { followers, watermarks } = primary.group();
        return followers.find(secondary.system.systemId)?.received === watermarks.newest;
      }, 1000);
    }
  });

  test('goes on over new volumes, larger ones and other settings', async () => {
    const all = await pair('stream changes');
    const { primary, secondary, fleet } = all;
    await primary.verb('volume create', { volume: 'g/w', size: MiB });
    await primary.verb('volume resize', { volume: 'g/w', size: 2 * MiB });
    await write(all, 20);
    const more = new TestHost(primary, 'g/w', all.history);
    await more.write(MiB + 4096, Buffer.alloc(4096, 9));
    more.close();
    await secondary.caughtUp(primary);
    expect(secondary.group().volumes.get('w')?.catalog.sizeBytes).toBe(2 * MiB);
    await primary.verb('volume delete', { volume: 'g/w', force: true });
    await write(all, 20);
    await pass(fleet, 2000);
    await compare(all);
    expect(isStreaming(secondary)).toBe(true);
  });

  test('ends where the follower is suspended or dropped, and comes back with it', async () => {
    const all = await pair('stream suspended');
    const { primary, secondary } = all;
    const { systemId } = secondary.system;
    primary.group().followers.suspend(systemId);
    await write(all, 5);
    await secondary.until(() => secondary.status().upstream?.state !== 'reading');
    primary.group().followers.resume(systemId);
    await secondary.until(() => isStreaming(secondary));
    await compare(all);
    await secondary.verb('suspend', { group: 'g' });
    expect(secondary.status().upstream?.state).toBe('suspended');
    await write(all, 5);
    await secondary.verb('resume', { group: 'g' });
    await secondary.until(() => isStreaming(secondary));
    await compare(all);
  });
});

describe('the lease of a follower', () => {
  test('stays while nothing is written', async () => {
    const { fleet, secondary } = await pair('lease idle');
    let shortest = Infinity;
    for (let round = 0; round < 300; round += 1) {
      await pass(fleet, 100);
      shortest = Math.min(shortest, leftMilliseconds(secondary));
    }
    expect(shortest).toBeGreaterThan(timeoutMilliseconds / 2);
  });

  test('has run out whenever the primary goes on without it', async () => {
    for (let seed = 0; seed < 8; seed += 1) {
      const all = await pair(`lease ${seed}`);
      const { fleet, primary, secondary } = all;
      const isGoingOn = (): boolean => primary.group().catalog.protection?.state !== 'protected';
      await write(all, fleet.random.int(20));
      await pass(fleet, fleet.random.int(3000));
      const how = seed % 2 === 0 ? 'silent' : 'broken';
      fleet.links.cut('alpha', 'beta', how);
      const cutAt = fleet.clock.monotonicMilliseconds();
      await write(all, 3);
      while (!isGoingOn()) {
        await pass(fleet, 1);
        expect(isGoingOn() && leftMilliseconds(secondary) > 0, `seed ${seed}`).toBe(false);
        expect(fleet.clock.monotonicMilliseconds() - cutAt).toBeLessThan(3 * timeoutMilliseconds);
      }
      fleet.links.mend('alpha', 'beta');
      await primary.until(() => !isGoingOn());
      await compare(all);
      await secondary.until(() => isStreaming(secondary));
    }
  });

  test('is not what an earlier life of the follower was told', async () => {
    const all = await pair('lease restart');
    const { secondary } = all;
    secondary.kill();
    const starting = secondary.begin();
    await secondary.run(starting.starting);
    expect(leftMilliseconds(secondary)).toBe(0);
    await write(all, 5);
    await secondary.until(() => isStreaming(secondary));
    await compare(all);
  });
});
