import { type Branch, saveBranch } from '../../group/system/branches.ts';
import type { FollowerState } from '../follower/follower-states.ts';
import { regionsChanged } from '../../group/followers/changed-regions.ts';
import type { Group } from '../../group/order/group.ts';
import { type Lineage, lineageThrough, positionOf } from '../../group/catalog/lineage.ts';
import type { ShownContents } from '../../group/volumes/shown-contents.ts';
import { beginResync, settle } from '../../group/roles/resync.ts';
import type { System } from '../../group/system/system.ts';
import { keepBehind } from '../../group/order/take-over.ts';
import { must } from '../../platform/assert.ts';
import { JnbdError } from '../../platform/errors.ts';
import { formatSize } from '../../platform/size-text.ts';
import { MiB } from '../../platform/limits.ts';
import { hashUnitBytes, unitHashBytes } from '../../volume/unit-hashes.ts';
import type { RegionSet } from '../../volume/region-set.ts';
import { firstSourceOf, type SourceChoice } from '../peers/follow-request.ts';

import { type ComparisonDependencies, compareVolumes } from './volume-comparison.ts';
import { AdmissionRefused, type Registered, type Registration } from '../protocol/wire-json.ts';

export interface RewindDependencies {
  readonly system: System;
  /** Asks the source that is to be followed. Rejects with what it says. */
  readonly register: (
    wanted: Partial<Pick<Registration, 'position' | 'lineage' | 'compare'>>,
  ) => Promise<Registered>;
  /** Asked last: whether nothing else was done with the group meanwhile. */
  readonly isWanted: () => boolean;
  /** With it, what is not known any more is found out by hashes, and what is not there is not saved. */
  readonly comparison: Omit<ComparisonDependencies, 'isWanted' | 'compared'> | undefined;
}

export interface Rewound {
  /** Opened again. */
  readonly group: Group;
  readonly fork: number;
  /** What was the newest update before. */
  readonly newest: number;
  readonly branch: Branch | undefined;
  readonly regions: RegionSet;
  readonly sourceName: string;
}

/** Where the journal is to begin anew, and what comes as contents. */
interface WayBack {
  readonly origin: Registered;
  readonly through: number;
  readonly regions: RegionSet;
  /** Where all of the volumes were compared. */
  readonly compared?: ShownContents;
}

const settleMilliseconds = 20;

/** The last update that both have, of a source that has another history. Undefined: it refused for something else. */
export function forkTold(error: unknown): number | undefined {
  if (!(error instanceof AdmissionRefused) || error.code !== 'diverged') return undefined;
  return error.details.fork;
}

/** The source has not what comes next any more, and does not know what it changed. */
export function isReleased(error: unknown): boolean {
  return error instanceof JnbdError && error.code === 'position_released';
}

/** Only a comparison tells what is to come from the source. */
export function isToCompare(error: unknown): boolean {
  return isReleased(error) || (error instanceof JnbdError && error.code === 'contents_diverged');
}

/**
 * Goes back to where the histories of this system and of a source part, by the difference only: what
 * stands behind the fork is saved as a branch, and what it changed, or the source changed and has
 * released, comes from the source again (SAFETY 18, 19). Nobody appends to the group meanwhile.
 *
 * A crash before the journal begins anew leaves the group as it was, and at most the branch, which the
 * next attempt finds; behind it, a secondary that goes on by itself. Where the journal has released what
 * stands behind the fork, contents are compared, if that may be. Rejects with JnbdError: branch_no_room,
 * position_released, and what `beginResync` and the source say; then nothing has changed.
 */
export async function rewindGroup(
  deps: RewindDependencies,
  group: Group,
  next: SourceChoice,
): Promise<Rewound> {
  const { system, register, isWanted } = deps;
  await makeDurable(group);
  const { watermarks } = group;
  const { lineage } = group.catalog;
  const newest = watermarks.durable;
  const fork = await findFork(group, () => register({}));
  keepBehind(group, fork);
  const files = system.filesOf(group);
  const kept = lineageThrough(lineage, fork);
  const own = await changedBehind(group, fork, newest);
  checkKnown(group, fork, own, deps);
  const branch = await saveBranch({ disk: system.disk, clock: group.clock }, group, files, fork);
  const known = own && (await byOwnRecords(deps, group, own, kept, fork));
  const way = known ?? (await byComparison(deps, group, kept));
  const { origin, through, regions, compared } = way;
  const opened = await beginResync(system, group, {
    through,
    lineage: origin.lineage,
    catalog: origin.catalog,
    regions,
    compared,
    follow: { ...next, ...firstSourceOf(origin) },
    fork,
    isWanted: () => isWanted() && watermarks.newest === newest,
  });
  return { group: opened, fork, newest, branch, regions, sourceName: origin.name };
}

async function makeDurable(group: Group): Promise<void> {
  const { watermarks } = group;
  while (watermarks.durable < watermarks.newest) {
    if (group.state !== 'normal') {
      const text = `group ${group.name} is ${group.state}: ${group.failureText}`;
      throw new JnbdError('group_state', text);
    }
    group.journal.requestDurable();
    await new Promise<void>((resolve) => group.clock.after(settleMilliseconds, resolve));
  }
}

/** Asked again: what it said before may be old. */
async function findFork(group: Group, ask: () => Promise<unknown>): Promise<number> {
  try {
    await ask();
  } catch (error) {
    const fork = forkTold(error);
    if (fork === undefined) throw error;
    return fork;
  }
  const text = `group ${group.name} has the history of that system: it follows without --rewind`;
  throw new JnbdError('state_refuses', text);
}

/** Throws position_released: what was done behind the fork is not known any more, and may not be compared. */
function checkKnown(
  group: Group,
  fork: number,
  own: RegionSet | undefined,
  deps: RewindDependencies,
): void {
  if (own || deps.comparison) return;
  const { name, watermarks } = group;
  throw new JnbdError(
    'position_released',
    `group ${name} has released updates up to ${watermarks.released}: which regions those behind ${fork} changed is not known, and updates ${fork + 1} to ${watermarks.released} are in no branch; ${compareText(group)}`,
  );
}

/** So fast two systems read and hash at the least, where nothing else keeps them busy. */
const comparedBytesPerSecond = 200 * MiB;

/** What to type instead, what that reads, and how long it takes. */
function compareText({ volumes }: Group): string {
  const bytes = [...volumes.values()]
    .filter(({ catalog }) => !catalog.journalOnly)
    .reduce((sum, { catalog }) => sum + catalog.sizeBytes, 0);
  const seconds = Math.ceil(bytes / comparedBytesPerSecond);
  const time = seconds < 120 ? `${seconds} seconds` : `${Math.ceil(seconds / 60)} minutes`;
  const hashes = formatSize(Math.ceil(bytes / hashUnitBytes) * unitHashBytes);
  return `type --rewind --compare to find out by hashes: both systems read all of their volumes, up to ${formatSize(bytes)} each (about ${time} or less), and ${hashes} of hashes go over the link, then what differs`;
}

/**
 * What this system's own updates behind the fork changed: from its journal, and of what that has not any more
 * from what was noted for followers. Undefined: it is not known.
 */
async function changedBehind(
  group: Group,
  fork: number,
  newest: number,
): Promise<RegionSet | undefined> {
  const { watermarks, followers } = group;
  if (fork >= watermarks.released) return regionsChanged(group, fork, newest);
  const noted = followers.maps.changedBehind(fork);
  if (!noted) return undefined;
  const regions = await regionsChanged(group, noted.through, newest);
  regions.addAll(noted.regions);
  return regions;
}

/** `regions`, and what the source changed and has released. Undefined: the source does not know, and it may be compared. */
async function byOwnRecords(
  { register, comparison }: RewindDependencies,
  group: Group,
  regions: RegionSet,
  kept: Lineage,
  fork: number,
): Promise<WayBack | undefined> {
  const position = positionOf(kept, fork);
  const origin = await register({ position, lineage: [...kept] }).catch((error: unknown) => {
    if (!(error instanceof JnbdError) || !isReleased(error)) throw error;
    if (comparison) return undefined;
    const text = `the source does not know what changed there behind update ${fork}: ${error.message}`;
    throw new JnbdError('position_released', `${text}; ${compareText(group)}`);
  });
  if (!origin) return undefined;
  for (const [volume, offset, length] of origin.resync?.regions ?? []) {
    regions.add(volume, offset, length);
  }
  return { origin, through: origin.resync?.through ?? origin.from, regions };
}

async function byComparison(
  { register, comparison, isWanted }: RewindDependencies,
  group: Group,
  kept: Lineage,
): Promise<WayBack> {
  const origin = await register({ position: null, lineage: [...kept], compare: true });
  await settle(group);
  const compared = (): void => undefined;
  const deps = { ...must(comparison, 'it may be compared'), isWanted, compared };
  const { regions, contents } = await compareVolumes(group, origin.catalog.volumes, deps);
  return { origin, through: origin.from, regions, compared: contents };
}

export function rewoundText({ group, fork, newest, branch, regions, sourceName }: Rewound): string {
  const kept = branch ? `; branch ${branch.name} has updates ${branch.first} to ${newest}` : '';
  return `group ${group.name} went back from update ${newest} to ${fork} and follows system ${sourceName} by ${formatSize(regions.bytes)} in ${regions.count} regions${kept}`;
}

/** For who did not say that it may go back. */
export function withoutRewind(group: Group, fork: number, { code, message }: JnbdError): JnbdError {
  const { newest } = group.watermarks;
  return new JnbdError(
    code,
    `${message}; updates ${fork + 1} to ${newest} are on this system only: --rewind saves them as a branch and goes back to ${fork}`,
  );
}

/**
 * Whether the source's history may not go on where this system's does: who asks for a rewind then is not told that
 * nothing is to be done.
 */
export function mayNotFit(state: FollowerState | undefined): boolean {
  return state === 'registering' || state === 'waiting' || state === 'refused';
}
