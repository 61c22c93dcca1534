import { describe, expect, test } from 'vitest';
import { must } from '../../../src/platform/assert.ts';
import { KiB } from '../../../src/platform/limits.ts';
import { TestHost } from '../../journal/test-host.ts';
import { compare, isStreaming, pair, type Pair, sizeBytes, write } from './streamed-pair.ts';

/** Writes until the secondary has more durably than the primary. */
async function runAhead(all: Pair): Promise<void> {
  const { primary, secondary } = all;
  const isAhead = (): boolean =>
    secondary.group().watermarks.durable > primary.group().watermarks.durable;
  for (let attempt = 0; attempt < 100 && !isAhead(); attempt += 1) {
    await write(all, 3, 4 * KiB);
    const { newest } = primary.group().watermarks;
    await primary.until(() => isAhead() || primary.group().watermarks.durable === newest);
  }
  expect(isAhead()).toBe(true);
}

describe('what comes ahead of the sync of its source', () => {
  test('is neither applied nor shown before the source has it, and then is', async () => {
    const all = await pair('ahead held');
    const { primary, secondary } = all;
    for (let round = 0; round < 10; round += 1) {
      await runAhead(all);
      const { newest } = secondary.group().watermarks;
      const [last] = all.history.between(newest - 1, newest);
      const reader = new TestHost(secondary, 'g/v');
      expect(reader.session.admitsRead(last?.offset ?? 0, 512)).toBe(false);
      await primary.until(() => {
        const { durable } = primary.group().watermarks;
        expect(secondary.group().watermarks.applied).toBeLessThanOrEqual(durable);
        return durable >= newest;
      });
      await secondary.until(() => reader.session.admitsRead(last?.offset ?? 0, 512));
      reader.close();
    }
    await compare(all);
    expect(isStreaming(secondary)).toBe(true);
  });

  test('is gone where the source lost it with the power, and kept as a branch', async () => {
    let lost = 0;
    for (let seed = 0; seed < 8; seed += 1) {
      const all = await pair(`ahead lost ${seed}`);
      const { primary, secondary } = all;
      await runAhead(all);
      const { newest } = secondary.group().watermarks;
      primary.losePower();
      if (seed % 2 === 0) {
        secondary.kill();
        await secondary.start();
      }
      expect(secondary.group().watermarks.newest).toBe(newest);
      await primary.start();
      const kept = primary.group().watermarks.newest;
      expect(secondary.group().watermarks.applied).toBeLessThanOrEqual(kept);
      all.history.forgetAfter(kept);
      const again: Pair = { ...all, host: new TestHost(primary, 'g/v', all.history) };
      if (kept < newest) lost += 1;
      const isHere = (): boolean => secondary.system.groups.has('g');
      await secondary.until(() => isHere() && isStreaming(secondary));
      await write(again, 20);
      await compare(again);
      expect(secondary.group().conditions.list()).toEqual([]);
      const codes = secondary.daemon.events.map(({ code }) => code);
      expect(codes.includes('rewound')).toBe(kept < newest);
    }
    expect(lost).toBeGreaterThan(2);
  });

  test('is applied where contents show it, though the source was lost before it said that it has it', async () => {
    const all = await pair('ahead shown');
    const { fleet, primary, secondary, history } = all;
    await runAhead(all);
    fleet.links.cut(primary.host, secondary.host);
    const { follow, replies, watermarks } = secondary.group();
    const { newest } = watermarks;
    await primary.until(() => primary.group().watermarks.durable >= newest);
    expect(replies.gate.confirmed).toBeLessThan(newest);
    // As a frame of contents that came then says.
    follow.write({ ...must(follow.state, 'it follows'), shows: newest });
    primary.kill();
    await secondary.verb('promote', { group: 'g', force: true });
    const reader = new TestHost(secondary, 'g/v');
    const read = await reader.read(0, sizeBytes);
    reader.close();
    expect(
      typeof read !== 'number' && history.contents('g/v', sizeBytes, newest).equals(read),
    ).toBe(true);
  });

  test('does not keep the follower from being promoted where it stands behind what contents show', async () => {
    for (const isRestarted of [false, true]) {
      const all = await pair(`ahead behind shown ${isRestarted}`);
      const { primary, secondary, history } = all;
      await secondary.caughtUp(primary);
      const { follow, driver, watermarks, replies } = secondary.group();
      // One table takes what contents show, and what comes ahead behind that.
      driver.hold(true);
      await write(all, 20);
      const shows = primary.group().watermarks.newest;
      await secondary.until(() => replies.gate.confirmed >= shows);
      follow.write({ ...must(follow.state, 'it follows'), shows });
      await runAhead(all);
      const { newest } = watermarks;
      expect(watermarks.applied).toBeLessThan(shows);
      expect(replies.applicable).toBeLessThan(newest);
      primary.kill();
      driver.hold(false);
      if (isRestarted) {
        secondary.kill();
        await secondary.start();
      }
      await secondary.verb('promote', { group: 'g', force: true });
      await secondary.until(() => secondary.group().watermarks.applied >= newest);
      const reader = new TestHost(secondary, 'g/v');
      const read = await reader.read(0, sizeBytes);
      reader.close();
      expect(
        typeof read !== 'number' && history.contents('g/v', sizeBytes, newest).equals(read),
      ).toBe(true);
    }
  });

  test('counts once the follower is promoted, after a restart too', async () => {
    for (const isRestarted of [false, true]) {
      const all = await pair(`ahead promoted ${isRestarted}`);
      const { primary, secondary, history } = all;
      await runAhead(all);
      primary.kill();
      if (isRestarted) {
        secondary.kill();
        await secondary.start();
      }
      const { newest } = secondary.group().watermarks;
      await secondary.verb('promote', { group: 'g' });
      await secondary.until(() => secondary.group().watermarks.applied >= newest);
      const reader = new TestHost(secondary, 'g/v');
      expect(reader.session.admitsRead(0, sizeBytes)).toBe(true);
      const read = await reader.read(0, sizeBytes);
      expect(
        typeof read !== 'number' && history.contents('g/v', sizeBytes, newest).equals(read),
      ).toBe(true);
    }
  });
});
