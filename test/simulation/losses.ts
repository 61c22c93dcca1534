import type { Campaign } from './campaign.ts';

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
  const move = (from: string, to: string): void => {
    machine.faults.without(() => {
      const disk = machine.attach();
      disk.renameSync(from, to);
      disk.syncDirectorySync('/');
      disk.syncDirectorySync('/areas');
      disk.kill();
    });
  };
  simulation.note(`area ${name} vanishes`);
  simulation.counter.count('area vanished');
  move(`/areas/${name}`, `/${name}`);
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
  move(`/${name}`, `/areas/${name}`);
  simulation.note(`area ${name} is back`);
  simulation.excuses.damage.delete('alpha');
  simulation.excuses.delete('start');
  await campaign.restart();
}
