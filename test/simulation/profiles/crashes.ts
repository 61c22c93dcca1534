import { MiB } from '../../../src/platform/limits.ts';
import type { Profile } from './profile.ts';

/** Crashes of every kind, often soon after one another. */
export const crashes: Profile = {
  bytesMax: 24 * MiB,
  async setUp(campaign) {
    await campaign.createGroups(campaign.anyGroups());
  },
  async step(campaign) {
    const { random } = campaign;
    if (random.chance(0.4)) {
      // A short life: a few writes of the size that was usual before.
      await campaign.traffic({ ...campaign.anyWorkload(), sizes: [campaign.favouriteBytes] }, 2);
    } else {
      await campaign.traffic();
      if (random.chance(0.3)) await campaign.rest();
    }
    if (random.chance(0.2)) campaign.simulation.machine.dropCache();
    await campaign.end();
    await campaign.restart();
  },
};
