import { MiB } from '../../../src/platform/limits.ts';
import type { CrashKind } from '../crash-kind.ts';
import { loseArea, loseVolume } from '../losses.ts';
import { rotHeader, rotRecord, rotSmallFile } from '../rot.ts';
import type { Profile } from './profile.ts';

/** Bits flip, areas vanish and come back. */
export const damage: Profile = {
  bytesMax: 16 * MiB,
  async setUp(campaign) {
    const { random } = campaign;
    await campaign.createGroups([
      {
        name: 'alpha',
        areas: random.pick([0, 2, 3]),
        layout: random.pick(['striped', 'spare']),
        volumes: campaign.anyVolumes(),
      },
    ]);
  },
  async step(campaign) {
    const { random } = campaign;
    await campaign.traffic();
    if (random.chance(0.5)) await campaign.rest();
    await campaign.end(random.pick<CrashKind>(['kill', 'kill', 'stop', 'power']));
    const harm = random.pick([rotRecord, rotRecord, rotHeader, rotSmallFile, loseArea, loseVolume]);
    await harm(campaign);
  },
};
