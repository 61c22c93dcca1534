import { expect, test } from 'vitest';
import { KiB } from '../../../src/platform/limits.ts';
import type { FleetSystem } from '../fleet.ts';
import { HistoryTrial } from './history-trial.ts';

async function expectSame(trial: HistoryTrial, system: FleetSystem, primary: FleetSystem) {
  await system.caughtUp(primary);
  await system.until(() => system.status().upstream?.state === 'reading');
  expect(trial.expected(primary).equals(await trial.contents(system))).toBe(true);
}

/** Alpha is followed by all; beta takes over; alpha goes back, and follows it. */
async function goneBack(seed: string, isGammaAhead: boolean) {
  const trial = await HistoryTrial.begin(seed);
  const { alpha, fleet } = trial;
  (await trial.write(alpha, 100)).close();
  const gamma = await trial.follower('gamma', alpha);
  const beta = await trial.follower('beta', alpha);
  if (!isGammaAhead) fleet.links.cut('alpha', 'gamma');
  (await trial.write(alpha, 50)).close();
  await beta.caughtUp(alpha);
  fleet.links.cut('alpha', 'beta');
  (await trial.write(alpha, 60)).close();
  if (isGammaAhead) await gamma.caughtUp(alpha);
  alpha.kill();
  const fork = await trial.promote(beta, alpha);
  (await trial.write(beta, 80)).close();
  fleet.links.mend('alpha', 'beta');
  await alpha.start();
  await alpha.verb('follow', { group: 'g', from: beta.url, rewind: true });
  await expectSame(trial, alpha, beta);
  return { trial, alpha, beta, gamma, fork };
}

test('a follower of one that went back comes along where it has nothing behind the fork', async () => {
  const { trial, beta, gamma, fork } = await goneBack('along', false);
  expect(gamma.group().watermarks.newest).toBeLessThan(fork);
  trial.fleet.links.mend('alpha', 'gamma');
  await expectSame(trial, gamma, beta);
  (await trial.write(beta, 20)).close();
  await expectSame(trial, gamma, beta);
});

test('a follower of one that went back goes back itself by the difference', async () => {
  const { trial, alpha, beta, gamma, fork } = await goneBack('itself', true);
  expect(gamma.group().watermarks.newest).toBeGreaterThan(fork);
  await gamma.verb('follow', { group: 'g', from: alpha.url, rewind: true });
  await expectSame(trial, gamma, beta);
  (await trial.write(beta, 20)).close();
  await expectSame(trial, gamma, beta);
});

test('one whose journal has released what was behind the fork goes back by its dirty map', async () => {
  const trial = await HistoryTrial.begin('by map');
  const { alpha, fleet } = trial;
  (await trial.write(alpha, 100)).close();
  const beta = await trial.follower('beta', alpha);
  fleet.links.cut('alpha', 'beta');
  const host = trial.host(alpha);
  // In one part of the volume only.
  for (let i = 0; alpha.status().secondaries[0]?.state !== 'behind'; i += 1) {
    expect(i).toBeLessThan(5000);
    const offset = 512 * (i % 100);
    await host.write(offset, Buffer.alloc(100 * KiB, i % 251));
  }
  await host.flush();
  host.close();
  const fork = await trial.promote(beta, alpha);
  (await trial.write(beta, 40)).close();
  await alpha.until(() => alpha.group().watermarks.released > fork);
  await alpha.verb('demote', { group: 'g' });
  fleet.links.mend('alpha', 'beta');
  const follow = { group: 'g', from: beta.url, rewind: true, compare: true };
  await alpha.verb('follow', follow);
  // Nothing was compared: that finds larger units.
  const told = alpha.daemon.events.find(({ code }) => code === 'rewound');
  expect(told?.message).toContain('by 149.50KiB in 1 regions');
  await expectSame(trial, alpha, beta);
});
