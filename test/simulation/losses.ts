import { dirname } from 'node:path';
import type { Campaign } from './campaign.ts';
import { deleteVolume } from './changes-of-volumes.ts';

/** Moves a file or directory where nobody looks for it, or back. */
function move({ simulation }: Campaign, from: string, to: string): void {
  const { machine } = simulation;
  machine.faults.without(() => {
    const disk = machine.attach();
    disk.renameSync(from, to);
    disk.syncDirectorySync(dirname(from));
    disk.syncDirectorySync(dirname(to));
    disk.kill();
  });
}

/** A volume's file is not there for a while; its records must be when it is back. */
export async function loseVolume(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const { machine, excuses } = simulation;
  const directory = '/data/groups/alpha/volumes';
  const node = machine.tree.find(directory);
  const names = node?.isDirectory ? [...node.entries.keys()] : [];
  if (names.length === 0) {
    await campaign.restart();
    return;
  }
  const path = `${directory}/${random.pick(names)}`;
  simulation.note(`${path} vanishes`);
  move(campaign, path, '/vanished');
  // What is in the journal for it stops apply, and in the end everybody.
  excuses.add('volume');
  excuses.add('stall');
  if ((await simulation.start()) === 'serving') {
    await campaign.traffic();
    if (random.chance(0.5)) await campaign.rest();
    const group = simulation.isServing ? simulation.groups.get('alpha') : undefined;
    const volume = [...(group?.volumes.values() ?? [])].find(({ state }) => state === 'abnormal');
    const isDeleted = random.chance(0.3);
    // One whose journal is full takes no change either.
    if (isDeleted && volume && group?.state === 'normal') {
      await deleteVolume(campaign, group, volume);
    }
    await campaign.end();
  }
  move(campaign, '/vanished', path);
  simulation.note(`${path} is back`);
  excuses.delete('volume');
  excuses.delete('stall');
  await campaign.restart();
}

/** A directory of the journal is not there for a while. */
export async function loseArea(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  const { machine } = simulation;
  const areas = machine.tree.find('/areas');
  const names = areas?.isDirectory ? [...areas.entries.keys()] : [];
  const name = names.length > 0 ? random.pick(names) : undefined;
  if (!name) {
    await campaign.restart();
    return;
  }
  simulation.note(`area ${name} vanishes`);
  simulation.counter.count('area vanished');
  move(campaign, `/areas/${name}`, `/${name}`);
  simulation.excuses.damage.set('alpha', 'maybe');
  simulation.excuses.add('start');
  // What was not durable may be gone with it: nothing else could know of it.
  simulation.restarts.expectDurableOnly();
  const result = await simulation.start();
  if (result === 'serving') {
    if (random.chance(0.7)) {
      await campaign.traffic();
      if (random.chance(0.3)) await campaign.rest();
    }
    await campaign.end();
  }
  move(campaign, `/${name}`, `/areas/${name}`);
  simulation.note(`area ${name} is back`);
  simulation.excuses.damage.delete('alpha');
  simulation.excuses.delete('start');
  await campaign.restart();
}
