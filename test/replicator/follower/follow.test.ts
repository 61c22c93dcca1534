import { describe, expect, test } from 'vitest';
import { MiB } from '../../../src/platform/limits.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { contents } from '../contents.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

const sizeBytes = 8 * MiB;

async function primaryWithVolume(fleet: Fleet): Promise<FleetSystem> {
  const primary = await fleet.startPrimary(sizeBytes);
  return primary;
}

async function writeAll(host: TestHost, fleet: Fleet, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    const length = 512 * (1 + Math.floor(fleet.random.fraction() * 40));
    const offset = 512 * Math.floor(fleet.random.fraction() * ((sizeBytes - length) / 512));
    const kind = fleet.random.fraction();
    if (kind < 0.1) await host.clear(kind < 0.05 ? 'zero' : 'hole', offset, length);
    else await host.write(offset, Buffer.alloc(length, 1 + (fleet.random.next() % 255)));
  }
}

describe('a follower', () => {
  test('gets a volume that is empty, and what is written then', async () => {
    const fleet = new Fleet('follow empty');
    const primary = await primaryWithVolume(fleet);
    const secondary = await fleet.start('beta');
    await secondary.verb('follow', { group: 'g', from: primary.url });
    const history = new History();
    const host = new TestHost(primary, 'g/v', history);
    await writeAll(host, fleet, 200);
    await host.flush();
    await secondary.caughtUp(primary);
    const { newest } = primary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(secondary))).toBe(true);
    expect(secondary.status()).toMatchObject({ role: 'secondary', upstream: { state: 'reading' } });
    await primary.until(() => primary.status().secondaries[0]?.applied === newest);
    expect(primary.status().secondaries).toMatchObject([{ state: 'following', received: newest }]);
  });

  test('copies what was written before, while hosts go on', async () => {
    const fleet = new Fleet('follow copy');
    const primary = await primaryWithVolume(fleet);
    const history = new History();
    const host = new TestHost(primary, 'g/v', history);
    await writeAll(host, fleet, 3000);
    await host.flush();
    // Released: the journal alone would not do.
    primary.group().hurryApply();
    await primary.until(() => primary.group().watermarks.released > 0);
    const secondary = await fleet.start('beta');
    const following = secondary.verb('follow', { group: 'g', from: primary.url });
    await writeAll(host, fleet, 300);
    await following;
    await writeAll(host, fleet, 300);
    await host.flush();
    await secondary.caughtUp(primary);
    const { newest } = primary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(secondary))).toBe(true);
  });

  test('goes on after it was killed, and after its source was', async () => {
    const fleet = new Fleet('follow kills');
    const primary = await primaryWithVolume(fleet);
    const secondary = await fleet.start('beta');
    await secondary.verb('follow', { group: 'g', from: primary.url });
    const history = new History();
    for (let round = 0; round < 6; round += 1) {
      const host = new TestHost(primary, 'g/v', history);
      await writeAll(host, fleet, 100);
      if (round % 2 === 0) {
        secondary.kill();
        await writeAll(host, fleet, 100);
        await secondary.start();
      } else {
        primary.kill();
        await primary.start();
      }
    }
    await secondary.caughtUp(primary);
    const { newest } = primary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(secondary))).toBe(true);
    expect(secondary.group().catalog.lineage).toEqual(
      primary.group().catalog.lineage.filter(({ firstNumber }) => firstNumber <= newest),
    );
  });

  test('is promoted, and takes writes', async () => {
    const fleet = new Fleet('follow promote');
    const primary = await primaryWithVolume(fleet);
    const secondary = await fleet.start('beta');
    await secondary.verb('follow', { group: 'g', from: primary.url });
    const history = new History();
    const host = new TestHost(primary, 'g/v', history);
    await writeAll(host, fleet, 200);
    await host.flush();
    await secondary.caughtUp(primary);
    primary.kill();
    await expect(secondary.verb('volume create', { volume: 'g/w', size: MiB })).rejects.toThrow(
      'secondary',
    );
    await secondary.verb('promote', { group: 'g' });
    const heir = new TestHost(secondary, 'g/v', history);
    await writeAll(heir, fleet, 100);
    expect(await heir.flush()).toBe(true);
    const { newest } = secondary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(secondary))).toBe(true);
    expect(secondary.status()).toMatchObject({ role: 'primary', generation: 2, upstream: null });
  });

  test('is handed the group, and the old primary follows by itself', async () => {
    const fleet = new Fleet('follow handoff');
    const primary = await primaryWithVolume(fleet);
    const secondary = await fleet.start('beta');
    const third = await fleet.start('gamma');
    await secondary.verb('follow', { group: 'g', from: primary.url });
    await third.verb('follow', { group: 'g', from: primary.url });
    const history = new History();
    const host = new TestHost(primary, 'g/v', history);
    await writeAll(host, fleet, 200);
    await secondary.caughtUp(primary);
    await primary.until(() =>
      primary.status().secondaries.every(({ state }) => state === 'following'),
    );
    await expect(primary.verb('handoff', { group: 'g', to: 'delta' })).rejects.toThrow(
      'beta, gamma',
    );
    await primary.verb('handoff', { group: 'g', to: 'beta' });
    expect(host.revoked).toContain('handed over to system beta');
    expect(primary.status().role).toBe('secondary');
    await expect(primary.verb('promote', { group: 'g' })).rejects.toThrow(
      'handed over to system beta',
    );
    await secondary.until(() => secondary.status().role === 'primary');
    const heir = new TestHost(secondary, 'g/v', history);
    await writeAll(heir, fleet, 100);
    expect(await heir.flush()).toBe(true);
    const { newest } = secondary.group().watermarks;
    const expected = history.contents('g/v', sizeBytes, newest);
    for (const system of [primary, third]) {
      await system.caughtUp(secondary);
      expect(expected.equals(await contents(system))).toBe(true);
      expect(system.status()).toMatchObject({ role: 'secondary', generation: 2 });
    }
    expect(primary.status()).toMatchObject({ upstream: { name: 'beta', state: 'reading' } });
    expect(primary.status().secondaries).toMatchObject([{ name: 'gamma' }]);
    // And back.
    await secondary.until(() => secondary.status().secondaries[0]?.state === 'following');
    await secondary.verb('handoff', { group: 'g', to: 'alpha' });
    await primary.until(() => primary.status().role === 'primary');
    const home = new TestHost(primary, 'g/v', history);
    await writeAll(home, fleet, 50);
    await secondary.caughtUp(primary);
    const last = history.contents('g/v', sizeBytes, primary.group().watermarks.newest);
    expect(last.equals(await contents(secondary))).toBe(true);
    expect(secondary.status()).toMatchObject({ role: 'secondary', generation: 3 });
  });

  test('is handed the group though it is killed in the middle, or the giver is', async () => {
    for (const victim of ['giver', 'heir'] as const) {
      const fleet = new Fleet(`follow handoff ${victim}`);
      const primary = await primaryWithVolume(fleet);
      const secondary = await fleet.start('beta');
      await secondary.verb('follow', { group: 'g', from: primary.url });
      const history = new History();
      const host = new TestHost(primary, 'g/v', history);
      await writeAll(host, fleet, 100);
      await secondary.caughtUp(primary);
      await primary.until(() => primary.status().secondaries[0]?.state === 'following');
      fleet.links.cut('alpha', 'beta');
      const { newest } = primary.group().watermarks;
      await primary.verb('handoff', { group: 'g', to: 'beta' });
      expect(secondary.status().role).toBe('secondary');
      const system = victim === 'giver' ? primary : secondary;
      system.losePower();
      await system.start();
      expect(primary.status().role).toBe('secondary');
      fleet.links.mend('alpha', 'beta');
      await secondary.until(() => secondary.status().role === 'primary');
      await primary.until(() => primary.status().upstream?.state === 'reading');
      expect(secondary.group().watermarks.newest).toBe(newest + 1);
      const expected = history.contents('g/v', sizeBytes, newest);
      expect(expected.equals(await contents(secondary))).toBe(true);
    }
  });
});
