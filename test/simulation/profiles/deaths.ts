import { MiB } from '../../../src/platform/limits.ts';
import { changeSomething } from '../changes-of-volumes.ts';
import type { FaultRule } from '../faults.ts';
import type { SimulatedRandom } from '../simulated-random.ts';
import type { Profile } from './profile.ts';

const deathRoles = [
  undefined,
  undefined,
  'segment',
  'volume',
  'checkpoint',
  'catalog',
  'area',
] as const;

function anyDeath(random: SimulatedRandom): FaultRule {
  const role = deathRoles[random.int(deathRoles.length)];
  return {
    kind: 'death',
    operation: random.pick(['write', 'write', 'sync', 'entry', 'sync_directory', 'read'] as const),
    ...(role === undefined ? {} : { role }),
    nth: random.between(1, random.pick([2, 10, 50])),
  };
}

/** The process dies in the middle of what it does to the disk, also while it starts. */
export const deaths: Profile = {
  bytesMax: 16 * MiB,
  async setUp(campaign) {
    await campaign.createGroups(campaign.anyGroups());
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    const isOfEntries = random.chance(0.2);
    simulation.machine.faults.add(
      isOfEntries
        ? { kind: 'death', operation: 'sync_directory', nth: random.between(1, 2) }
        : anyDeath(random),
    );
    if (isOfEntries || random.chance(0.3)) await changeSomething(campaign);
    if (isOfEntries && !simulation.isServing) {
      await campaign.end('power');
      await campaign.restart();
    }
    await campaign.traffic();
    await campaign.rest();
    await campaign.end();
    if (random.chance(0.4)) simulation.machine.faults.add(anyDeath(random));
    await campaign.restart();
  },
};
