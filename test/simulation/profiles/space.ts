import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { Profile } from './profile.ts';

/** The disk is small, and now and then somebody else fills it. */
export const space: Profile = {
  bytesMax: 70 * MiB,
  async setUp(campaign) {
    const { simulation, random } = campaign;
    campaign.simulation.excuses.addStanding('space');
    await campaign.createGroups([
      {
        name: 'alpha',
        areas: 0,
        volumes: [
          { name: 'v0', sizeBytes: 8 * MiB },
          { name: 'v1', sizeBytes: 40 * MiB },
        ],
      },
    ]);
    // Of what is free 16 MiB are left for the file system itself.
    const { machine } = simulation;
    machine.capacityBytes = machine.allocatedBytes + (16 + random.pick([2, 6, 12])) * MiB;
    // The daemon looks now and then.
    await simulation.pass(300);
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    const { machine } = simulation;
    await campaign.traffic(
      {
        ...campaign.anyWorkload(),
        sizes: random.pick([[4 * KiB, 64 * KiB, 256 * KiB], [1 * MiB]]),
        clearSizes: [4 * KiB, 1 * MiB, 32 * MiB],
        hotBytes: 40 * MiB,
      },
      undefined,
      24 * MiB,
    );
    // With nobody else on the disk, what was accepted fits.
    if (!campaign.isSpaceShared && campaign.hasBeenFull) {
      simulation.fail('apply had no room for what was accepted');
    }
    if (random.chance(0.2)) {
      const capacityBytes = machine.capacityBytes;
      machine.capacityBytes = machine.allocatedBytes + random.pick([0, 64 * KiB, 1 * MiB]);
      simulation.counter.count('space taken by others');
      campaign.isSpaceShared = true;
      await campaign.rest();
      await campaign.traffic();
      machine.capacityBytes = capacityBytes;
      if (simulation.isServing) await simulation.hostsDone();
    } else if (simulation.isServing) {
      await campaign.rest();
    }
    if (random.chance(0.4)) {
      await campaign.end();
      await campaign.restart();
    }
  },
};
