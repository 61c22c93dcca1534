import { MiB } from '../../../src/platform/limits.ts';
import type { Campaign } from '../campaign.ts';
import { changeSomething } from '../changes-of-volumes.ts';
import type { Profile } from './profile.ts';

/** Volumes and groups come, grow and go; areas are slow; the wall clock jumps. */
export const changes: Profile = {
  bytesMax: 16 * MiB,
  async setUp(campaign) {
    await campaign.createGroups(campaign.anyGroups());
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    await campaign.traffic();
    if (random.chance(0.3)) {
      simulation.clock.jumpWall(random.pick([-86_400_000, -1000, 1000, 86_400_000 * 40]));
      simulation.counter.count('clock jumped');
    }
    if (random.chance(0.3)) {
      simulation.machine.faults.add({
        kind: 'slow',
        operation: 'sync',
        role: 'segment',
        times: random.between(1, 6),
        milliseconds: random.pick([500, 2000, 5000]),
      });
    }
    for (let count = random.between(1, 3); count > 0; count -= 1) await changeSomething(campaign);
    await campaign.traffic();
    await failSlowArea(campaign);
    if (random.chance(0.2)) await campaign.simulation.pass(31_000);
    if (random.chance(0.5)) {
      await campaign.end();
      await campaign.restart();
    }
  },
};

/** Where an area is slow, the others fail, and then it does too. */
async function failSlowArea(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  const groups = [...simulation.groups.values()];
  if (!groups.some(({ areas }) => areas.some(({ state }) => state === 'slow'))) return;
  if (random.chance(0.5)) return;
  simulation.excuses.add('disk');
  const times = random.between(1, 4);
  simulation.machine.faults.add({ kind: 'sync_error', operation: 'sync', role: 'segment', times });
  await campaign.traffic();
  await campaign.end();
  simulation.excuses.delete('disk');
  await campaign.restart();
}
