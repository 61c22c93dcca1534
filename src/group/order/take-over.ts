import type { TakeOver } from '../catalog/catalog.ts';
import type { Group } from './group.ts';
import { forkOf, generationOf, type Lineage, lineageThrough } from '../catalog/lineage.ts';
import { changeRole } from '../catalog/states.ts';
import { followCommand, tailUpdates } from '../catalog/taken-over.ts';

/** The records that no other history has are kept for whoever wants them. */
const tailOwner = 'diverged tail';

/** A history of the group as another system tells it. */
export interface ToldHistory {
  readonly lineage: Lineage;
  /** The highest number there. */
  readonly newest: number;
}

/** Who told of it, and how to reach them. */
export interface Teller {
  readonly systemId: number;
  readonly name: string;
  readonly url: string | null;
  readonly groupName: string;
}

/** Whether another history has taken over, as that one tells. Undefined: none that is newer. */
export function takeOverBy(
  group: Group,
  told: ToldHistory,
  { systemId, name, url, groupName }: Teller,
): TakeOver | undefined {
  const generation = generationOf(told.lineage);
  if (generation <= generationOf(group.catalog.lineage)) return undefined;
  const fork = forkOf(group.catalog.lineage, group.watermarks.newest, told.lineage, told.newest);
  return { generation, fork, systemId, name, url, groupName };
}

/**
 * Another system is the primary: hosts write nothing here any more from this line on, though the catalog
 * may follow later (invariant 6). A crash before it did leaves a primary that has to ask again. What
 * stands behind the fork is kept until a command says what is to become of it (SAFETY 21).
 */
export function giveWay(group: Group, by: TakeOver): void {
  const { catalog } = group;
  const { takenOver: known } = catalog;
  if (group.role === 'diverged' && known?.generation === by.generation) return;
  const role = group.role === 'diverged' ? 'diverged' : changeRole(group.role, 'diverged');
  group.changes.replaceSoon({ ...catalog, role, takenOver: by });
  const reason = `system ${by.name} took over group ${group.name}`;
  for (const volume of group.volumes.values()) {
    for (const session of volume.sessions) session.client.revoke(reason);
  }
  group.hosts.wake();
  keepTail(group);
  raiseDiverged(group);
}

/** The role of a group that is opened: what that means is told again, and kept. */
export function resumeDiverged(group: Group): void {
  if (group.role !== 'diverged') return;
  keepTail(group);
  raiseDiverged(group);
}

/** It is something else from now on, by command. */
function clearDiverged(group: Group, text: string): void {
  group.retention.drop(tailOwner);
  group.conditions.clear(group.name, 'diverged', text);
  group.release();
}

/**
 * What follows another system from now on. A generation in which nothing was numbered here is no part of its
 * history: there the records of an older one may go on. Throws write_failed, disk_full, system errors.
 */
export function becomeSecondary(group: Group, text: string): void {
  const { catalog, watermarks } = group;
  const lineage = lineageThrough(catalog.lineage, watermarks.newest);
  const isSame = group.role === 'secondary' && lineage.length === catalog.lineage.length;
  if (!isSame)
    group.changes.replace({ ...catalog, role: 'secondary', takenOver: undefined, lineage });
  clearContests(group, text);
}

/** This system's generation is the newest again. */
export function clearContests(group: Group, text: string): void {
  clearDiverged(group, text);
  const names = group.followers.members.list().map(({ name }) => name);
  for (const name of names) {
    group.conditions.clear(`${group.name} ${name}`, 'two_primaries', text);
  }
}

/**
 * What stands behind `fork` is wanted until the journal begins anew, whoever lets go of it meanwhile. Throws
 * write_failed, disk_full, system errors.
 */
export function keepBehind(group: Group, fork: number): void {
  const { catalog } = group;
  const { takenOver } = catalog;
  if (takenOver && takenOver.fork > fork)
    group.changes.replace({ ...catalog, takenOver: { ...takenOver, fork } });
  keepTail(group, fork);
}

/** As before `keepBehind`. */
export function keepNoMore(group: Group): void {
  if (group.role !== 'diverged') clearDiverged(group, `group ${group.name} is ${group.role}`);
}

function keepTail(
  { catalog, retention, watermarks }: Group,
  fork = catalog.takenOver?.fork ?? watermarks.released,
): void {
  retention.drop(tailOwner);
  retention.set(tailOwner, Math.max(fork, watermarks.released));
}

function raiseDiverged(group: Group): void {
  const { name, catalog, conditions, watermarks } = group;
  const { takenOver } = catalog;
  if (!takenOver) return;
  const { generation, fork, name: other } = takenOver;
  const tail = tailUpdates(catalog, watermarks.newest);
  const what =
    tail === 0
      ? 'this system has nothing that is not there too'
      : `updates ${fork + 1} to ${watermarks.newest} are on this system only`;
  conditions.raise(name, {
    code: 'diverged',
    severity: 'error',
    message: `group ${name} went on as generation ${generation} on another system, says ${other}: hosts are refused here, and ${what}`,
    nextCommand: followCommand(catalog, watermarks.newest),
  });
}

/** Another system is primary too, in the same generation: one of them has to begin a newer one. */
export function isContested({ conditions }: Group): boolean {
  return conditions.list().some(({ code }) => code === 'two_primaries');
}
