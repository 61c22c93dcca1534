import { KiB, MiB } from '../../../src/platform/limits.ts';
import type { Campaign } from '../campaign.ts';
import type { FaultRule } from '../faults.ts';
import type { Profile } from './profile.ts';

/** Apply of one group cannot go on until its journal is full; the other group must not feel it. */
export const full: Profile = {
  bytesMax: 60 * MiB,
  async setUp(campaign) {
    const volumes = [
      { name: 'v0', sizeBytes: 4 * MiB },
      { name: 'v1', sizeBytes: 1 * MiB },
    ];
    await campaign.createGroups([
      { name: 'alpha', areas: campaign.random.pick([0, 0, 2]), volumes },
      { name: 'beta', areas: 0, volumes },
    ]);
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    const { excuses } = simulation;
    excuses.add('disk');
    excuses.add('stall');
    const trouble = anyTrouble(campaign);
    simulation.machine.faults.add(trouble);
    const lives = random.pick([0, 1, 5]);
    for (let life = 0; life < lives && simulation.isServing; life += 1) {
      await campaign.traffic({ ...campaign.anyWorkload(), sizes: [4 * KiB] }, 5);
      await campaign.end(random.pick(['kill', 'power', 'stop']));
      simulation.machine.faults.add(trouble);
      await campaign.restart();
    }
    if (random.chance(0.7)) await fill(campaign);
    await expectServed(campaign, 'beta');
    simulation.machine.faults.clear();
    if (trouble.kind === 'slow') await simulation.pass(trouble.milliseconds ?? 0);
    await expectServed(campaign, 'alpha');
    if (random.chance(0.5)) await campaign.rest();
    await campaign.end();
    excuses.delete('disk');
    excuses.delete('stall');
    await campaign.restart();
  },
};

function anyTrouble({ random }: Campaign): FaultRule {
  const path = '/data/groups/alpha/';
  return random.pick<FaultRule>([
    { kind: 'no_space', operation: 'write', role: 'volume', path },
    { kind: 'write_error', operation: 'write', role: 'volume', path },
    { kind: 'write_error', operation: 'write', role: 'checkpoint', path: `${path}checkpoint` },
    { kind: 'sync_error', operation: 'sync', role: 'checkpoint', path: `${path}checkpoint` },
    { kind: 'slow', operation: 'sync', role: 'segment', path, milliseconds: 60_000 },
  ]);
}

/** Hosts of the group in trouble write more than there is room for. */
async function fill({ simulation, random }: Campaign): Promise<void> {
  if (!simulation.isServing) return;
  const group = simulation.groups.get('alpha');
  if (group?.state !== 'normal') return;
  // Each host that waits holds memory that it receives into.
  const [count, bytes] = random.pick([
    [1, 4 * MiB],
    [1, 24 * MiB],
    [16, 8 * MiB],
    [60, 16 * MiB],
  ] as const);
  for (const volume of group.volumes.values()) {
    for (let host = 0; host < count && volume.state === 'normal'; host += 1) {
      simulation.hosts
        .connect('alpha', volume.catalog.name, {
          mix: { write: 60, fua: 0, flush: 1, trim: 1, zeroes: 1, read: 1, status: 1, cache: 1 },
          sizes: [1 * MiB, 256 * KiB],
          alignment: 512,
          hotBytes: 4 * MiB,
          depth: 64,
        })
        .work(random.pick([20, 100]), bytes / count);
    }
  }
  await simulation.pass(random.pick([10, 500, 3000]));
}

/** Whoever comes now is served, soon. */
async function expectServed({ simulation }: Campaign, name: string): Promise<void> {
  if (!simulation.isServing) return;
  const group = simulation.groups.get(name);
  const isNormal = (): boolean =>
    group?.state === 'normal' && [...group.volumes.values()].every(({ file }) => file);
  // A group that was full, or whose apply failed, goes on by itself.
  if ((await simulation.until(isNormal, 10_000)) === 'late') {
    simulation.fail(`group ${name} is ${group?.state}, ${group?.failureText}`);
  }
  if (!simulation.isServing) return;
  const host = simulation.hosts.connect(name, 'v1', {
    mix: { write: 10, fua: 3, flush: 1, trim: 1, zeroes: 1, read: 5, status: 1, cache: 1 },
    sizes: [4 * KiB, 64 * KiB],
    alignment: 512,
    hotBytes: 1 * MiB,
    depth: 4,
  });
  host.work(30, 1 * MiB);
  if ((await simulation.until(() => host.isIdle, 10_000)) === 'late') {
    simulation.fail(`a host of group ${name} waits for ${host.host.underWay} answers`);
  }
  simulation.hosts.disconnect(host);
}
