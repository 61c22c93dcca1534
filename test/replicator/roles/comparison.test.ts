import { describe, expect, test } from 'vitest';
import { must } from '../../../src/platform/assert.ts';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { contents } from '../contents.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

const sizeBytes = 8 * MiB;

/** Within the first half, but for what `spreads`. */
async function writeSome(system: FleetSystem, history: History, count: number, spreads = false) {
  const host = new TestHost(system, 'g/v', history);
  const { random } = system.fleet;
  const room = (spreads ? sizeBytes : sizeBytes / 2) - 16 * KiB;
  for (let i = 0; i < count; i += 1) {
    const offset = 512 * Math.floor(random.fraction() * (room / 512));
    await host.write(offset, Buffer.alloc(16 * KiB, 1 + (random.next() % 255)));
  }
  await host.flush();
  host.close();
}

function messages(system: FleetSystem, code: string): string[] {
  return system.daemon.events.filter((event) => event.code === code).map(({ message }) => message);
}

function writeImage(system: FleetSystem, path: string, image: Buffer): void {
  const file = system.disk.openSync(path, 'create', 'import');
  file.writeSync(image, 0, image.length, 0);
  file.dataSyncSync();
  file.closeSync();
}

/** The journal alone does not bring a follower any more. */
async function release(primary: FleetSystem, beyond = 0): Promise<void> {
  primary.group().hurryApply();
  await primary.until(() => primary.group().watermarks.released > beyond);
}

describe('a volume that begins with an image', () => {
  test('gets what differs, while hosts go on', async () => {
    const fleet = new Fleet('seed');
    const primary = await fleet.startPrimary(sizeBytes);
    const history = new History();
    await writeSome(primary, history, 400, true);
    const image = history.contents('g/v', sizeBytes, primary.group().watermarks.newest);
    await writeSome(primary, history, 10);
    await release(primary);
    const secondary = await fleet.start('beta');
    writeImage(secondary, '/image', image);
    const following = secondary.verb('follow', {
      group: 'g',
      from: primary.url,
      seed: ['v=/image'],
    });
    await writeSome(primary, history, 5);
    await following;
    await writeSome(primary, history, 5);
    await secondary.caughtUp(primary);
    const { newest } = primary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(secondary))).toBe(true);
    const [found = ''] = messages(secondary, 'comparison_done');
    const regions = Number(/in (\d+) regions/.exec(found)?.[1]);
    expect(regions).toBeGreaterThan(0);
    expect(regions).toBeLessThanOrEqual(20);
    expect(secondary.status()).toMatchObject({ upstream: { state: 'reading' }, conditions: [] });
  });

  test.each([0, 1, 2, 3, 4, 5])('is right though systems die on the way, seed %i', async (seed) => {
    const fleet = new Fleet(`seed deaths ${seed}`);
    const primary = await fleet.startPrimary(sizeBytes);
    const history = new History();
    await writeSome(primary, history, 300, true);
    const image = history.contents('g/v', sizeBytes, primary.group().watermarks.newest);
    await writeSome(primary, history, 100);
    await release(primary);
    const secondary = await fleet.start('beta');
    writeImage(secondary, '/image', image);
    await secondary.verb('follow', { group: 'g', from: primary.url, seed: ['v=/image'] });
    for (let round = 0; round < 3; round += 1) {
      await secondary.fleet.pass(fleet.random.fraction() * 100);
      const victim = fleet.random.fraction() < 0.6 ? secondary : primary;
      if (fleet.random.fraction() < 0.5) victim.kill();
      else victim.losePower();
      await victim.start();
      history.forgetAfter(primary.group().watermarks.newest);
      await writeSome(primary, history, 10);
    }
    await secondary.caughtUp(primary);
    const { newest } = primary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(secondary))).toBe(true);
  });

  test('is refused where it does not fit, and nothing stays of it', async () => {
    const fleet = new Fleet('seed refused');
    const primary = await fleet.startPrimary(sizeBytes);
    await writeSome(primary, new History(), 20);
    const secondary = await fleet.start('beta');
    writeImage(secondary, '/large', Buffer.alloc(sizeBytes + 512, 1));
    const follow = (seed: string): Promise<unknown> =>
      secondary.verb('follow', { group: 'g', from: primary.url, seed: [seed] });
    await expect(follow('v=/large')).rejects.toThrow('has 8');
    await expect(follow('w=/large')).rejects.toThrow('no such volume; there are: v');
    await expect(follow('v=/nowhere')).rejects.toThrow('cannot read /nowhere');
    expect(primary.status().secondaries).toEqual([]);
    expect(secondary.system.groups.size).toBe(0);
  });
});

describe('a comparison', () => {
  test('goes on with a source that copies slowly, or cannot be reached for a while', async () => {
    const fleet = new Fleet('compare slow');
    const primary = await fleet.startPrimary(sizeBytes);
    const history = new History();
    await writeSome(primary, history, 600, true);
    const image = history.contents('g/v', sizeBytes, primary.group().watermarks.newest);
    await writeSome(primary, history, 5);
    await release(primary);
    await primary.verb('group configure', { group: 'g', copyRate: 32 * KiB });
    const secondary = await fleet.start('beta');
    writeImage(secondary, '/image', image);
    await secondary.verb('follow', { group: 'g', from: primary.url, seed: ['v=/image'] });
    await secondary.fleet.pass(30_000);
    expect(secondary.status().upstream).toMatchObject({ state: 'comparing', failure: '' });
    fleet.links.cut('alpha', 'beta');
    await secondary.fleet.pass(3000);
    fleet.links.mend('alpha', 'beta');
    await secondary.until(() => messages(secondary, 'comparison_done').length > 0, 3_600_000);
    await primary.verb('group configure', { group: 'g', copyRate: 'unlimited' });
    await secondary.caughtUp(primary);
    const { newest } = primary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(secondary))).toBe(true);
  });

  test('is ended by a command: suspended, and resumed', async () => {
    const fleet = new Fleet('compare suspend');
    const primary = await fleet.startPrimary(sizeBytes);
    const history = new History();
    await writeSome(primary, history, 300, true);
    const image = history.contents('g/v', sizeBytes, primary.group().watermarks.newest);
    await release(primary);
    await primary.verb('group configure', { group: 'g', copyRate: 32 * KiB });
    const secondary = await fleet.start('beta');
    writeImage(secondary, '/image', image);
    await secondary.verb('follow', { group: 'g', from: primary.url, seed: ['v=/image'] });
    await expect(
      secondary.verb('follow', { group: 'g', from: primary.url, seed: ['v=/image'] }),
    ).rejects.toThrow('is here already');
    await secondary.fleet.pass(10_000);
    await secondary.verb('suspend', { group: 'g' });
    expect(secondary.status().upstream).toMatchObject({ state: 'suspended' });
    await primary.verb('group configure', { group: 'g', copyRate: 'unlimited' });
    await secondary.verb('resume', { group: 'g' });
    await secondary.caughtUp(primary);
    const { newest } = primary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(secondary))).toBe(true);
    expect(messages(secondary, 'comparison_done')).toEqual([]);
  });
});

describe('a follower that its source does not remember', () => {
  test('is compared with it, and gets what differs', async () => {
    const fleet = new Fleet('compare');
    const primary = await fleet.startPrimary(sizeBytes);
    const history = new History();
    await writeSome(primary, history, 200, true);
    const secondary = await fleet.start('beta');
    await secondary.verb('follow', { group: 'g', from: primary.url });
    await secondary.caughtUp(primary);
    secondary.kill();
    // Nothing is kept for it, not even what changed.
    primary
      .group()
      .followers.drop(must(primary.group().followers.list()[0], 'it follows').systemId);
    await writeSome(primary, history, 60);
    await primary.verb('volume create', { volume: 'g/w', size: MiB });
    await release(primary);
    await primary.until(
      () => primary.group().watermarks.released >= primary.group().watermarks.newest - 1,
    );
    await secondary.start();
    await secondary.caughtUp(primary);
    const { newest } = primary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(secondary))).toBe(true);
    expect(messages(secondary, 'comparison_begun')).toHaveLength(1);
    expect(messages(secondary, 'comparison_done')).toHaveLength(1);
    expect(secondary.status().volumes.map(({ name }) => name)).toEqual(['v', 'w']);
    await secondary.fleet.pass(2000);
    expect(secondary.status().conditions).toEqual([]);
    // And goes on as any other.
    await writeSome(primary, history, 20);
    await secondary.caughtUp(primary);
    const last = primary.group().watermarks.newest;
    expect(history.contents('g/v', sizeBytes, last).equals(await contents(secondary))).toBe(true);
  });

  /** Nothing is kept for it, not even what changed. */
  async function forgotten(seed: string) {
    const fleet = new Fleet(seed);
    const primary = await fleet.startPrimary(sizeBytes);
    const history = new History();
    await writeSome(primary, history, 150, true);
    const secondary = await fleet.start('beta');
    await secondary.verb('follow', { group: 'g', from: primary.url });
    await secondary.caughtUp(primary);
    const before = secondary.group().watermarks.newest;
    secondary.kill();
    await primary.verb('secondary remove', { group: 'g', secondary: 'beta' });
    await writeSome(primary, history, 80);
    await release(primary, before);
    return { fleet, primary, secondary, history, before };
  }

  test.each([0, 1, 2, 3, 4, 5, 6, 7])(
    'is right though systems die on the way, seed %i',
    async (seed) => {
      const { fleet, primary, secondary, history } = await forgotten(`forgotten deaths ${seed}`);
      await secondary.start();
      for (let round = 0; round < 4; round += 1) {
        await secondary.fleet.pass(fleet.random.fraction() * 200);
        const victim = fleet.random.fraction() < 0.6 ? secondary : primary;
        if (fleet.random.fraction() < 0.5) victim.kill();
        else victim.losePower();
        await victim.start();
        history.forgetAfter(primary.group().watermarks.newest);
        await writeSome(primary, history, 10);
      }
      await secondary.caughtUp(primary);
      const { newest } = primary.group().watermarks;
      const expected = history.contents('g/v', sizeBytes, newest);
      expect(expected.equals(await contents(secondary))).toBe(true);
    },
  );

  test('is what it was before when it is promoted while it is compared, or brought up to date', async () => {
    for (const state of ['comparing', 'resyncing']) {
      const { primary, secondary, history, before } = await forgotten(`forgotten ${state}`);
      await primary.verb('group configure', { group: 'g', copyRate: 32 * KiB });
      await secondary.start();
      // It is not there while its journal begins anew.
      await secondary.until(() => {
        const isHere = secondary.system.groups.has('g');
        return isHere && secondary.status().upstream?.state === state;
      }, 3_600_000);
      await secondary.fleet.pass(2000);
      expect(secondary.status().upstream).toMatchObject({ state });
      await secondary.verb('promote', { group: 'g', force: true });
      expect(secondary.group().watermarks.newest).toBe(before);
      const expected = history.contents('g/v', sizeBytes, before);
      expect(expected.equals(await contents(secondary))).toBe(true);
    }
  });

  test('is not compared with a journal alone, nor with what is incomplete itself', async () => {
    const { fleet, primary, secondary, history } = await forgotten('forgotten journal');
    const relay = await fleet.start('gamma');
    await relay.verb('follow', { group: 'g', from: primary.url, journalOnly: true });
    await relay.caughtUp(primary);
    await secondary.start();
    await secondary.verb('suspend', { group: 'g' });
    await expect(secondary.verb('follow', { group: 'g', from: relay.url })).rejects.toMatchObject({
      code: 'position_released',
    });
    await secondary.fleet.pass(60_000);
    expect(messages(secondary, 'comparison_done')).toEqual([]);
    await secondary.verb('resume', { group: 'g' });
    await secondary.caughtUp(primary);
    const { newest } = primary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(secondary))).toBe(true);
  });

  test('keeps what its source deleted before, for as long as it is to', async () => {
    const fleet = new Fleet('forgotten deletion');
    const primary = await fleet.startPrimary(sizeBytes);
    const history = new History();
    await primary.verb('volume create', { volume: 'g/w', size: MiB });
    const secondary = await fleet.start('beta');
    await secondary.verb('follow', { group: 'g', from: primary.url });
    await secondary.caughtUp(primary);
    await primary.verb('volume delete', { volume: 'g/w', force: true });
    await secondary.caughtUp(primary);
    const [kept] = secondary.status().deletedVolumes;
    const path = must(kept?.backingFile, 'it is kept');
    const before = secondary.group().watermarks.newest;
    secondary.kill();
    await primary.verb('secondary remove', { group: 'g', secondary: 'beta' });
    await writeSome(primary, history, 60);
    await release(primary, before);
    await secondary.start();
    await secondary.caughtUp(primary);
    expect(messages(secondary, 'comparison_done')).toHaveLength(1);
    expect(secondary.status().deletedVolumes).toMatchObject([{ name: 'w', backingFile: path }]);
    secondary.losePower();
    await secondary.start();
    expect(secondary.disk.existsSync(path)).toBe(true);
    await secondary.fleet.pass(10 * 60_000);
    expect(secondary.disk.existsSync(path)).toBe(false);
    expect(secondary.status().deletedVolumes).toEqual([]);
    const { newest } = primary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(secondary))).toBe(true);
  });
});
