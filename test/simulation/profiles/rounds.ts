import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { Profile } from './profile.ts';

/** The journal goes round and round while reads of what is in it take long. */
export const rounds: Profile = {
  bytesMax: 150 * MiB,
  cacheMissChance: 0.3,
  async setUp(campaign) {
    const { random } = campaign;
    await campaign.createGroups([
      {
        name: 'alpha',
        areas: random.pick([0, 2]),
        layout: random.pick(['striped', 'spare']),
        volumes: [
          { name: 'v0', sizeBytes: 3 * MiB },
          { name: 'v1', sizeBytes: 1 * MiB + 512 },
        ],
      },
    ]);
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    const { faults } = simulation.machine;
    if (random.chance(0.7)) {
      faults.add({
        kind: 'slow',
        operation: 'read',
        role: 'segment',
        probability: 0.2,
        milliseconds: random.pick([100, 3000, 20_000]),
        isLaterOnly: true,
      });
    }
    await campaign.traffic(
      {
        mix: { write: 60, fua: 1, flush: 2, trim: 1, zeroes: 1, read: 20, status: 1, cache: 0 },
        sizes: [1 * MiB, 1 * MiB, 256 * KiB, 256 * KiB - 92, 4 * KiB],
        alignment: 512,
        hotBytes: 3 * MiB,
        depth: random.pick([4, 16]),
      },
      random.pick([40, 40, 200]),
      random.pick([8, 8, 50]) * MiB,
    );
    if (random.chance(0.2)) await campaign.rest();
    if (random.chance(0.3)) {
      await campaign.end();
      await campaign.restart();
    } else if (random.chance(0.31)) {
      // Power fails just when the journal has gone on in another segment.
      campaign.connectHosts();
      for (const host of simulation.hosts) host.work(60, 24 * MiB);
      const { rolls } = simulation.tap.segments;
      await simulation.until(
        () => simulation.tap.segments.rolls > rolls || simulation.hosts.areIdle,
      );
      await simulation.pass(random.fraction() * 2);
      await campaign.end('power');
      await campaign.restart();
    }
  },
};
