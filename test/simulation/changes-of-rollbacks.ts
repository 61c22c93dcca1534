import { shownVolumes } from '../../src/group/apply/volume.ts';
import { standingRollback } from '../../src/group/catalog/rollback.ts';
import type { Group } from '../../src/group/order/group.ts';
import { must } from '../../src/platform/assert.ts';
import type { Campaign } from './campaign.ts';

/** Where the past has gone meanwhile, or cannot be read any more, nothing has changed. */
const possibleCodes: readonly string[] = ['state_refuses', 'read_failed', 'record_unreadable'];

/** Brings a volume, or all, of some group back to an instant that can be shown; or begins to. */
export async function rollBack(campaign: Campaign): Promise<void> {
  const { simulation, random } = campaign;
  if (!simulation.isServing) return;
  const group = random.pick([...simulation.groups.values()]);
  if (!group || group.state !== 'normal' || isRollingBack(group)) return;
  const stored = shownVolumes(group.volumes).filter(
    ({ catalog, state }) => state === 'normal' && !catalog.journalOnly,
  );
  const at = positionIn(campaign, group);
  if (stored.length === 0 || at === undefined) return;
  const only = random.chance(0.3) ? `/${random.pick(stored).catalog.name}` : '';
  campaign.disconnectHosts();
  const input = { target: `${group.name}${only}`, at, force: true };
  const { control } = simulation.daemon.composed;
  const call = { signal: new AbortController().signal, progress: () => undefined };
  const ending = control.change('/verbs/volume-rollback', input, call);
  simulation.counter.count('rollback asked for');
  if (random.chance(0.4)) {
    // Whatever becomes of it: the daemon ends soon.
    ending.catch(() => undefined);
    await simulation.pass(random.fraction() * random.pick([2, 10, 40]));
    return;
  }
  const result = await simulation.settled(ending);
  if (result === 'late') simulation.fail(`the rollback of ${group.name} to ${at} does not end`);
  if (result === 'dead' || result === 'late') return;
  if (!('error' in result)) {
    simulation.counter.count('rollback done');
    await campaign.verify();
    return;
  }
  const { code } = simulation.operatingError(result.error, `the rollback of ${group.name}`);
  const { excuses } = simulation;
  if (!possibleCodes.includes(code) && !excuses.has('disk') && !excuses.has('space'))
    simulation.fail(`the rollback of ${group.name} to ${at}: ${String(result.error)}`);
  simulation.counter.count('rollback not possible');
}

function positionIn({ simulation, random }: Campaign, group: Group): string | undefined {
  const { living } = group.snapshots;
  const snapshots = living.filter(({ number }) => number <= group.catalog.number);
  if (snapshots.length > 0 && random.chance(0.4)) return `snapshot:${random.pick(snapshots).name}`;
  const model = simulation.tap.models.get(group.catalog.groupId);
  const kept = group.views.history.from ?? Number.POSITIVE_INFINITY;
  const from = Math.max(kept, model?.base.number ?? 0);
  const { answerable } = group.replies.gate;
  return from < answerable ? String(random.between(from, answerable)) : undefined;
}

/** Behind a start: what has begun keeps hosts out, and ends. */
export async function finishRollbacks(campaign: Campaign): Promise<void> {
  const { simulation } = campaign;
  for (let life = 0; life < 10; life += 1) {
    if (!simulation.isServing) return;
    await checkShut(campaign);
    const outcome = await simulation.until(
      () =>
        ![...simulation.groups.values()].some((group) => isServed(group) && isRollingBack(group)),
    );
    if (outcome === 'done') return;
    if (outcome === 'late') simulation.fail('a rollback does not go on');
    await campaign.end('kill');
    await campaign.restart();
  }
}

/** By what the journal says, which need not be what the daemon knows. */
async function checkShut({ simulation, random }: Campaign): Promise<void> {
  for (const group of simulation.groups.values()) {
    const model = simulation.tap.models.get(group.catalog.groupId);
    if (!model || !isServed(group)) continue;
    for (const { catalog } of model.current.volumes.values()) {
      if (!catalog.rollback || !random.chance(0.7)) continue;
      simulation.counter.count('rollback found begun');
      const { plan } = catalog.rollback;
      const isStanding = (): boolean =>
        model.current.volumes.get(catalog.id)?.catalog.rollback?.plan === plan;
      const host = simulation.hosts.connect(group.name, catalog.name, readingOnly);
      await simulation.until(() => host.host.isReady || host.host.isClosed || !isStanding());
      if (!simulation.isServing) return;
      if (host.host.isReady && isStanding())
        simulation.fail(
          `a host was let in on volume ${group.name}/${catalog.name}, which is on its way back to update ${must(catalog.rollback, 'it is').to}`,
        );
      simulation.hosts.disconnect(host);
    }
  }
}

function isServed(group: Group): boolean {
  return group.state === 'normal';
}

export function isRollingBack(group: Group): boolean {
  const isShut = [...group.volumes.values()].some(({ rollsBackTo }) => rollsBackTo !== undefined);
  return isShut || standingRollback(group.catalog.volumes) !== undefined;
}

const readingOnly = {
  mix: { write: 0, fua: 0, flush: 0, trim: 0, zeroes: 0, read: 1, status: 0, cache: 0 },
  sizes: [4096],
  alignment: 1,
  hotBytes: 4096,
  depth: 1,
};
