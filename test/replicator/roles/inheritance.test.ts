import { describe, expect, test } from 'vitest';
import type { FleetSystem } from '../fleet.ts';
import { HistoryTrial } from './history-trial.ts';

/**
 * Alpha handed its group over to beta, which reads from gamma now and has not got the record: gamma has. Alpha
 * reaches nobody.
 */
async function handedOver(seed: string) {
  const trial = await HistoryTrial.begin(seed);
  const { alpha, fleet } = trial;
  (await trial.write(alpha, 20)).close();
  const beta = await trial.follower('beta', alpha);
  const gamma = await trial.follower('gamma', alpha);
  fleet.links.cut('alpha', 'beta');
  await beta.verb('follow', { group: 'g', from: gamma.url });
  await beta.caughtUp(gamma);
  fleet.links.cut('beta', 'gamma');
  await alpha.verb('handoff', { group: 'g', to: 'beta' });
  await gamma.until(() => gamma.group().catalog.handedOver?.name === 'beta');
  fleet.links.cut('alpha', 'gamma');
  return { trial, fleet, alpha, beta, gamma };
}

const codes = (system: FleetSystem): string[] => system.status().conditions.map(({ code }) => code);

describe('an heir that reads late that a group is its own', () => {
  test('stays secondary where the giver took it back, and follows on', async () => {
    const { trial, fleet, alpha, beta, gamma } = await handedOver('heir late');
    await alpha.verb('promote', { group: 'g', force: true });
    (await trial.write(alpha, 5)).close();
    fleet.links.mend('alpha', 'beta');
    fleet.links.mend('beta', 'gamma');
    await beta.until(() => codes(beta).includes('handoff_taken_back'), 10_000);
    await trial.pass(10_000);
    expect([alpha, beta].map((system) => system.status().role)).toEqual(['primary', 'secondary']);
    expect(beta.status().conditions).toMatchObject([
      { nextCommand: `jnbd follow g --from ${alpha.url}` },
    ]);
    await expect(beta.verb('promote', { group: 'g' })).rejects.toThrow(
      'it was handed over to system alpha, which may be primary already',
    );
    fleet.links.mend('alpha', 'gamma');
    await beta.caughtUp(alpha);
    await trial.pass(1000);
    expect(codes(beta)).toEqual([]);
    expect(trial.expected(alpha).equals(await trial.contents(beta))).toBe(true);
    expect(gamma.status().role).toBe('secondary');
  });

  test('has nothing to be told of once it follows who took it back, who has written nothing', async () => {
    const { fleet, alpha, beta } = await handedOver('heir idle');
    await alpha.verb('promote', { group: 'g', force: true });
    fleet.links.mend('alpha', 'beta');
    fleet.links.mend('beta', 'gamma');
    await beta.until(() => codes(beta).includes('handoff_taken_back'), 10_000);
    await beta.verb('follow', { group: 'g', from: alpha.url });
    await beta.until(() => codes(beta).length === 0, 10_000);
    expect([alpha, beta].map((system) => system.status().role)).toEqual(['primary', 'secondary']);
  });

  test('follows on when it has come back from a branch, whatever was suspended before', async () => {
    const trial = await HistoryTrial.begin('heir suspended');
    const { alpha, fleet } = trial;
    (await trial.write(alpha, 20)).close();
    const beta = await trial.follower('beta', alpha);
    const gamma = await trial.follower('gamma', alpha);
    fleet.links.cut('alpha', 'gamma');
    (await trial.write(alpha, 20)).close();
    await beta.caughtUp(alpha);
    await gamma.verb('promote', { group: 'g', force: true });
    fleet.links.delay('beta', 'gamma', 100);
    await alpha.verb('handoff', { group: 'g', to: 'beta' });
    await beta.until(() => beta.group().catalog.handedOver?.name === 'beta');
    await beta.verb('suspend', { group: 'g' });
    await beta.until(() => beta.status().role === 'diverged', 20_000);
    await beta.verb('follow', { group: 'g', from: gamma.url, rewind: true });
    await beta.caughtUp(gamma);
    expect(beta.status()).toMatchObject({ role: 'secondary', upstream: { state: 'reading' } });
  });

  test('takes over where the giver is gone, and says so until that one is heard', async () => {
    const { trial, fleet, alpha, beta } = await handedOver('heir alone');
    alpha.kill();
    const before = fleet.clock.monotonicMilliseconds();
    fleet.links.mend('beta', 'gamma');
    await beta.until(() => beta.status().role === 'primary', 20_000);
    expect(fleet.clock.monotonicMilliseconds() - before).toBeGreaterThan(2000);
    await trial.pass(1);
    expect(beta.status().conditions).toMatchObject([
      {
        code: 'handoff_unconfirmed',
        severity: 'warning',
        nextCommand: `jnbd status --connect ${alpha.url}`,
      },
    ]);
    await trial.pass(60_000);
    expect(codes(beta)).toEqual(['handoff_unconfirmed']);
    fleet.links.mend('alpha', 'beta');
    await alpha.start();
    await alpha.caughtUp(beta);
    await beta.until(() => codes(beta).length === 0, 30_000);
  });

  test('is asked about no more when the giver is removed', async () => {
    const { fleet, alpha, beta } = await handedOver('heir forgets');
    alpha.kill();
    fleet.links.mend('beta', 'gamma');
    await beta.until(() => codes(beta).includes('handoff_unconfirmed'), 20_000);
    await beta.verb('secondary remove', { group: 'g', secondary: 'alpha' });
    await beta.until(() => codes(beta).length === 0, 30_000);
  });

  test('waits for a word of somebody where it has to', async () => {
    const { trial, fleet, alpha, beta, gamma } = await handedOver('heir waits');
    alpha.kill();
    beta.kill();
    await beta.start({ mustConfirmPrimary: true });
    fleet.links.mend('beta', 'gamma');
    await beta.until(() => beta.group().catalog.handedOver?.name === 'beta', 20_000);
    gamma.kill();
    await trial.pass(60_000);
    expect(beta.status().role).toBe('secondary');
    expect(beta.status().conditions).toContainEqual(
      expect.objectContaining({ code: 'handoff_unconfirmed', nextCommand: 'jnbd promote g' }),
    );
    await gamma.start();
    await beta.until(() => beta.status().role === 'primary', 20_000);
  });
});

test('a group is handed over to nobody who has given it up', async () => {
  const trial = await HistoryTrial.begin('heir deleted');
  const { alpha } = trial;
  const host = await trial.write(alpha, 20);
  const beta = await trial.follower('beta', alpha);
  await beta.verb('group delete', { group: 'g', force: true });
  expect(alpha.status().secondaries).toMatchObject([{ name: 'beta' }]);
  const handing = alpha.verb('handoff', { group: 'g', to: 'beta' });
  await expect(handing).rejects.toMatchObject({ code: 'state_refuses' });
  await expect(handing).rejects.toThrow('it has the group no more');
  expect(alpha.status().role).toBe('primary');
  expect(await trial.writeOne(host)).toBeGreaterThan(0);
});

test('a handoff of a history that went another way than the source that was lost is given', async () => {
  const trial = await HistoryTrial.begin('given in another history');
  const { alpha, fleet } = trial;
  (await trial.write(alpha, 20)).close();
  const beta = await trial.follower('beta', alpha);
  fleet.links.cut('alpha', 'beta');
  (await trial.write(alpha, 100)).close();
  const gamma = await fleet.start('gamma');
  fleet.links.delay('alpha', 'gamma', 500);
  await gamma.verb('follow', { group: 'g', from: alpha.url, pace: 'interval:60s' });
  await gamma.verb('suspend', { group: 'g' });
  expect(gamma.group().watermarks.newest).toBeLessThanOrEqual(beta.group().watermarks.newest);
  alpha.kill();
  await trial.promote(beta, alpha);
  await gamma.verb('follow', { group: 'g', from: beta.url, pace: 'immediate' });
  await gamma.verb('resume', { group: 'g' });
  (await trial.write(beta, 10)).close();
  await gamma.caughtUp(beta);
  expect(beta.group().watermarks.newest).toBeLessThan(100);
  await beta.verb('handoff', { group: 'g', to: 'gamma', timeout: '10s' });
  await gamma.until(() => gamma.status().role === 'primary', 30_000);
});
