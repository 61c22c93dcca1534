import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { Profile } from './profile.ts';

/** Volumes that store nothing: their journal is all there is. */
export const journalOnly: Profile = {
  bytesMax: 90 * MiB,
  async setUp(campaign) {
    const { simulation, random } = campaign;
    const onFull = random.pick(['suspend', 'throttle', 'fail'] as const);
    simulation.excuses.addStanding('space', 'stall');
    await campaign.createGroups([
      {
        name: 'alpha',
        areas: random.pick([0, 2]),
        layout: random.pick(['striped', 'spare']),
        onFull,
        volumes: [
          { name: 'v0', sizeBytes: 16 * MiB, journalOnly: true },
          ...(random.chance(0.5) ? [{ name: 'v1', sizeBytes: 1 * MiB }] : []),
        ],
      },
    ]);
  },
  async step(campaign) {
    const { random } = campaign;
    await campaign.traffic(
      {
        mix: { write: 60, fua: 2, flush: 2, trim: 2, zeroes: 2, read: 3, status: 1, cache: 1 },
        sizes: [1 * MiB, 256 * KiB, 64 * KiB, 4 * KiB],
        alignment: 512,
        hotBytes: 16 * MiB,
        depth: 8,
      },
      60,
    );
    if (random.chance(0.5)) await campaign.rest();
    if (random.chance(0.3)) {
      await campaign.end();
      await campaign.restart();
    }
  },
};
