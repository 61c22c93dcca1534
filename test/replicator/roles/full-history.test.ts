import { expect, test } from 'vitest';
import { dirtyMapOwner } from '../../../src/group/catalog/dirty-map-files.ts';
import { historyOwner } from '../../../src/group/views/history-group.ts';
import { must } from '../../../src/platform/assert.ts';
import { HistoryTrial } from './history-trial.ts';

test('history gives way in a full journal also where a dirty map waits for it', async () => {
  const trial = await HistoryTrial.begin('history and a dirty map');
  const { alpha, fleet } = trial;
  (await trial.write(alpha, 20)).close();
  const beta = await trial.follower('beta', alpha);
  fleet.links.cut('alpha', 'beta');
  (await trial.write(alpha, 20)).close();
  const group = alpha.group();
  group.hurryApply();
  await alpha.until(() => group.driver.isDone);
  await alpha.verb('group configure', { group: 'g', history: '1h' });
  await alpha.until(() => group.views.history.from !== undefined);
  group.followers.leaveBehind(beta.system.systemId);
  (await trial.write(alpha, 20)).close();
  const { retention } = group;
  const map = must(retention.get(dirtyMapOwner), 'what beta lacks is noted');
  // Of one segment, which the map goes over as a whole.
  const held = must(retention.get(historyOwner), 'history is kept');
  expect(map).toBeLessThan(held);
  expect(group.views.history.giveWay()).toBe(true);
  await alpha.until(() => retention.get(historyOwner) !== held);
  fleet.links.mend('alpha', 'beta');
  await beta.caughtUp(alpha);
  expect(trial.expected(alpha).equals(await trial.contents(beta))).toBe(true);
});
