import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { Campaign } from '../campaign.ts';
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
    if (random.chance(0.3)) await burst(campaign);
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

/** More than there is room for, faster than any of it can be applied. */
async function burst(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  const none = { write: 0, fua: 0, flush: 0, trim: 0, zeroes: 0, read: 0, status: 0, cache: 0 };
  const workload = { sizes: [1 * MiB], alignment: 1 * MiB, hotBytes: 40 * MiB, depth: 64 };
  // Gives back what is there.
  const clearing = { ...workload, mix: { ...none, trim: 1 }, clearSizes: [40 * MiB] };
  for (const volume of ['v0', 'v1']) {
    simulation.hosts.connect('alpha', volume, { ...clearing, alignment: 40 * MiB }).work(1, 1);
  }
  await simulation.hostsDone();
  if ((await simulation.pass(2000)) !== 'done') return;
  // Apply does not keep up for a while: what is accepted meanwhile is owed.
  const { faults } = simulation.machine;
  faults.add({ kind: 'no_space', operation: 'write', role: 'volume', nth: 1 });
  const zeroes = random.pick([0, 30]);
  const mix = { ...none, write: 60, zeroes };
  const filling = { ...workload, mix, clearSizes: [32 * MiB] };
  simulation.hosts.connect('alpha', 'v1', filling).work(64, 40 * MiB);
  await simulation.hostsDone();
  // What it was promised, it gets.
  await simulation.pass(2000);
}
