import type { Campaign } from './campaign.ts';

const name = 'gamma';

/** Makes a group, or deletes it with all that is in it. */
export async function changeGroups(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  const group = simulation.groups.get(name);
  if (!group) {
    const shape = { name, areas: random.pick([0, 1]), volumes: campaign.anyVolumes() };
    await campaign.createGroups([shape]);
    return;
  }
  for (const host of simulation.hosts) {
    if (host.group === name) simulation.hosts.disconnect(host);
  }
  if ((await simulation.pass(5)) !== 'done') return;
  // From here on a crash may leave it, or not.
  simulation.restarts.groupNames.delete(name);
  const result = await simulation.verb('group-delete', { group: name, force: true });
  if (result === 'dead') return;
  if (simulation.groups.get(name) === group) simulation.restarts.groupNames.add(name);
  else if (result === 'done') simulation.tap.models.delete(group.catalog.groupId);
  else {
    const model = simulation.tap.models.get(group.catalog.groupId);
    if (model) model.isForgotten = true;
  }
  const left = [`/data/groups/${name}`, ...group.areas.map(({ path }) => path)].filter(
    (path) => simulation.machine.tree.find(path) !== undefined,
  );
  if (result === 'done' && left.length > 0) simulation.fail(`deleted are not ${left.join(', ')}`);
}
