import { describe, expect, test } from 'vitest';
import type { Result } from '../../../src/control/schema.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { TestHost } from '../../journal/test-host.ts';
import type { ResyncState } from '../../../src/group/catalog/follow-file.ts';
import { contents } from '../contents.ts';
import type { FleetSystem } from '../fleet.ts';
import { changedBytes, isConsistent, ResyncSetting, sizeBytes } from './resync-setting.ts';

function newestOf(system: FleetSystem): number {
  return system.group().watermarks.newest;
}

/** What a resync has still to bring. */
function missingBytes(system: FleetSystem): number {
  const own = system.status().pairs.filter(({ secondary }) => secondary === system.host);
  const pair = own.find(({ volume }) => volume === 'v');
  return sizeBytes - (pair?.copyCompletionBytes ?? sizeBytes);
}

function resyncOf(system: FleetSystem): ResyncState | undefined {
  return system.system.groups.get('g')?.follow.state?.resync;
}

/** The link is mended; half of what the resync brings is there. */
async function halfWay({ secondary, fleet }: ResyncSetting, isIt = () => true): Promise<void> {
  fleet.links.mend('alpha', 'beta');
  const isThere = (): boolean => resyncOf(secondary) !== undefined && isIt();
  await secondary.until(() => isThere() && missingBytes(secondary) > 0);
  const all = missingBytes(secondary);
  await secondary.until(() => missingBytes(secondary) < all / 2);
}

describe('a follower that is left behind', () => {
  test('comes back by what changed, and nothing else', async () => {
    const setting = await ResyncSetting.begin('resync difference');
    const { primary, secondary, fleet } = setting;
    fleet.links.cut('alpha', 'beta');
    await setting.leaveBehind();
    const { newest } = secondary.group().watermarks;
    fleet.links.mend('alpha', 'beta');
    await secondary.until(
      () => secondary.system.groups.get('g')?.follow.state?.resync !== undefined,
    );
    await secondary.until(() => secondary.status().upstream !== null);
    expect(missingBytes(secondary)).toBeGreaterThan(0);
    expect(missingBytes(secondary)).toBeLessThanOrEqual(changedBytes);
    await secondary.until(() => secondary.status().upstream?.state === 'resyncing');
    expect(secondary.group().watermarks.released).toBeGreaterThan(newest);
    await expect(contents(secondary)).rejects.toThrow('export g/v is there');
    await setting.write(50, 0, sizeBytes);
    await setting.resynced(secondary);
    expect(setting.expected(newestOf(secondary)).equals(await contents(secondary))).toBe(true);
    expect(missingBytes(secondary)).toBe(0);
    expect(secondary.status().upstream?.state).toBe('reading');
    const files = secondary.system.filesOf(secondary.group());
    await secondary.until(() => !secondary.disk.existsSync(files.preserved));
    expect(secondary.disk.existsSync(files.resyncRegions)).toBe(false);
    await primary.until(() => primary.status().secondaries[0]?.state === 'following');
    expect(primary.status().conditions).toEqual([]);
    expect(secondary.status().conditions).toEqual([]);
  });

  test('is what it was before when it is promoted in the middle', async () => {
    for (const dies of [false, true]) {
      const setting = await ResyncSetting.begin(`resync promote ${dies}`);
      const { primary, secondary, fleet } = setting;
      fleet.links.cut('alpha', 'beta');
      const writtenAt = secondary.group().clock.wallMilliseconds();
      await setting.leaveBehind();
      const { newest } = secondary.group().watermarks;
      const before = setting.expected(newest);
      // Slowly, so that a part of it is there.
      await primary.verb('group configure', { group: 'g', copyRate: 256 * KiB });
      fleet.links.mend('alpha', 'beta');
      const missing = (): number => missingBytes(secondary);
      await secondary.until(() => secondary.system.groups.has('g') && missing() > 0);
      const all = missing();
      await secondary.until(() => missing() < all / 2);
      await setting.write(20, 0, sizeBytes);
      if (dies) {
        secondary.losePower();
        await secondary.start();
      }
      const dry = await secondary.verb('promote', { group: 'g', dryRun: true });
      expect(dry).toMatchObject({ result: 'would_be_done', position: newest, rollsBack: true });
      const { lost } = dry as Result<'promote'>;
      const age = (secondary.group().clock.wallMilliseconds() - writtenAt) / 1000;
      expect(lost.updates).toBeGreaterThan(500);
      expect(lost.seconds).toBeGreaterThan(age);
      expect(lost.seconds).toBeLessThan(age + 60);
      await secondary.verb('promote', { group: 'g' });
      expect(secondary.group().watermarks.newest).toBe(newest);
      expect(secondary.status()).toMatchObject({ role: 'primary', generation: 2, upstream: null });
      expect(before.equals(await contents(secondary))).toBe(true);
      const files = secondary.system.filesOf(secondary.group());
      expect(secondary.disk.existsSync(files.preserved)).toBe(false);
      const host = new TestHost(secondary, 'g/v', setting.history);
      setting.history.forgetAfter(newest);
      expect(await host.write(0, Buffer.alloc(4096, 7))).toBe(newest + 1);
      expect(await host.flush()).toBe(true);
      expect(setting.expected(newestOf(secondary)).equals(await contents(secondary))).toBe(true);
    }
  });

  test('learns of volumes that came, grew and went meanwhile', async () => {
    const setting = await ResyncSetting.begin('resync volumes');
    const { primary, secondary, fleet } = setting;
    await primary.verb('volume create', { volume: 'g/gone', size: MiB });
    await primary.verb('volume create', { volume: 'g/grown', size: MiB });
    await secondary.caughtUp(primary);
    fleet.links.cut('alpha', 'beta');
    await setting.write(1, 0, sizeBytes);
    await primary.verb('volume delete', { volume: 'g/gone', force: true });
    await primary.verb('volume resize', { volume: 'g/grown', size: 2 * MiB });
    await primary.verb('volume create', { volume: 'g/new', size: MiB });
    for (const name of ['g/grown', 'g/new']) {
      const host = new TestHost(primary, name);
      const at = name === 'g/new' ? 0 : MiB;
      await host.write(at + 4096, Buffer.alloc(64 * KiB, 3));
      await host.flush();
      host.close();
    }
    await setting.leaveBehind();
    fleet.links.mend('alpha', 'beta');
    await secondary.until(
      () => secondary.system.groups.get('g')?.follow.state?.resync !== undefined,
    );
    const gone = secondary.system.filesOf(secondary.group()).volume(2);
    await setting.resynced(secondary);
    expect(setting.expected(newestOf(secondary)).equals(await contents(secondary))).toBe(true);
    for (const name of ['g/grown', 'g/new']) {
      const same = (await contents(primary, name)).equals(await contents(secondary, name));
      expect({ name, same }).toEqual({ name, same: true });
    }
    expect([...secondary.group().volumes.keys()].sort()).toEqual(['grown', 'new', 'v']);
    // As long as what a record deletes.
    expect(secondary.disk.existsSync(gone)).toBe(true);
    await secondary.until(() => !secondary.disk.existsSync(gone), 11 * 60_000);
    expect(secondary.group().deleted.list()).toEqual([]);
  });
});

describe('a resync', () => {
  test('goes on when its follower is left behind again, and is taken back to where the first began', async () => {
    for (const isPromoted of [false, true]) {
      const setting = await ResyncSetting.begin(`resync again ${isPromoted}`);
      const { primary, secondary, fleet } = setting;
      fleet.links.cut('alpha', 'beta');
      await setting.leaveBehind(1 * MiB);
      const { newest } = secondary.group().watermarks;
      const before = setting.expected(newest);
      await primary.verb('group configure', { group: 'g', copyRate: 256 * KiB });
      await halfWay(setting);
      const { through = 0 } = resyncOf(secondary) ?? {};
      fleet.links.cut('alpha', 'beta');
      await setting.leaveBehind(5 * MiB);
      await halfWay(setting, () => (resyncOf(secondary)?.through ?? 0) > through);
      expect(resyncOf(secondary)?.consistentAt?.number).toBe(newest);
      if (isPromoted) await secondary.verb('promote', { group: 'g' });
      else await primary.verb('group configure', { group: 'g', copyRate: 64 * MiB });
      if (!isPromoted) await setting.resynced(secondary);
      const expected = isPromoted ? before : setting.expected(newestOf(secondary));
      expect(expected.equals(await contents(secondary))).toBe(true);
    }
  });

  test('is over when what contents show has come as records too', async () => {
    for (let seed = 0; seed < 6; seed += 1) {
      const setting = await ResyncSetting.begin(`resync shows ${seed}`);
      const { primary, secondary, fleet, history } = setting;
      fleet.links.cut('alpha', 'beta');
      await setting.leaveBehind(2 * MiB);
      await primary.verb('group configure', { group: 'g', copyRate: 4 * MiB });
      const host = new TestHost(primary, 'g/v', history);
      fleet.links.mend('alpha', 'beta');
      await secondary.until(() => resyncOf(secondary) !== undefined);
      // Hosts write where contents come from, all the time.
      await secondary.until(() => {
        if (host.session.admit(8192)) {
          const at = 2 * MiB + 512 * fleet.random.int((changedBytes - 4096) / 512);
          host.writeNow(at, fleet.random.bytes(4096));
        }
        return isConsistent(secondary.group());
      });
      fleet.links.cut('alpha', 'beta');
      expect(setting.expected(newestOf(secondary)).equals(await contents(secondary))).toBe(true);
    }
  });

  test('brings what a copy that was left behind has not brought', async () => {
    const setting = await ResyncSetting.begin('resync copy');
    const { primary, fleet } = setting;
    primary.group().hurryApply();
    await primary.until(() => primary.group().watermarks.released > 0);
    await primary.verb('group configure', { group: 'g', copyRate: 512 * KiB });
    const third = await fleet.start('delta');
    await third.verb('follow', { group: 'g', from: primary.url });
    await third.until(() => (third.group().follow.state?.copies[0]?.address ?? 0) > MiB);
    fleet.links.cut('alpha', 'delta');
    await setting.leaveBehind(MiB / 2, 'delta');
    fleet.links.mend('alpha', 'delta');
    await third.until(() => resyncOf(third) !== undefined);
    expect(resyncOf(third)?.consistentAt).toBe(null);
    await third.until(() => third.status().upstream !== null && missingBytes(third) > 0);
    expect(missingBytes(third)).toBeLessThan(sizeBytes - MiB / 4);
    await expect(third.verb('promote', { group: 'g' })).rejects.toThrow('of no one instant');
    await expect(third.verb('unfollow', { group: 'g' })).rejects.toThrow('of no one instant');
    await primary.verb('group configure', { group: 'g', copyRate: 64 * MiB });
    await setting.resynced(third);
    expect(setting.expected(newestOf(third)).equals(await contents(third))).toBe(true);
  });

  test('waits where what it would overwrite cannot be saved, and goes on', async () => {
    const setting = await ResyncSetting.begin('resync full');
    const { secondary, fleet } = setting;
    fleet.links.cut('alpha', 'beta');
    await setting.leaveBehind();
    const files = secondary.system.filesOf(secondary.group());
    const path = `${files.preserved}/0001.blocks`;
    secondary.machine.faults.add({ kind: 'no_space', operation: 'write', path, nth: 3 });
    fleet.links.mend('alpha', 'beta');
    const codes = (): string[] => secondary.status().conditions.map(({ code }) => code);
    await secondary.until(
      () => secondary.system.groups.has('g') && codes().includes('resync_waits'),
    );
    await setting.resynced(secondary);
    expect(codes()).toEqual([]);
    expect(setting.expected(newestOf(secondary)).equals(await contents(secondary))).toBe(true);
  });
});

describe('a resync whose regions are lost', () => {
  test('brings all of the volumes', async () => {
    const setting = await ResyncSetting.begin('resync lost');
    const { primary, secondary, fleet } = setting;
    fleet.links.cut('alpha', 'beta');
    await setting.leaveBehind();
    await primary.verb('group configure', { group: 'g', copyRate: 256 * KiB });
    await halfWay(setting);
    const { resyncRegions } = secondary.system.filesOf(secondary.group());
    secondary.kill();
    secondary.machine.attach().replaceFileSync(resyncRegions, Buffer.alloc(100), 'catalog');
    await primary.verb('group configure', { group: 'g', copyRate: 64 * MiB });
    await secondary.start();
    expect(secondary.daemon.events.map(({ code }) => code)).toContain('resync_regions_lost');
    await setting.resynced(secondary);
    expect(setting.expected(newestOf(secondary)).equals(await contents(secondary))).toBe(true);
  });
});

describe('whoever follows a follower that is left behind', () => {
  test('comes back by the same difference', async () => {
    const setting = await ResyncSetting.begin('resync cascade', true);
    const { secondary, cascade, fleet } = setting;
    fleet.links.cut('alpha', 'beta');
    await setting.leaveBehind();
    const before = newestOf(cascade);
    fleet.links.mend('alpha', 'beta');
    await setting.resynced(secondary);
    await cascade.until(() => cascade.system.groups.get('g')?.follow.state?.resync !== undefined);
    await cascade.until(() => cascade.status().upstream !== null);
    expect(missingBytes(cascade)).toBeLessThanOrEqual(changedBytes);
    expect(newestOf(cascade)).toBeGreaterThan(before);
    await setting.write(20, 0, sizeBytes);
    await setting.resynced(cascade);
    expect(setting.expected(newestOf(cascade)).equals(await contents(cascade))).toBe(true);
    await secondary.until(() => secondary.status().secondaries[0]?.state === 'following');
  });

  test('is promoted as it was, and so is its source, which then has what it needs', async () => {
    const setting = await ResyncSetting.begin('resync cascade promote', true);
    const { primary, secondary, cascade, fleet, history } = setting;
    // Behind its source already when that is left behind.
    fleet.links.cut('beta', 'gamma');
    await setting.write(30, 4 * MiB, 5 * MiB);
    await secondary.caughtUp(primary);
    fleet.links.cut('alpha', 'beta');
    await setting.leaveBehind();
    await primary.verb('group configure', { group: 'g', copyRate: 256 * KiB });
    const { newest } = secondary.group().watermarks;
    fleet.links.mend('alpha', 'beta');
    const missing = (): number => missingBytes(secondary);
    await secondary.until(() => secondary.system.groups.has('g') && missing() > 0);
    const all = missing();
    await secondary.until(() => missing() < all / 2);
    primary.kill();
    await secondary.verb('promote', { group: 'g' });
    history.forgetAfter(newest);
    expect(setting.expected(newest).equals(await contents(secondary))).toBe(true);
    const host = new TestHost(secondary, 'g/v', history);
    await host.write(0, Buffer.alloc(8192, 9));
    expect(await host.flush()).toBe(true);
    fleet.links.mend('beta', 'gamma');
    await setting.resynced(cascade, secondary);
    expect(newestOf(cascade)).toBe(newest + 1);
    expect(setting.expected(newest + 1).equals(await contents(cascade))).toBe(true);
  });
});
