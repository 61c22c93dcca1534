import { pastUpdateAt, timeOf } from '../group/roles/update-at.ts';
import type { Volume } from '../group/apply/volume.ts';
import { standingRollback } from '../group/catalog/rollback.ts';
import type { Group } from '../group/order/group.ts';
import type { Rollbacks } from '../group/system/rollbacks.ts';
import type { System } from '../group/system/system.ts';
import type { RollbackEstimate } from '../group/volumes/rollback-estimate.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError } from '../platform/errors.ts';
import { formatSize } from '../platform/size-text.ts';
import type { Parameters, Result } from './schema.ts';
import type { VerbCall } from './verb-call.ts';

interface RollbackSources {
  readonly system: System;
  readonly disk: Disk;
  readonly rollbacks: Rollbacks;
}

type TakenBack = Pick<Result<'volume rollback'>, 'to' | 'volumes' | 'newer' | 'lost'>;

/** Carries out `volume rollback`. */
export async function rollBack(
  { system, disk, rollbacks }: RollbackSources,
  { target: { group: name, volume: wanted }, at, dryRun, force }: Parameters<'volume rollback'>,
  call: VerbCall,
): Promise<Result<'volume rollback'>> {
  const group = system.group(name);
  checkPrimary(group);
  const volume = wanted === undefined ? 'all' : findVolume(group, wanted);
  if (at === 'latest') return leave(group, rollbacks, dryRun === true, force === true);
  const number = await pastUpdateAt(disk, group, at);
  const estimate = await rollbacks.estimate(group, volume, number);
  const result = {
    group: name,
    ...(await takenBackBy(disk, group, estimate)),
    deleted: [...estimate.deleted],
    hosts: estimate.volumes.flatMap(({ sessions }) =>
      [...sessions].map(({ client }) => client.peer),
    ),
  };
  if (dryRun === true) return { result: 'would_be_done', ...result };
  if (force !== true) throw needsForce(result);
  const changed = await rollbacks.rollBack(group, estimate, {
    signal: call.signal,
    reached: (bytes, totalBytes) => call.progress({ bytes, totalBytes }),
  });
  return { result: changed ? 'done' : 'already_done', ...result };
}

/** What would not be there any more, of the group's history. */
export async function takenBackBy(
  disk: Disk,
  group: Group,
  { to, volumes, newer, bytes, atMilliseconds }: RollbackEstimate,
): Promise<TakenBack> {
  const updates = Math.max(0, group.watermarks.newest - to);
  const first = updates === 0 ? null : (atMilliseconds ?? (await timeOf(disk, group, to + 1)));
  const age = first === null ? 0 : group.clock.wallMilliseconds() - first;
  const lost = { updates, bytes, seconds: Math.max(0, age / 1000) };
  return { to, volumes: volumes.map(({ catalog }) => catalog.name), newer: [...newer], lost };
}

/** The way out where nothing can be shown that its volumes could go back to. */
async function leave(
  group: Group,
  rollbacks: Rollbacks,
  isDryRun: boolean,
  force: boolean,
): Promise<Result<'volume rollback'>> {
  const standing = standingRollback(group.catalog.volumes);
  const to = group.watermarks.newest;
  const lost = { updates: 0, bytes: 0, seconds: 0 };
  const nothing = { group: group.name, to, newer: [], lost, deleted: [], hosts: [] };
  if (!standing) return { result: 'already_done', ...nothing, volumes: [] };
  const volumes = [...group.volumes.values()]
    .filter(({ catalog }) => standing.volumes.includes(catalog.id))
    .map(({ catalog }) => catalog.name);
  if (isDryRun) return { result: 'would_be_done', ...nothing, volumes };
  if (!force) {
    throw new JnbdError(
      'confirmation_needed',
      `volumes ${volumes.join(', ')} of group ${group.name} would stay as they are, in part as of update ${standing.to} and in part as before their rollback: of no one instant; add --force`,
    );
  }
  const changed = await rollbacks.abandon(group);
  return { result: changed ? 'done' : 'already_done', ...nothing, volumes };
}

function needsForce({
  group,
  to,
  volumes,
  lost: { updates, bytes, seconds },
  hosts,
}: Omit<Result<'volume rollback'>, 'result'>): JnbdError {
  const out = hosts.length === 0 ? '' : `, and puts out ${hosts.join(', ')}`;
  return new JnbdError(
    'confirmation_needed',
    `rolling back ${volumes.map((name) => `${group}/${name}`).join(', ')} to update ${to} takes back what ${updates} updates of group ${group} wrote there (${formatSize(bytes)}, the last ${seconds.toFixed(1)}s)${out}; add --force`,
  );
}

function checkPrimary({ name, role }: Group): void {
  if (role === 'primary') return;
  const text = `group ${name} is ${role} here; its primary rolls it back, or promote it as of an earlier update: jnbd promote ${name} --at POSITION`;
  throw new JnbdError('state_refuses', text);
}

function findVolume(group: Group, name: string): Volume {
  const volume = group.volumes.get(name);
  if (volume && volume.catalog.preserves === undefined) return volume;
  throw new JnbdError('volume_not_found', `volume ${group.name}/${name} does not exist`);
}
