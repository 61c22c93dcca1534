import { describe, expect, test } from 'vitest';
import { inspectJournal } from '../../../src/journal/inspect.ts';
import { standingRollback } from '../../../src/group/catalog/rollback.ts';
import { must } from '../../../src/platform/assert.ts';
import { MiB } from '../../../src/platform/limits.ts';
import { HistoryTrial, volumeBytes } from './history-trial.ts';

/** Beta has updates that it has not applied, and alpha is lost. */
async function lagging(seed: string) {
  const trial = await HistoryTrial.begin(seed);
  const { alpha } = trial;
  (await trial.write(alpha, 100)).close();
  const beta = await trial.follower('beta', alpha);
  const gamma = await trial.follower('gamma', beta);
  beta.group().driver.hold(true);
  const { applied } = beta.group().watermarks;
  const times: number[] = [];
  const host = trial.host(alpha);
  for (let i = 0; i < 60; i += 1) {
    await trial.writeOne(host);
    times.push(trial.fleet.clock.wallMilliseconds());
    await trial.pass(1000);
  }
  await host.flush();
  await beta.until(() => beta.group().watermarks.durable === alpha.group().watermarks.newest);
  await gamma.until(() => gamma.group().watermarks.durable === alpha.group().watermarks.newest);
  alpha.kill();
  return { trial, alpha, beta, gamma, applied, times };
}

describe('promote --at', () => {
  test('keeps a branch of what stands behind, and the others come back', async () => {
    const { trial, alpha, beta, gamma, applied } = await lagging('at number');
    const { newest } = beta.group().watermarks;
    const at = applied + 25;
    await expect(beta.verb('promote', { group: 'g', at: String(applied - 1) })).rejects.toThrow(
      `are not undone; possible are ${applied} to ${newest}`,
    );
    expect(await beta.verb('promote', { group: 'g', at: String(at), dryRun: true })).toMatchObject({
      result: 'would_be_done',
      position: at,
      branch: { first: at + 1, newest },
      others: [{ name: 'gamma', newest, aheadUpdates: 0, isHeard: true }],
    });
    expect(beta.status().branches).toEqual([]);
    await expect(beta.verb('promote', { group: 'g', at: String(newest + 1) })).rejects.toThrow(
      `its newest update here is ${newest}; possible are ${applied} to ${newest}`,
    );
    await expect(beta.verb('promote', { group: 'g', at: `2:${at}` })).rejects.toThrow(
      'is of generation 1 here',
    );
    await trial.promote(beta, alpha, `1:${at}`);
    expect(beta.group().watermarks.newest).toBe(at);
    expect(beta.status()).toMatchObject({
      role: 'primary',
      generation: 2,
      branches: [{ name: `1-${at + 1}`, fork: at, newest }],
    });
    expect(trial.expected(beta).equals(await trial.contents(beta))).toBe(true);
    await beta.verb('branch export', { group: 'g', branch: `1-${at + 1}`, to: '/cut' });
    const cut: number[] = [];
    const report = inspectJournal(beta.machine.attach(), '/cut', ({ number }) => {
      if (number !== null && number > at) cut.push(number);
    });
    expect(report.damaged).toBe(false);
    expect([...new Set(cut)], 'everything behind it is in the branch').toEqual(
      Array.from({ length: newest - at }, (_, i) => at + 1 + i),
    );
    (await trial.write(beta, 30)).close();
    expect(trial.expected(beta).equals(await trial.contents(beta))).toBe(true);
    await gamma.until(() => gamma.status().role === 'diverged', 60_000);
    await alpha.start();
    for (const system of [gamma, alpha]) {
      await system.verb('follow', { group: 'g', from: beta.url, rewind: true, compare: true });
      await system.caughtUp(beta);
      await system.until(() => system.group().follow.state?.resync === undefined, 60_000);
      expect(trial.expected(beta).equals(await trial.contents(system))).toBe(true);
    }
  });

  test('finds the update of a time', async () => {
    const { trial, alpha, beta, applied, times } = await lagging('at time');
    const at = new Date((times[9] ?? 0) + 500).toISOString();
    await expect(beta.verb('promote', { group: 'g', at: '2001-01-01T00:00:00Z' })).rejects.toThrow(
      'has in its volumes what is later than 2001',
    );
    await expect(beta.verb('promote', { group: 'g', at: 'yesterday' })).rejects.toThrow(
      'is no position',
    );
    await trial.promote(beta, alpha, at);
    expect(beta.group().watermarks.newest).toBe(applied + 10);
    expect(trial.expected(beta).equals(await trial.contents(beta))).toBe(true);
  });

  test('undoes no change of volumes', async () => {
    const trial = await HistoryTrial.begin('at volumes');
    const { alpha } = trial;
    const beta = await trial.follower('beta', alpha);
    beta.group().driver.hold(true);
    (await trial.write(alpha, 5)).close();
    const { newest } = alpha.group().watermarks;
    await alpha.verb('volume resize', { volume: 'g/v', size: volumeBytes + MiB });
    await beta.until(() => beta.group().watermarks.durable > newest);
    await expect(beta.verb('promote', { group: 'g', at: String(newest) })).rejects.toThrow(
      'made, changed or deleted a volume',
    );
    await beta.verb('promote', { group: 'g', dryRun: true, at: 'latest' });
  });

  test('goes back behind a record of whom replies wait for, but behind no volume change', async () => {
    const trial = await HistoryTrial.begin('at protection');
    const { alpha } = trial;
    const beta = await trial.follower('beta', alpha);
    beta.group().driver.hold(true);
    const host = await trial.write(alpha, 5);
    await beta.verb('follow', { group: 'g', from: alpha.url, sync: true });
    await alpha.until(() => alpha.group().catalog.protection?.state === 'protected');
    const { number } = alpha.group().catalog;
    for (let i = 0; i < 5; i += 1) await trial.writeOne(host);
    await host.flush();
    const { newest } = alpha.group().watermarks;
    await beta.until(() => beta.group().watermarks.durable === newest);
    const lasting = must(alpha.group().catalog.protection?.after, 'the volume was made before');
    const tooFar = beta.verb('promote', { group: 'g', at: String(lasting - 1) });
    const { applied } = beta.group().watermarks;
    await expect(tooFar).rejects.toThrow('cannot be promoted');
    expect(applied).toBeLessThan(number - 1);
    alpha.kill();
    await beta.verb('promote', { group: 'g', at: String(number - 1), force: true });
    const { catalog, watermarks, role } = beta.group();
    expect([role, watermarks.newest]).toEqual(['primary', number - 1]);
    expect(catalog.protection).toBeUndefined();
    // Changes are numbered on from there, and known after a restart.
    await beta.verb('volume create', { volume: 'g/w', size: MiB });
    beta.kill();
    await beta.start();
    expect([...beta.group().volumes.keys()].sort()).toEqual(['v', 'w']);
  });

  test.each(Array.from({ length: 20 }, (_, seed) => seed))(
    'is done or not after a crash at any time, seed %i',
    async (seed) => {
      const { trial, beta, alpha, applied } = await lagging(`at crash ${seed}`);
      const at = applied + 5 + seed;
      const { newest } = beta.group().watermarks;
      const promoting = beta.verb('promote', { group: 'g', at: String(at) });
      promoting.catch(() => undefined);
      await trial.pass(trial.fleet.random.fraction() * 120);
      if (seed % 2 === 0) beta.losePower();
      else beta.kill();
      await beta.start();
      const { role, watermarks } = beta.group();
      expect(watermarks.newest).toBe(role === 'primary' ? at : newest);
      const contents = trial.historyOf(alpha).contents('g/v', volumeBytes, watermarks.newest);
      expect(contents.equals(await trial.contents(beta))).toBe(true);
    },
  );

  test.each(Array.from({ length: 8 }, (_, seed) => seed))(
    'goes back to what is in the volumes, or has done nothing, after a crash at any time, seed %i',
    async (seed) => {
      const { trial, beta, alpha, at, newest } = await withPast(`back ${seed}`);
      const promoting = beta.verb('promote', { group: 'g', at: String(at) });
      if (seed === 0) await promoting;
      else {
        promoting.catch(() => undefined);
        await trial.pass(trial.fleet.random.fraction() * 60 * seed);
        if (seed % 2 === 0) beta.losePower();
        else beta.kill();
        await beta.start();
      }
      const isPrimary = beta.group().role === 'primary';
      await beta.until(() => standingRollback(beta.group().catalog.volumes) === undefined);
      const shown = isPrimary ? at : newest;
      const contents = trial.historyOf(alpha).contents('g/v', volumeBytes, shown);
      expect(contents.equals(await trial.contents(beta))).toBe(true);
      expect(beta.status()).toMatchObject({ branches: [], generation: isPrimary ? 2 : 1 });
      expect(isPrimary || seed > 0).toBe(true);
      expect(beta.group().watermarks.newest > newest).toBe(isPrimary);
    },
  );
});

/** Everything is applied at beta, which keeps its past; the primary is gone. */
async function withPast(name: string) {
  const trial = await HistoryTrial.begin(name);
  const { alpha } = trial;
  const beta = await trial.follower('beta', alpha);
  await beta.verb('group configure', { group: 'g', history: '1h' });
  await beta.until(() => beta.group().views.history.from !== undefined);
  const host = await trial.write(alpha, 30);
  const at = alpha.group().watermarks.newest;
  for (let i = 0; i < 40; i += 1) await trial.writeOne(host);
  await host.flush();
  const { newest } = alpha.group().watermarks;
  await beta.until(() => beta.group().watermarks.applied === newest);
  alpha.kill();
  return { trial, alpha, beta, at, newest };
}
