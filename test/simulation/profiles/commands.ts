import { MiB } from '../../../src/platform/limits.ts';
import type { Campaign } from '../campaign.ts';
import { changeGroups } from '../changes-of-groups.ts';
import { changeSomething } from '../changes-of-volumes.ts';
import type { FaultRule } from '../faults.ts';
import { importVolume } from '../imports.ts';
import type { Profile } from './profile.ts';

/** Volumes and groups are made and deleted on a disk that fails or is full. */
export const commands: Profile = {
  bytesMax: 8 * MiB,
  async setUp(campaign) {
    await campaign.createGroups(campaign.anyGroups());
  },
  async step(campaign) {
    const { simulation, random } = campaign;
    const { machine, excuses } = simulation;
    const { capacityBytes } = machine;
    await campaign.traffic(undefined, 20);
    if (random.chance(0.25)) await crashInImport(campaign);
    excuses.add('disk');
    if (random.chance(0.3)) {
      // Less than the journal of a group, or nothing at all.
      machine.capacityBytes = machine.allocatedBytes + random.pick([0, 20 * MiB]);
      excuses.add('space');
    } else {
      machine.faults.add(anyError(campaign));
    }
    for (let count = random.between(1, 4); count > 0; count -= 1) {
      if (random.chance(0.4)) await changeGroups(campaign);
      else await changeSomething(campaign);
    }
    // Long enough for a checkpoint.
    if (random.chance(0.3)) await simulation.pass(17_000);
    if (random.chance(0.5)) {
      // What a file lacks follows.
      machine.faults.clear();
      machine.capacityBytes = capacityBytes;
      await campaign.rest();
      await changeSomething(campaign);
    }
    machine.capacityBytes = capacityBytes;
    await campaign.end();
    excuses.delete('disk');
    excuses.delete('space');
    await campaign.restart();
    await deleteUnfinished(campaign);
  },
};

function anyError({ random }: Campaign): FaultRule {
  const times = random.pick([1, 3, 100]);
  const nth = random.between(1, random.pick([1, 3, 10]));
  const rules: FaultRule[] = [
    { kind: 'write_error', operation: 'write', role: 'catalog', nth, times },
    { kind: 'no_space', operation: 'write', role: 'catalog', nth, times },
    { kind: 'sync_error', operation: 'sync', role: 'catalog', nth, times },
    { kind: 'write_error', operation: 'write', role: 'area', nth, times },
    { kind: 'write_error', operation: 'write', role: 'segment', nth, times },
    { kind: 'sync_error', operation: 'sync', role: 'segment', nth, times },
    { kind: 'write_error', operation: 'write', role: 'volume', nth, times },
    { kind: 'sync_error', operation: 'sync', role: 'volume', nth, times },
    { kind: 'read_error', operation: 'read', role: 'import', nth, times },
    { kind: 'write_error', operation: 'entry', nth, times },
    { kind: 'sync_error', operation: 'sync_directory', nth, times },
  ];
  return random.pick(rules);
}

/** The volume that was being filled is half full after the restart, and the operator deletes it. */
async function crashInImport(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  const group = random.pick([...simulation.groups.values()]);
  if (group.state !== 'normal') return;
  const nth = random.between(1, 4);
  simulation.machine.faults.add({ kind: 'death', operation: 'read', role: 'import', nth });
  await importVolume(campaign, `${group.name}/i${simulation.clock.events}`);
  await campaign.end();
  await campaign.restart();
  await deleteUnfinished(campaign);
}

/** Imports that a crash interrupted. */
async function deleteUnfinished({ simulation }: Campaign): Promise<void> {
  if (!simulation.isServing) return;
  for (const group of simulation.groups.values()) {
    for (const { catalog, state } of group.volumes.values()) {
      if (state !== 'unused' || group.state !== 'normal') continue;
      await simulation.verb('volume-delete', { volume: `${group.name}/${catalog.name}` });
    }
  }
}
