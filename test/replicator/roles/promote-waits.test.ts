import { expect, test } from 'vitest';
import { promotionObstacle } from '../../../src/group/roles/promotion.ts';
import { must } from '../../../src/platform/assert.ts';
import type { FleetSystem } from '../fleet.ts';
import { HistoryTrial } from './history-trial.ts';

/** Beta has not applied all that its contents show, as a copy or a comparison leaves it, and applies nothing now. */
async function copied(seed: string) {
  const trial = await HistoryTrial.begin(seed);
  const { alpha } = trial;
  (await trial.write(alpha, 20)).close();
  const beta = await trial.follower('beta', alpha);
  const { driver, watermarks, follow } = beta.group();
  driver.hold(true);
  const host = await trial.write(alpha, 20);
  const { newest } = alpha.group().watermarks;
  await beta.until(() => watermarks.durable === newest);
  follow.write({ ...must(follow.state, 'it follows'), shows: newest });
  await trial.write(alpha, 20);
  host.close();
  await beta.until(() => watermarks.durable === alpha.group().watermarks.newest);
  expect(obstacleOf(beta)).toContain('not applied yet');
  return { trial, alpha, beta, driver };
}

function obstacleOf({ system }: FleetSystem): string {
  const group = system.groups.get('g');
  return (group && promotionObstacle(group, system.systemId)?.text) ?? '';
}

test('a promotion waits until what a copy shows is applied', async () => {
  const { trial, alpha, beta, driver } = await copied('waits');
  alpha.kill();
  const dryRun = await beta.verb('promote', { group: 'g', dryRun: true });
  expect(dryRun).toMatchObject({ obstacle: null });
  expect(obstacleOf(beta)).toContain('not applied yet');
  trial.fleet.clock.after(2000, () => driver.hold(false));
  await trial.promote(beta, alpha);
  expect(beta.status()).toMatchObject({ role: 'primary', upstream: null });
  expect(trial.expected(beta).equals(await trial.contents(beta))).toBe(true);
});

test('it waits for thirty seconds, and then goes on following', async () => {
  const { trial, alpha, beta, driver } = await copied('is held');
  const { clock } = trial.fleet;
  const began = clock.monotonicMilliseconds();
  await expect(beta.verb('promote', { group: 'g', force: true })).rejects.toThrow(
    /cannot be promoted: updates up to \d+ are not applied yet; try again/,
  );
  expect(Math.round((clock.monotonicMilliseconds() - began) / 1000)).toBe(30);
  driver.hold(false);
  await beta.until(() => beta.status().upstream?.state === 'reading');
  await trial.write(alpha, 5);
  await beta.caughtUp(alpha);
  expect(beta.status().role).toBe('secondary');
});

test('what lets it follow meanwhile does not make a primary that receives', async () => {
  const { trial, alpha, beta, driver } = await copied('resumed');
  const { control } = beta.daemon.composed;
  const call = { signal: new AbortController().signal, progress: () => undefined };
  const promoted = control.change('/verbs/promote', { group: 'g', force: true }, call);
  await trial.pass(1000);
  for (const verb of ['suspend', 'resume']) await beta.verb(verb, { group: 'g' });
  await trial.pass(1000);
  driver.hold(false);
  await beta.run(promoted);
  const { newest } = beta.group().watermarks;
  (await trial.write(alpha, 20)).close();
  await trial.pass(5000);
  expect(beta.status()).toMatchObject({ role: 'primary', upstream: null });
  expect(beta.group().watermarks.newest).toBe(newest);
});

test('of two commands that wait one makes it the primary', async () => {
  const { beta, driver, trial } = await copied('twice');
  const { control } = beta.daemon.composed;
  const call = { signal: new AbortController().signal, progress: () => undefined };
  const promote = () => control.change('/verbs/promote', { group: 'g', force: true }, call);
  const both = [promote(), promote()];
  trial.fleet.clock.after(1000, () => driver.hold(false));
  const results = (await beta.run(Promise.all(both))) as { readonly result: string }[];
  expect(results.map(({ result }) => result).sort()).toEqual(['already_done', 'done']);
  expect(beta.status()).toMatchObject({ role: 'primary', generation: 2 });
});
