import { describe, expect, test } from 'vitest';
import { MiB } from '../../../src/platform/limits.ts';
import { Fleet, type FleetSystem } from '../fleet.ts';

async function pair(seed: string, pace?: string): Promise<[FleetSystem, FleetSystem]> {
  const fleet = new Fleet(seed);
  const [source, follower] = [await fleet.start('alpha'), await fleet.start('beta')];
  await source.verb('group create', { group: 'g', journalSize: 64 * MiB });
  await source.verb('volume create', { volume: 'g/v', size: MiB });
  await follower.verb('follow', { group: 'g', from: source.url, ...(pace ? { pace } : {}) });
  await follower.caughtUp(source);
  await follower.until(() => lagAt(source) === 0 && lagHere(follower) === 0);
  return [source, follower];
}

const lagAt = (source: FleetSystem): number =>
  source.status().secondaries[0]?.lag.received.seconds ?? Number.NaN;
const lagHere = (follower: FleetSystem): number =>
  follower.status().upstream?.lag.received.seconds ?? Number.NaN;

/** The highest lags on both sides within a time. */
async function highest(
  source: FleetSystem,
  follower: FleetSystem,
  milliseconds: number,
): Promise<[number, number]> {
  let highestLags: [number, number] = [0, 0];
  const { clock } = source.fleet;
  const end = clock.monotonicMilliseconds() + milliseconds;
  await source.until(() => {
    const [atSource, here] = highestLags;
    highestLags = [Math.max(atSource, lagAt(source)), Math.max(here, lagHere(follower))];
    return clock.monotonicMilliseconds() >= end;
  });
  return highestLags;
}

describe('lag in seconds', () => {
  test('is 0 on both sides of a link with nothing to carry', async () => {
    const [source, follower] = await pair('idle');
    expect(await highest(source, follower, 60_000)).toEqual([0, 0]);
  });

  test('is 0 for a follower that reads rarely, and grows when it does not read any more', async () => {
    const [source, follower] = await pair('rare', 'interval:20s');
    expect((await highest(source, follower, 90_000))[0]).toBe(0);
    source.fleet.links.cut('alpha', 'beta', 'silent');
    await source.until(() => lagAt(source) > 1, 30_000);
  });

  test('grows from when the last answer should have come over a link that says nothing', async () => {
    const [source, follower] = await pair('silent');
    const { clock, links } = source.fleet;
    links.cut('alpha', 'beta', 'silent');
    const cutAt = clock.monotonicMilliseconds();
    await source.until(() => lagAt(source) > 0 && lagHere(follower) > 0, 8000);
    await source.until(() => clock.monotonicMilliseconds() - cutAt >= 9000);
    // One poll, and what an answer may need on its way.
    for (const lag of [lagAt(source), lagHere(follower)]) {
      expect(lag).toBeGreaterThan(2);
      expect(lag).toBeLessThan(12);
    }
    let before = lagHere(follower);
    const end = clock.monotonicMilliseconds() + 60_000;
    await source.until(() => {
      const lag = lagHere(follower);
      expect(lag, 'it never goes back while the link is away').toBeGreaterThanOrEqual(before);
      before = lag;
      return clock.monotonicMilliseconds() >= end;
    });
    expect(lagAt(source)).toBeGreaterThan(60);
    links.mend('alpha', 'beta');
    await source.until(() => lagAt(source) === 0 && lagHere(follower) === 0, 30_000);
  });
});

test('who followed a primary of before, and is elsewhere now, is shown as away', async () => {
  const [first, second] = await pair('away');
  const third = await first.fleet.start('gamma');
  await third.verb('follow', { group: 'g', from: first.url });
  await third.caughtUp(first);
  first.kill();
  await second.verb('promote', { group: 'g' });
  await third.verb('follow', { group: 'g', from: second.url });
  await first.start();
  await first.until(() => first.status().role === 'diverged');
  await first.verb('follow', { group: 'g', from: second.url });
  await first.caughtUp(second);
  await first.until(() => first.status().secondaries[0]?.state === 'away', 60_000);
  const [gamma, ...more] = first.status().secondaries;
  expect(more).toEqual([]);
  expect(gamma).toMatchObject({ name: 'gamma', state: 'away' });
  const pairs = first.status().pairs.filter(({ secondary }) => secondary === 'gamma');
  expect(pairs).toMatchObject([{ state: 'suspended' }]);
  expect(second.status().secondaries.map(({ state }) => state)).toEqual(['following', 'following']);
});
