import { MiB } from '../../../src/platform/limits.ts';
import type { Campaign } from '../campaign.ts';
import type { FaultRule } from '../faults.ts';
import { secondDaemon } from '../second-daemon.ts';
import { stopBusy } from '../busy-stop.ts';
import type { Profile } from './profile.ts';

/** The daemon starts on a disk that fails, and ends in the middle of work. */
export const starts: Profile = {
  bytesMax: 8 * MiB,
  async setUp(campaign) {
    await campaign.createGroups(campaign.anyGroups());
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    const { machine, excuses } = simulation;
    await campaign.traffic(undefined, 50);
    if (random.chance(0.3)) await secondDaemon(campaign);
    if (simulation.isServing && random.chance(0.5)) await stopBusy(campaign);
    if (simulation.isServing || simulation.daemon.isDead) await campaign.end();
    if (random.chance(0.6)) {
      excuses.add('disk');
      machine.faults.add(anyError(campaign));
      await campaign.restart();
      await campaign.traffic(undefined, 20);
      await campaign.end();
      excuses.delete('disk');
    }
    await campaign.restart();
  },
};

function anyError({ random }: Campaign): FaultRule {
  const times = random.pick([1, 1, 5]);
  const nth = random.between(1, random.pick([1, 3, 10]));
  const rules: FaultRule[] = [
    { kind: 'read_error', operation: 'read', path: '/data/jnbd.json', times },
    { kind: 'read_error', operation: 'read', role: 'lock', times },
    { kind: 'read_error', operation: 'read', role: 'catalog', nth, times },
    { kind: 'read_error', operation: 'read', role: 'area', nth, times },
    { kind: 'read_error', operation: 'read', role: 'checkpoint', nth, times },
    { kind: 'sync_error', operation: 'sync', role: 'checkpoint', nth, times },
    { kind: 'read_error', operation: 'read', role: 'segment', nth, times },
    { kind: 'write_error', operation: 'write', role: 'segment', nth, times: 100 },
    { kind: 'sync_error', operation: 'sync', role: 'segment', nth, times: 100 },
    { kind: 'read_error', operation: 'read', role: 'volume', nth, times },
    { kind: 'write_error', operation: 'write', role: 'catalog', nth, times },
  ];
  return random.pick(rules);
}
