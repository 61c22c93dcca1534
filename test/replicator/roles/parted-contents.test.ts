import { expect, test } from 'vitest';
import { KiB } from '../../../src/platform/limits.ts';
import { TestHost } from '../../journal/test-host.ts';
import type { FleetSystem } from '../fleet.ts';
import { HistoryTrial, volumeBytes } from './history-trial.ts';

/**
 * Delta copies from alpha, and what has come shows more than beta and gamma have. Beta takes over then and goes on in
 * its own way. Records came to delta up to an update that the others have too.
 */
async function parted(seed: string) {
  const trial = await HistoryTrial.begin(seed);
  const { alpha, fleet } = trial;
  const { random } = fleet;
  const host = trial.host(alpha);
  const write = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i += 1) {
      const offset = 4 * KiB * Math.floor(random.fraction() * (volumeBytes / (4 * KiB) - 16));
      await host.write(offset, Buffer.alloc(64 * KiB, 1 + Math.floor(random.fraction() * 255)));
    }
    await host.flush();
  };
  while (alpha.group().watermarks.released === 0) {
    await write(200);
    alpha.group().hurryApply();
    await trial.pass(500);
  }
  const beta = await trial.follower('beta', alpha);
  const gamma = await trial.follower('gamma', alpha);
  const delta = await fleet.start('delta');
  await alpha.verb('group configure', { group: 'g', copyRate: '2MiB' });
  const pace = { pace: 'interval:50ms', batchSize: '256KiB' };
  await delta.verb('follow', { group: 'g', from: alpha.url, ...pace });
  await delta.verb('suspend', { group: 'g' });
  await write(100);
  for (const other of [beta, gamma]) {
    await other.caughtUp(alpha);
    fleet.links.cut('alpha', other.host);
  }
  await write(100);
  alpha.group().hurryApply();
  await alpha.until(() => alpha.group().driver.isDone);
  await delta.verb('resume', { group: 'g' });
  const fork = beta.group().watermarks.newest;
  await delta.until(() => showsOf(delta) > fork);
  expect(delta.group().watermarks.newest).toBeLessThan(fork);
  host.close();
  alpha.kill();
  await trial.promote(beta, alpha);
  return { trial, beta, gamma, delta };
}

function showsOf(system: FleetSystem): number {
  return system.group().follow.state?.shows ?? 0;
}

async function expectCompared(trial: HistoryTrial, beta: FleetSystem, delta: FleetSystem) {
  const follow = { group: 'g', from: beta.url };
  await delta.verb('follow', { ...follow, rewind: true });
  await delta.caughtUp(beta);
  await delta.until(() => delta.status().conditions.length === 0);
  expect(trial.expected(beta).equals(await trial.contents(delta))).toBe(true);
  const host = await trial.write(beta, 20);
  host.close();
  await delta.caughtUp(beta);
  expect(trial.expected(beta).equals(await trial.contents(delta))).toBe(true);
  await delta.verb('promote', { group: 'g', force: true });
  expect(delta.status().role).toBe('primary');
}

test('contents of a source that is lost are not taken for those of another history', async () => {
  const { trial, beta, delta } = await parted('parted');
  (await trial.write(beta, 200)).close();
  const before = delta.group().watermarks.newest;
  await expect(delta.verb('follow', { group: 'g', from: beta.url })).rejects.toThrow(
    'of a history that this source does not have: --rewind compares the volumes with it',
  );
  expect(delta.group().watermarks.newest).toBe(before);
  await expectCompared(trial, beta, delta);
});

test('nor where the source hears of that history later, and after a restart', async () => {
  const { trial, beta, gamma, delta } = await parted('parted later');
  // It follows alpha still, and knows of nobody else.
  await delta.verb('follow', { group: 'g', from: gamma.url });
  await delta.until(() => delta.group().watermarks.newest === gamma.group().watermarks.newest);
  const host = await trial.write(beta, 200);
  await gamma.verb('follow', { group: 'g', from: beta.url });
  await delta.until(() => delta.status().upstream?.state === 'refused');
  const refused = {
    code: 'follow_refused',
    nextCommand: `jnbd follow g --from ${gamma.url} --rewind`,
  };
  expect(delta.status().conditions).toMatchObject([refused]);
  const { newest } = delta.group().watermarks;
  expect(newest).toBeGreaterThan(beta.group().watermarks.newest - 200);
  await delta.stop();
  await delta.start();
  await delta.until(() => delta.status().conditions.length > 0);
  expect(delta.status().conditions).toMatchObject([refused]);
  expect(delta.group().watermarks.newest).toBe(newest);
  await expect(delta.verb('promote', { group: 'g' })).rejects.toThrow('another history');
  host.close();
  await expectCompared(trial, beta, delta);
});

test('a source that comes back goes on with what it gave, in whatever opening', async () => {
  const trial = await HistoryTrial.begin('comes back');
  const { alpha, fleet } = trial;
  (await trial.write(alpha, 50)).close();
  const delta = await fleet.start('delta');
  await delta.verb('follow', { group: 'g', from: alpha.url });
  await alpha.verb('snapshot create', { snapshot: 'g@s' });
  await delta.caughtUp(alpha);
  const { follow, watermarks, catalog } = delta.group();
  const generation = catalog.lineage.at(-1)?.generation ?? 0;
  const incarnation = catalog.lineage.at(-1)?.incarnation ?? 0;
  fleet.links.cut('alpha', 'delta');
  (await trial.write(alpha, 50)).close();
  const number = alpha.group().watermarks.newest;
  expect(number).toBeGreaterThan(watermarks.newest);
  expect(openable(delta)).toEqual(['g/v', 'g/v@s']);
  if (follow.state) {
    const shown = [{ generation, incarnation, number }];
    follow.write({ ...follow.state, shows: number, shown });
  }
  expect(() => new TestHost(delta, 'g/v')).toThrow('is of no one instant before they have come');
  expect(() => new TestHost(delta, 'g/v@s')).toThrow(`is applied up to update ${number}`);
  expect(openable(delta)).toEqual([]);
  await alpha.stop();
  await alpha.start();
  (await trial.write(alpha, 50)).close();
  fleet.links.mend('alpha', 'delta');
  await delta.caughtUp(alpha);
  expect(openable(delta)).toEqual(['g/v', 'g/v@s']);
  expect(trial.expected(alpha).equals(await trial.contents(delta))).toBe(true);
});

/** The exports that status says clients may open. */
function openable(system: FleetSystem): string[] {
  const { volumes, snapshots } = system.status();
  const all = [...volumes, ...snapshots.flatMap((snapshot) => snapshot.volumes)];
  return all.flatMap(({ exports }) => exports.filter((name) => name.startsWith('g/')));
}
