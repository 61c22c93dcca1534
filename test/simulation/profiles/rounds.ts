import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { Campaign } from '../campaign.ts';
import type { Profile } from './profile.ts';

/** The journal goes round and round while reads of what is in it take long. */
export const rounds: Profile = {
  bytesMax: 180 * MiB,
  cacheMissChance: 0.3,
  async setUp(campaign) {
    const { random } = campaign;
    if (random.chance(0.35)) await campaign.createCrowd(32);
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
    if (simulation.isServing && simulation.groups.size > 2) {
      await flood(campaign, 2 * MiB);
      // A start of so many groups takes long.
      if (random.chance(0.7)) return;
    } else {
      await readAndWrite(campaign);
      if (random.chance(0.2)) await campaign.rest();
      if (random.chance(0.2)) await chase(campaign);
      if (random.chance(0.2)) await flood(campaign, 8 * MiB);
    }
    if (random.chance(0.3)) {
      await campaign.end();
      await campaign.restart();
    } else if (random.chance(0.31)) {
      await failPowerAtRoll(campaign);
    }
  },
};

async function readAndWrite(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (random.chance(0.7)) {
    simulation.machine.faults.add({
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
}

/** Power fails just when the journal has gone on in another segment. */
async function failPowerAtRoll(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  campaign.connectHosts();
  for (const host of simulation.hosts) host.work(60, 24 * MiB);
  const { rolls } = simulation.tap.segments;
  await simulation.until(() => simulation.tap.segments.rolls > rolls || simulation.hosts.areIdle);
  await simulation.pass(random.fraction() * 2);
  await campaign.end('power');
  await campaign.restart();
}

/** Reads take so long that the journal is written all over again meanwhile. */
async function chase(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  campaign.disconnectHosts();
  const { faults } = simulation.machine;
  faults.clear();
  const slow = { kind: 'slow', operation: 'read', role: 'segment', isLaterOnly: true } as const;
  faults.add({ ...slow, milliseconds: 20_000, probability: 0.5 });
  const writing = { write: 60, fua: 1, flush: 1, trim: 0, zeroes: 0, read: 0, status: 0, cache: 0 };
  const workload = { alignment: 512, hotBytes: 3 * MiB, depth: 8 };
  const writer = simulation.hosts.connect('alpha', 'v0', {
    ...workload,
    mix: writing,
    sizes: [256 * KiB, 1 * MiB],
  });
  const reader = simulation.hosts.connect('alpha', 'v0', {
    ...workload,
    mix: { ...writing, write: 0, fua: 0, flush: 0, read: 1 },
    sizes: [4 * KiB],
  });
  writer.work(100, 4 * MiB);
  await simulation.until(() => writer.isIdle);
  reader.work(random.between(8, 40), 1);
  writer.work(200, campaign.bytesLeft(80 * MiB));
  if ((await simulation.hostsDone()) === 'done') faults.clear();
}

/** More at once than may be unsynced, some of it to be durable before it is answered. */
async function flood(campaign: Campaign, bytes: number): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  const { faults } = simulation.machine;
  const slow = { kind: 'slow', operation: 'sync', role: 'segment', isLaterOnly: true } as const;
  faults.add({ ...slow, milliseconds: 30, probability: 0.7 });
  for (let count = 0; count < 4; count += 1) {
    const host = simulation.hosts.connect('alpha', 'v0', {
      mix: { write: 60, fua: 10, flush: 3, trim: 1, zeroes: 1, read: 0, status: 0, cache: 0 },
      sizes: [4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB],
      alignment: 512,
      hotBytes: 3 * MiB,
      depth: 128,
    });
    host.work(250, campaign.bytesLeft(bytes));
  }
  const outcome = random.chance(0.5)
    ? await simulation.pass(random.between(10, 60))
    : await simulation.hostsDone();
  if (outcome === 'done') faults.clear();
}
