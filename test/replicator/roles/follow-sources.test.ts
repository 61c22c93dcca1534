import { describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import { History, TestHost } from '../../journal/test-host.ts';
import { contents } from '../contents.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

const sizeBytes = 2 * MiB;

async function writeSome(system: FleetSystem, history: History, count: number): Promise<void> {
  const host = new TestHost(system, 'g/v', history);
  const { random } = system.fleet;
  for (let i = 0; i < count; i += 1) {
    const offset = 512 * Math.floor(random.fraction() * ((sizeBytes - 8 * KiB) / 512));
    await host.write(offset, Buffer.alloc(8 * KiB, 1 + (random.next() % 255)));
  }
  await host.flush();
  host.close();
}

function codes(system: FleetSystem): string[] {
  return system.daemon.events.map(({ code }) => code);
}

describe('a source that is busy', () => {
  test('is left for another one, and read again when it is calm, without a gap or a copy', async () => {
    const fleet = new Fleet('relief');
    const primary = await fleet.startPrimary(sizeBytes);
    const history = new History();
    await writeSome(primary, history, 100);
    const second = await fleet.start('beta');
    const third = await fleet.start('gamma');
    await second.verb('follow', { group: 'g', from: primary.url });
    await third.verb('follow', { group: 'g', from: primary.url, relief: [second.url] });
    await third.caughtUp(primary);
    expect(third.status().upstream).toMatchObject({
      name: 'alpha',
      preferredUrl: primary.url,
      relief: [second.url],
      whenFull: 'keep',
    });

    primary.load = { processorShare: 0.97, eventLoopDelayMilliseconds: 5 };
    await third.until(() => third.status().upstream?.name === 'beta');
    await writeSome(primary, history, 200);
    await third.caughtUp(primary);
    expect(third.status().upstream).toMatchObject({ url: second.url, preferredUrl: primary.url });
    // The primary still keeps its place there, and knows how far it is.
    await third.fleet.pass(12_000);
    const { newest } = primary.group().watermarks;
    const known = primary.status().secondaries.find(({ name }) => name === 'gamma');
    expect(known?.received).toBe(newest);

    primary.load = { processorShare: 0.75, eventLoopDelayMilliseconds: 5 };
    await third.fleet.pass(120_000);
    expect(third.status().upstream?.name).toBe('beta');
    primary.load = { processorShare: 0.1, eventLoopDelayMilliseconds: 5 };
    await third.until(() => third.status().upstream?.name === 'alpha');
    await writeSome(primary, history, 100);
    await third.caughtUp(primary);
    const last = primary.group().watermarks.newest;
    expect(history.contents('g/v', sizeBytes, last).equals(await contents(third))).toBe(true);
    expect(codes(third).filter((code) => code === 'source_switched')).toHaveLength(2);
    expect(codes(third).filter((code) => code === 'copy_completed').length).toBeLessThan(2);
    expect(second.status().secondaries).toEqual([]);
    expect(third.status().conditions).toEqual([]);
  });

  test('is left when it cannot be reached, over a restart too', async () => {
    const fleet = new Fleet('relief away');
    const primary = await fleet.startPrimary(sizeBytes);
    const second = await fleet.start('beta');
    const third = await fleet.start('gamma');
    await second.verb('follow', { group: 'g', from: primary.url });
    await third.verb('follow', { group: 'g', from: primary.url, relief: [second.url] });
    await third.caughtUp(primary);
    fleet.links.cut('alpha', 'gamma');
    await third.until(() => third.status().upstream?.name === 'beta', 300_000);
    const history = new History();
    await writeSome(primary, history, 50);
    await third.until(() => third.group().watermarks.applied === primary.group().watermarks.newest);
    third.losePower();
    await third.start();
    fleet.links.mend('alpha', 'gamma');
    await third.until(() => third.status().upstream?.name === 'alpha', 300_000);
    const { newest } = primary.group().watermarks;
    await third.caughtUp(primary);
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(third))).toBe(true);
  });
});

describe('a source that is left by hand', () => {
  test('keeps nothing any more, nor does the one that was read for relief', async () => {
    const fleet = new Fleet('left');
    const primary = await fleet.startPrimary(sizeBytes);
    const second = await fleet.start('beta');
    const third = await fleet.start('gamma');
    await second.verb('follow', { group: 'g', from: primary.url });
    await third.verb('follow', { group: 'g', from: primary.url });
    await third.caughtUp(primary);
    await third.verb('follow', { group: 'g', from: second.url });
    await third.until(() => second.status().secondaries.some(({ name }) => name === 'gamma'));
    await third.until(() => primary.status().secondaries.every(({ name }) => name !== 'gamma'));
    await third.verb('follow', { group: 'g', from: primary.url, relief: [second.url] });
    primary.load = { processorShare: 1, eventLoopDelayMilliseconds: 5 };
    await third.until(() => third.status().upstream?.name === 'beta');
    await third.verb('unfollow', { group: 'g' });
    expect(primary.status().secondaries.map(({ name }) => name)).toEqual(['beta']);
    expect(second.status().secondaries).toEqual([]);
  });
});

describe('followers in a ring', () => {
  test('are refused where that is known, and found where it is not', async () => {
    const fleet = new Fleet('ring');
    const primary = await fleet.startPrimary(sizeBytes);
    const [b, c, d] = [
      await fleet.start('beta'),
      await fleet.start('gamma'),
      await fleet.start('delta'),
    ];
    await b.verb('follow', { group: 'g', from: primary.url });
    await c.verb('follow', { group: 'g', from: b.url });
    await d.verb('follow', { group: 'g', from: c.url });
    for (const system of [b, c, d]) await system.caughtUp(primary);
    await d.fleet.pass(2000);
    await expect(b.verb('follow', { group: 'g', from: d.url })).rejects.toThrow('in the ring');
    expect(b.status().upstream).toMatchObject({ name: 'alpha', state: 'reading' });
    expect(d.status().secondaries).toEqual([]);

    // Two of them turn at the same time, so that neither knows of the other yet.
    await d.verb('unfollow', { group: 'g' });
    fleet.links.cut('beta', 'gamma');
    await b.verb('follow', { group: 'g', from: d.url });
    await d.verb('follow', { group: 'g', from: c.url });
    fleet.links.mend('beta', 'gamma');
    await d.until(() =>
      [b, c, d].some((system) => system.status().upstream?.failure.includes('in the ring')),
    );
    const told = [b, c, d].filter((system) => system.status().conditions.length > 0);
    expect(told.flatMap((system) => system.status().conditions)).toEqual(
      expect.arrayContaining([expect.objectContaining({ code: 'follow_refused' })]),
    );
    // Out of it by a command.
    await b.verb('follow', { group: 'g', from: primary.url });
    const history = new History();
    await writeSome(primary, history, 20);
    for (const system of [b, c, d]) await system.caughtUp(primary);
    await d.fleet.pass(10_000);
    for (const system of [b, c, d]) expect(system.status().conditions).toEqual([]);
  });
});

describe('a follower is set up from its source', () => {
  test('and taken away again; both sides know', async () => {
    const fleet = new Fleet('secondary add');
    const primary = await fleet.startPrimary(sizeBytes);
    const history = new History();
    await writeSome(primary, history, 50);
    const second = await fleet.start('beta');
    const wish = { group: 'g', secondary: 'beta', url: second.url };
    expect(await primary.verb('secondary add', wish)).toMatchObject({ result: 'done' });
    await second.caughtUp(primary);
    const { newest } = primary.group().watermarks;
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(second))).toBe(true);
    expect(primary.status()).toMatchObject({
      secondaries: [{ name: 'beta' }],
      allowedSecondaries: ['beta'],
    });
    expect(second.status().upstream).toMatchObject({ name: 'alpha', url: primary.url });
    expect(await primary.verb('secondary add', wish)).toMatchObject({ result: 'already_done' });

    // It knows where its follower is after a restart too.
    primary.losePower();
    await primary.start();
    await second.until(() => second.status().upstream?.state === 'reading');
    expect(await primary.verb('secondary remove', { group: 'g', secondary: 'beta' })).toMatchObject(
      { result: 'done' },
    );
    expect(primary.status()).toMatchObject({ secondaries: [], allowedSecondaries: [] });
    expect(second.status()).toMatchObject({ role: 'secondary', upstream: null });
    expect(await primary.verb('secondary remove', { group: 'g', secondary: 'beta' })).toMatchObject(
      { result: 'already_done' },
    );
  });

  test('under another name, as a journal alone', async () => {
    const fleet = new Fleet('secondary add options');
    const primary = await fleet.startPrimary(sizeBytes);
    const second = await fleet.start('beta');
    await primary.verb('secondary add', {
      group: 'g',
      secondary: 'beta',
      url: second.url,
      groupName: 'h',
      journalOnly: true,
      journalSize: 128 * MiB,
    });
    const { newest } = primary.group().watermarks;
    await second.until(() => second.group('h').watermarks.newest === newest);
    expect(second.status('h')).toMatchObject({ journal: { capacityBytes: 128 * MiB } });
    expect(second.group('h').catalog.journalOnly).toBe(true);
  });

  test('not where another system is, nobody, or a group of its own; and nothing stays of that', async () => {
    const fleet = new Fleet('secondary add refused');
    const primary = await fleet.startPrimary(sizeBytes);
    const second = await fleet.start('beta');
    const add = (secondary: string, url: string): Promise<unknown> =>
      primary.verb('secondary add', { group: 'g', secondary, url });
    await expect(add('gamma', second.url)).rejects.toThrow('named beta, not gamma');
    await expect(add('alpha', primary.url)).rejects.toThrow('cannot follow itself');
    await second.verb('group create', { group: 'g', journalSize: 64 * MiB });
    await expect(add('beta', second.url)).rejects.toThrow('another group');
    expect(primary.status()).toMatchObject({ secondaries: [], allowedSecondaries: [] });
    await expect(add('delta', 'http://delta:10810')).rejects.toThrow('nobody answers');
  });

  test('and told nothing when it is away', async () => {
    const fleet = new Fleet('secondary remove away');
    const primary = await fleet.startPrimary(sizeBytes);
    const second = await fleet.start('beta');
    await primary.verb('secondary add', { group: 'g', secondary: 'beta', url: second.url });
    await second.caughtUp(primary);
    second.kill();
    await primary.verb('secondary remove', { group: 'g', secondary: 'beta' });
    expect(primary.status()).toMatchObject({ secondaries: [], allowedSecondaries: [] });
    expect(codes(primary)).toContain('secondary_untold');
  });
});

describe('a journal that is full', () => {
  test.each(['keep', 'drop'] as const)('at the follower: %s', async (whenFull) => {
    const fleet = new Fleet(`own journal ${whenFull}`);
    const primary = await fleet.startPrimary(sizeBytes, 256 * MiB);
    const second = await fleet.start('beta');
    await second.verb('follow', {
      group: 'g',
      from: primary.url,
      whenFull,
      journalSize: 64 * MiB,
      pace: 'immediate',
    });
    await second.caughtUp(primary);
    // What is received is kept for a follower of its own that is away.
    second.group().followers.register(77, 'away', second.group().watermarks.newest);
    await second.verb('group configure', { group: 'g', onFull: 'throttle' });
    const history = new History();
    const host = new TestHost(primary, 'g/v', history);
    for (let i = 0; i < 880; i += 1) await host.write(0, Buffer.alloc(128 * KiB, i + 1));
    await host.flush();
    await second.fleet.pass(10_000);
    const { newest } = primary.group().watermarks;
    expect(second.group().watermarks.newest).toBeLessThan(newest);
    const { upstream, conditions } = second.status();
    const dropped = conditions.filter(({ message }) => message.includes('was dropped'));
    expect(dropped.map(({ code }) => code)).toEqual(
      whenFull === 'drop' ? ['follow_interrupted'] : [],
    );
    expect(upstream?.state).toBe(whenFull === 'drop' ? 'waiting' : 'reading');
    const raised = codes(second).filter((code) => code === 'follow_interrupted');
    expect(raised).toHaveLength(dropped.length);
    second.group().followers.drop(77);
    await second.caughtUp(primary);
    expect(history.contents('g/v', sizeBytes, newest).equals(await contents(second))).toBe(true);
    expect(second.status().conditions).toEqual([]);
  });
});
