import { describe, expect, test } from 'vitest';
import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { FleetSystem } from '../fleet.ts';
import { HistoryTrial } from './history-trial.ts';

/** Alpha wrote what nobody has and was lost, beta took over: both wrote since. */
async function failedOver(seed: string, own = 60, since = 80) {
  const trial = await HistoryTrial.begin(seed);
  const { alpha, fleet } = trial;
  (await trial.write(alpha, 200)).close();
  const beta = await trial.follower('beta', alpha);
  fleet.links.cut('alpha', 'beta');
  (await trial.write(alpha, own)).close();
  alpha.kill();
  const fork = await trial.promote(beta, alpha);
  (await trial.write(beta, since)).close();
  fleet.links.mend('alpha', 'beta');
  await alpha.start();
  return { trial, alpha, beta, fork };
}

async function isSame(trial: HistoryTrial, system: FleetSystem, primary: FleetSystem) {
  await system.caughtUp(primary);
  await system.until(() => system.status().upstream?.state === 'reading');
  expect(trial.expected(primary).equals(await trial.contents(system))).toBe(true);
}

describe('follow --rewind', () => {
  test('brings an old primary back by the difference, and keeps what it had alone', async () => {
    const { trial, alpha, beta, fork } = await failedOver('rewind');
    const { newest } = alpha.group().watermarks;
    expect(newest).toBeGreaterThan(fork);
    await expect(alpha.verb('follow', { group: 'g', from: beta.url })).rejects.toThrow(
      `updates ${fork + 1} to ${newest} are on this system only: --rewind`,
    );
    expect(alpha.status().role).toBe('diverged');
    await alpha.verb('follow', { group: 'g', from: beta.url, rewind: true });
    await isSame(trial, alpha, beta);
    expect(alpha.status()).toMatchObject({
      role: 'secondary',
      generation: 2,
      takenOver: null,
      conditions: [],
      branches: [{ name: `1-${fork + 1}`, fork, newest }],
    });
    (await trial.write(beta, 50)).close();
    await isSame(trial, alpha, beta);
    // And home again.
    await beta.until(() => beta.status().secondaries[0]?.state === 'following');
    await beta.verb('handoff', { group: 'g', to: 'alpha' });
    await alpha.until(() => alpha.status().role === 'primary');
    expect(alpha.status().generation).toBe(3);
  });

  test('brings a follower back that was ahead of the one that took over', async () => {
    const trial = await HistoryTrial.begin('rewind ahead');
    const { alpha, fleet } = trial;
    (await trial.write(alpha, 100)).close();
    const beta = await trial.follower('beta', alpha);
    const gamma = await trial.follower('gamma', alpha);
    fleet.links.cut('alpha', 'beta');
    (await trial.write(alpha, 100)).close();
    await gamma.caughtUp(alpha);
    alpha.kill();
    await trial.promote(beta, alpha);
    (await trial.write(beta, 30)).close();
    await expect(gamma.verb('follow', { group: 'g', from: beta.url })).rejects.toMatchObject({
      code: 'diverged',
    });
    expect(gamma.status()).toMatchObject({ role: 'secondary', upstream: { url: alpha.url } });
    await gamma.verb('follow', { group: 'g', from: beta.url, rewind: true });
    await isSame(trial, gamma, beta);
    fleet.links.mend('alpha', 'beta');
    await alpha.start();
    await alpha.verb('follow', { group: 'g', from: gamma.url, rewind: true });
    await isSame(trial, alpha, beta);
  });

  test('is not taken for done where the source was asked a moment ago, and said no', async () => {
    const trial = await HistoryTrial.begin('rewind at once');
    const { alpha, fleet } = trial;
    (await trial.write(alpha, 100)).close();
    const beta = await trial.follower('beta', alpha);
    const gamma = await trial.follower('gamma', alpha);
    fleet.links.cut('alpha', 'gamma');
    (await trial.write(alpha, 100)).close();
    await beta.caughtUp(alpha);
    // The same system, under the same address, has what gamma had from now on.
    fleet.links.cut('alpha', 'beta');
    await gamma.verb('unfollow', { group: 'g' });
    await alpha.verb('group delete', { group: 'g', force: true });
    fleet.links.mend('alpha', 'gamma');
    await alpha.verb('follow', { group: 'g', from: gamma.url });
    await alpha.caughtUp(gamma);
    await trial.promote(alpha, alpha);
    (await trial.write(alpha, 30)).close();
    fleet.links.mend('alpha', 'beta');
    const wish = { group: 'g', from: alpha.url };
    await expect(beta.verb('follow', { ...wish, links: 4 })).rejects.toMatchObject({
      code: 'diverged',
    });
    await beta.verb('follow', { ...wish, rewind: true });
    await isSame(trial, beta, alpha);
  });

  test('goes on after a volume was made, grown and deleted on both sides of the fork', async () => {
    const trial = await HistoryTrial.begin('rewind volumes');
    const { alpha, fleet } = trial;
    await alpha.verb('volume create', { volume: 'g/w', size: MiB });
    (await trial.write(alpha, 50)).close();
    const beta = await trial.follower('beta', alpha);
    fleet.links.cut('alpha', 'beta');
    await alpha.verb('volume delete', { volume: 'g/w', force: true });
    await alpha.verb('volume create', { volume: 'g/x', size: 2 * MiB });
    (await trial.write(alpha, 50, 'g/x')).close();
    await alpha.verb('volume resize', { volume: 'g/v', size: 16 * MiB });
    alpha.kill();
    await trial.promote(beta, alpha);
    await beta.verb('volume create', { volume: 'g/y', size: MiB });
    (await trial.write(beta, 30, 'g/y')).close();
    (await trial.write(beta, 30)).close();
    (await trial.write(beta, 30, 'g/w')).close();
    fleet.links.mend('alpha', 'beta');
    await alpha.start();
    await alpha.verb('follow', { group: 'g', from: beta.url, rewind: true });
    await isSame(trial, alpha, beta);
    for (const name of ['g/w', 'g/y']) {
      const expected = trial.historyOf(beta).contents(name, MiB, beta.group().watermarks.newest);
      expect(expected.equals(await trial.contents(alpha, name))).toBe(true);
    }
    expect(alpha.status().volumes.map(({ name, sizeBytes }) => [name, sizeBytes])).toEqual(
      beta.status().volumes.map(({ name, sizeBytes }) => [name, sizeBytes]),
    );
  });

  test('takes up no handoff that stood behind the fork', async () => {
    const { trial, alpha, beta } = await failedOver('rewind handoff');
    const { newest } = beta.group().watermarks;
    await alpha.verb('follow', { group: 'g', from: beta.url, rewind: true });
    expect(alpha.group().follow.state?.handoffsAfter).toBe(newest);
    trial.fleet.links.cut('alpha', 'beta');
    // As the record left it that the journal has no more.
    const { changes, catalog } = alpha.group();
    const handedOver = { to: alpha.system.systemId, name: 'alpha' };
    changes.replace({ ...catalog, handedOver });
    alpha.kill();
    await alpha.start();
    await trial.pass(5000);
    expect(alpha.group().catalog.handedOver).toEqual(handedOver);
    expect(alpha.status().role).toBe('secondary');
  });

  test('stays diverged where there is no room for the branch', async () => {
    const { alpha, beta } = await failedOver('rewind room');
    await alpha.verb('group configure', { group: 'g', branchBudget: 4096 });
    await expect(
      alpha.verb('follow', { group: 'g', from: beta.url, rewind: true }),
    ).rejects.toMatchObject({ code: 'branch_no_room' });
    expect(alpha.status().role).toBe('diverged');
    await alpha.verb('group configure', { group: 'g', branchBudget: 64 * MiB });
    await alpha.verb('follow', { group: 'g', from: beta.url, rewind: true });
  });

  test.each(Array.from({ length: 30 }, (_, seed) => seed))(
    'ends the same through crashes at any time, seed %i',
    async (seed) => {
      const { trial, alpha, beta } = await failedOver(`rewind crash ${seed}`);
      const { random, links } = trial.fleet;
      links.breaksPerThousand = seed % 3 === 0 ? 5 : 0;
      for (let crash = 0; crash < 4; crash += 1) {
        if (alpha.status().role === 'diverged') {
          const rewinding = alpha.verb('follow', { group: 'g', from: beta.url, rewind: true });
          rewinding.catch(() => undefined);
        }
        await trial.pass(random.fraction() * (crash % 2 === 0 ? 60 : 600));
        if (random.fraction() < 0.5) alpha.losePower();
        else alpha.kill();
        if (random.fraction() < 0.3) {
          beta.kill();
          await beta.start();
          (await trial.write(beta, 5)).close();
        }
        await alpha.start();
      }
      links.breaksPerThousand = 0;
      if (alpha.status().role === 'diverged') {
        await alpha.verb('follow', { group: 'g', from: beta.url, rewind: true });
      }
      await isSame(trial, alpha, beta);
    },
  );

  test('compares where the own journal has released what was behind the fork', async () => {
    const trial = await HistoryTrial.begin('rewind compare');
    const { alpha, fleet } = trial;
    (await trial.write(alpha, 100)).close();
    const beta = await trial.follower('beta', alpha);
    fleet.links.cut('alpha', 'beta');
    const fork = await trial.promote(beta, alpha);
    (await trial.write(beta, 40)).close();
    // Nothing is held for a follower that was dropped.
    await alpha.verb('secondary remove', { group: 'g', secondary: 'beta' });
    (await trial.write(alpha, 60)).close();
    alpha.group().hurryApply();
    await alpha.until(() => alpha.group().watermarks.released > fork);
    const { released, newest } = alpha.group().watermarks;
    await alpha.verb('demote', { group: 'g' });
    fleet.links.mend('alpha', 'beta');
    const follow = (compare: boolean): Promise<unknown> =>
      alpha.verb('follow', { group: 'g', from: beta.url, rewind: true, compare });
    await expect(follow(false)).rejects.toThrow(
      /in no branch; type --rewind --compare .* up to 8MiB each \(about 1 seconds or less\), and 2KiB of hashes/,
    );
    await follow(true);
    await isSame(trial, alpha, beta);
    expect(alpha.status().role).toBe('secondary');
    expect(alpha.status().branches).toMatchObject(
      newest > released ? [{ first: released + 1, newest }] : [],
    );
    (await trial.write(beta, 20)).close();
    await isSame(trial, alpha, beta);
  });
});

describe('a promotion amid a rewind', () => {
  test('makes the group what it was before it, in a generation that is newer than both', async () => {
    const { trial, alpha, beta } = await failedOver('promoted rewinding');
    const { newest } = alpha.group().watermarks;
    await beta.verb('group configure', { group: 'g', copyRate: 32 * KiB });
    await alpha.verb('follow', { group: 'g', from: beta.url, rewind: true });
    await alpha.until(() => alpha.status().upstream?.state === 'resyncing');
    await trial.pass(2000);
    await expect(alpha.verb('promote', { group: 'g', at: String(newest) })).rejects.toThrow(
      'what it was before is had by: jnbd promote g',
    );
    expect(await alpha.verb('promote', { group: 'g', dryRun: true })).toMatchObject({
      position: newest,
      rollsBack: true,
      obstacle: null,
    });
    await alpha.verb('promote', { group: 'g' });
    expect(alpha.group().watermarks.newest).toBe(newest);
    expect(alpha.status()).toMatchObject({ role: 'primary', generation: 3, upstream: null });
    expect(trial.expected(alpha).equals(await trial.contents(alpha))).toBe(true);
    await beta.until(() => beta.status().role === 'diverged', 60_000);
  });

  // While it asks where they part, while it is admitted, and while hashes are on their way.
  test.each([1200, 2000, 2800])(
    'ends it before the journal begins anew, after %i ms',
    async (after) => {
      const trial = await HistoryTrial.begin(`promoted after ${after}`);
      const { alpha, fleet } = trial;
      (await trial.write(alpha, 100)).close();
      const beta = await trial.follower('beta', alpha);
      fleet.links.cut('alpha', 'beta');
      await trial.promote(beta, alpha);
      await alpha.verb('secondary remove', { group: 'g', secondary: 'beta' });
      (await trial.write(alpha, 60)).close();
      alpha.group().hurryApply();
      await alpha.until(() => alpha.group().watermarks.released > 100);
      const { newest } = alpha.group().watermarks;
      await alpha.verb('demote', { group: 'g' });
      fleet.links.mend('alpha', 'beta');
      fleet.links.delay('alpha', 'beta', 400);
      const wish = { group: 'g', from: beta.url, rewind: true, compare: true };
      const ended = alpha.verb('follow', wish).then(
        () => 'it followed',
        (error: Error) => error.message,
      );
      await trial.pass(after);
      await alpha.verb('promote', { group: 'g', force: true });
      expect(await ended).toMatch(/is not to be|no longer|any more/);
      expect(alpha.status()).toMatchObject({ role: 'primary', upstream: null });
      expect(alpha.group().watermarks.newest).toBe(newest);
      expect(trial.expected(alpha).equals(await trial.contents(alpha))).toBe(true);
    },
  );
});
