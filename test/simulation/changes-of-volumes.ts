import type { Group } from '../../src/group/order/group.ts';
import { shownVolumes, type Volume } from '../../src/group/apply/volume.ts';
import { KiB } from '../../src/platform/limits.ts';
import type { Campaign } from './campaign.ts';
import { importVolume } from './imports.ts';
import { secondDaemon } from './second-daemon.ts';

type Refusal = readonly [verb: string, input: Record<string, unknown>, code: string];

/** Creates, fills, grows or deletes a volume, or tries what must be refused. */
export async function changeSomething(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  const groups = [...simulation.groups.values()];
  const group = groups.length > 0 ? random.pick(groups) : undefined;
  if (!group || group.state !== 'normal') return;
  const volumes = shownVolumes(group.volumes);
  const volume = volumes.length > 0 ? random.pick(volumes) : undefined;
  const name = `${group.name}/n${simulation.clock.events}-${random.int(1000)}`;
  const what = random.pick(['create', 'create', 'resize', 'delete', 'import', 'refused', 'second']);
  if (what === 'create') {
    await simulation.verb('volume-create', { volume: name, size: '256KiB' });
  } else if (what === 'import') {
    await importVolume(campaign, name);
  } else if (what === 'second') {
    await secondDaemon(campaign);
  } else if (!volume) {
    return;
  } else if (what === 'resize') {
    await growVolume(campaign, group, volume);
  } else if (what === 'delete') {
    if (volumes.length > 1) await deleteVolume(campaign, group, volume);
  } else {
    const [verb, input, code] = random.pick(refusals(group, volume));
    await simulation.verb(verb, input, code);
  }
}

async function growVolume(
  { simulation, random }: Campaign,
  group: Group,
  { catalog, state }: Volume,
): Promise<void> {
  if (state === 'unused') return;
  const size = catalog.sizeBytes + random.pick([512, 64 * KiB, 300 * KiB]);
  await simulation.verb('volume-resize', {
    volume: `${group.name}/${catalog.name}`,
    size: String(size),
  });
}

export async function deleteVolume(
  campaign: Campaign,
  group: Group,
  { catalog, state }: Volume,
): Promise<void> {
  const { simulation } = campaign;
  for (const host of simulation.hosts) {
    if (host.group === group.name && host.volume === catalog.name)
      simulation.hosts.disconnect(host);
  }
  if ((await simulation.pass(5)) !== 'done') return;
  const isPreserved = isInSnapshot(group, catalog.id);
  const input = {
    volume: `${group.name}/${catalog.name}`,
    ...(state === 'unused' ? {} : { force: true }),
  };
  await simulation.verb('volume-delete', input, isPreserved ? 'state_refuses' : undefined);
}

function isInSnapshot({ snapshots }: Group, id: number): boolean {
  return snapshots.living.some(({ areas }) => areas.some(({ volume }) => volume === id));
}

function refusals(group: Group, { catalog, sessions, state }: Volume): Refusal[] {
  const volume = `${group.name}/${catalog.name}`;
  const size = String(catalog.sizeBytes + 512);
  const all: Refusal[] = [
    ['volume-create', { volume, size }, 'exists_differently'],
    ['volume-create', { volume: `${volume}-odd`, size: '511' }, 'argument_invalid'],
    ['volume-create', { volume: `${volume}-none`, from: '/not-there' }, 'source_unreadable'],
    ['volume-create', { volume: 'nobody/v', size }, 'group_not_found'],
    ['group-delete', { group: group.name }, 'group_not_empty'],
    ['volume-resize', { volume: `${group.name}/none`, size }, 'volume_not_found'],
  ];
  if (state === 'unused') return all;
  const isPreserved = isInSnapshot(group, catalog.id);
  const unused = isPreserved ? 'state_refuses' : 'confirmation_needed';
  const deletionRefusal = sessions.size > 0 ? 'volume_in_use' : unused;
  return [
    ...all,
    ['volume-resize', { volume, size: '512' }, 'volume_shrink'],
    ['volume-delete', { volume }, deletionRefusal],
  ];
}
