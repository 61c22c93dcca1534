import { MiB } from '../../../src/platform/limits.ts';
import type { Campaign } from '../campaign.ts';
import type { FaultRule } from '../faults.ts';
import type { Profile } from './profile.ts';

/** Writes and syncs fail. */
export const errors: Profile = {
  bytesMax: 16 * MiB,
  async setUp(campaign) {
    await campaign.createGroups(campaign.anyGroups());
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    const { faults } = simulation.machine;
    if (random.chance(0.5)) await campaign.traffic();
    if (random.chance(0.15)) {
      await failJournals(campaign);
      return;
    }
    if (random.chance(0.2)) {
      await failCheckpoints(campaign);
      return;
    }
    for (let count = random.between(1, 2); count > 0; count -= 1) {
      simulation.excuses.add('disk');
      faults.add(anyError(campaign));
    }
    await campaign.traffic();
    await campaign.rest();
    if (random.chance(0.5)) await campaign.traffic();
    if (random.chance(0.3)) simulation.machine.dropCache();
    if (random.chance(0.3)) {
      faults.clear();
      await campaign.rest();
    }
    const isFailed =
      simulation.isServing &&
      [...simulation.groups.values()].some(({ state }) => state === 'abnormal');
    await campaign.end(isFailed ? 'kill' : undefined);
    if (random.chance(0.2)) faults.add(anyError(campaign));
    else simulation.excuses.delete('disk');
    await campaign.restart();
    if (isFailed && random.chance(0.5)) {
      // What the page cache shows may be all there is of it.
      await campaign.end('power');
      simulation.excuses.delete('disk');
      await campaign.restart();
    }
  },
};

/** No area can be written any more: what was not durable is gone with the page cache. */
async function failJournals(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const { faults } = simulation.machine;
  if (!simulation.isServing) return;
  simulation.excuses.add('disk');
  campaign.connectHosts({
    ...campaign.anyWorkload(),
    mix: { write: 40, fua: 0, flush: 3, trim: 5, zeroes: 5, read: 40, status: 3, cache: 1 },
  });
  for (const host of simulation.hosts) host.work(60, 1 * MiB);
  await simulation.pass(random.fraction() * 3);
  const operation = random.pick(['sync', 'write'] as const);
  const kind = operation === 'sync' ? 'sync_error' : 'write_error';
  faults.add({ kind, operation, role: 'segment', nth: 1, times: 1000 });
  await simulation.hostsDone();
  if (random.chance(0.5)) simulation.machine.dropCache();
  // These are still connected, and read what can be read.
  for (const host of simulation.hosts) host.work(60, 1 * MiB);
  if (simulation.isServing) await simulation.hostsDone();
  await campaign.end(random.pick(['kill', 'power']));
  await campaign.restart();
  await campaign.end('power');
  simulation.excuses.delete('disk');
  await campaign.restart();
}

/** A checkpoint that its sync did not bring to the device is all that the next life is to see of it. */
async function failCheckpoints(campaign: Campaign): Promise<void> {
  const { simulation } = campaign;
  for (let life = 0; life < 3; life += 1) {
    await campaign.traffic(undefined, 5);
    await simulation.pass(500);
    await campaign.end('kill');
    await campaign.restart();
  }
  if (!simulation.isServing) return;
  simulation.excuses.add('disk');
  for (const name of simulation.groups.keys()) {
    const path = `/data/groups/${name}/checkpoint`;
    // The first sync is of what was there before.
    const rule = { operation: 'sync', role: 'checkpoint', path, nth: 2, times: 100 } as const;
    simulation.machine.faults.add({ kind: 'sync_error', ...rule });
  }
  await campaign.traffic();
  // The next attempt may bring it there.
  const isFailed = (): boolean =>
    [...simulation.groups.values()].some(({ name, conditions }) =>
      conditions.has(`checkpoint of ${name}`, 'volume_failed'),
    );
  await simulation.until(isFailed, 17_000);
  await campaign.end('kill');
  simulation.excuses.delete('disk');
  await campaign.restart();
  await campaign.traffic();
}

function anyError(campaign: Campaign): FaultRule {
  const { random } = campaign;
  const times = random.pick([1, 1, 3]);
  const nth = random.between(1, random.pick([1, 4, 20]));
  const rules: FaultRule[] = [
    { kind: 'sync_error', operation: 'sync', role: 'segment', nth, times },
    { kind: 'sync_error', operation: 'sync', role: 'segment', nth, times },
    { kind: 'write_error', operation: 'write', role: 'segment', nth, times },
    { kind: 'write_error', operation: 'write', role: 'volume', nth, times },
    { kind: 'sync_error', operation: 'sync', role: 'volume', nth, times: 1 },
    { kind: 'read_error', operation: 'read', role: 'segment', nth, times },
    { kind: 'read_error', operation: 'read', role: 'volume', nth, times },
    { kind: 'sync_error', operation: 'sync', role: 'checkpoint', nth: 1, times: 1 },
    { kind: 'write_error', operation: 'write', role: 'checkpoint', nth: 1, times: 1 },
    { kind: 'no_space', operation: 'write', role: 'volume', nth, times },
  ];
  return random.pick(rules);
}
