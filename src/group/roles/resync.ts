import type { Disk } from '../../platform/disk.ts';
import { JnbdError, refusedBySystem } from '../../platform/errors.ts';
import { mapRangeOf } from '../../volume/area-layout.ts';
import { dropPreserved } from '../../volume/preserved-blocks.ts';
import { RegionSet } from '../../volume/region-set.ts';
import type { Catalog, CatalogVolume } from '../catalog/catalog.ts';
import type { ConsistentState, FollowedSource } from '../catalog/follow-file.ts';
import type { Group } from '../order/group.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { isIncomplete } from '../volumes/missing-contents.ts';
import { partedContents, type ShownContents, stillShown } from '../volumes/shown-contents.ts';
import {
  agreesAt,
  extendLineage,
  generationOf,
  type Lineage,
  lineageThrough,
  positionOf,
} from '../catalog/lineage.ts';
import type { RestartPlan } from '../system/restart-journal.ts';
import { readRegions, writeRegions } from '../catalog/resync-files.ts';
import type { System } from '../system/system.ts';
import { timeOf } from './update-at.ts';

/** What a follower goes on from that its source's journal alone does not bring up to date. */
export interface ResyncOrigin {
  /** The journal goes on behind this number of the source's history. */
  readonly through: number;
  /** The source's. */
  readonly lineage: Lineage;
  /** The source's; as of `through`, or later. */
  readonly catalog: Pick<
    Catalog,
    'number' | 'nextVolumeId' | 'volumes' | 'snapshots' | 'snapshotSchedule'
  >;
  /**
   * All in which a volume here may differ from what the source has, or had at `through`. Volumes that
   * are not here, and what is larger there, need not be named.
   */
  readonly regions: RegionSet;
  /** All volumes were compared: what they may show where they are what the source has, whatever they showed before. */
  readonly compared?: ShownContents | undefined;
  /** What followers have behind this number is not of the source's history. */
  readonly fork?: number;
  readonly follow: FollowedSource;
  /** Asked last, before the first change. */
  readonly isWanted?: () => boolean;
}

const settleMilliseconds = 20;

/**
 * Begins a resync: everything that the journal has is applied, then the journal begins anew behind
 * `through`, with the source's history, and from then on the follower of the group, which whoever calls
 * this starts, asks for the regions' contents. What they replace is preserved, so that the group can be
 * made what it was. Own followers come back by the same difference. Nobody appends to the journal meanwhile.
 *
 * Resolves with the group, opened again. Rejects with JnbdError (state_refuses, group_state, write_failed,
 * disk_full, sync_failed), and then nothing has changed.
 */
export async function beginResync(
  system: System,
  group: Group,
  origin: ResyncOrigin,
): Promise<Group> {
  await settle(group);
  checkBeginning(group, origin);
  checkWanted(group, origin);
  const files = system.filesOf(group);
  const { follow } = group;
  if (!follow.state?.resync) forgetEarlier(system.disk, files);
  const regions = wantedRegions(system.disk, files, group, origin);
  const { volumes } = origin.catalog;
  const here = new Set(group.catalog.volumes.map(({ id }) => id));
  const consistentAt = await consistentStateOf(system.disk, group);
  for (const { id } of consistentAt?.volumes ?? []) here.add(id);
  const { through } = origin;
  const lineage = lineageThrough(origin.lineage, through);
  await group.followers.leaveBehindWith(regions, positionOf(lineage, through), origin.fork);
  checkWanted(group, origin);
  writeRegions(system.disk, files, regions);
  // What complete volumes showed once is applied.
  const known = isIncomplete(group) ? stillShown(follow.state ?? { shows: 0 }, group) : undefined;
  const contents = origin.compared ?? known;
  // As it is now: settings may have changed meanwhile.
  const { catalog } = group;
  const isSettled = generationOf(lineage) > generationOf(catalog.lineage);
  const plan: RestartPlan = {
    number: through,
    catalog: {
      ...catalog,
      role: 'secondary',
      takenOver: undefined,
      // The source's latest word on it may be among what is left out: it says so again.
      protection: undefined,
      markers: undefined,
      handedOver: isSettled ? undefined : catalog.handedOver,
      lineage,
      number: origin.catalog.number,
      nextVolumeId: origin.catalog.nextVolumeId,
      volumes,
      snapshots: origin.catalog.snapshots,
      snapshotSchedule: origin.catalog.snapshotSchedule,
    },
    follow: {
      formatVersion: 1,
      ...origin.follow,
      copies: [],
      shows: Math.max(through, contents?.shows ?? 0),
      shown: contents?.shown,
      resync: { consistentAt, through },
    },
    made: volumes
      .filter(({ id, journalOnly }) => !journalOnly && !here.has(id))
      .map(({ id }) => id),
  };
  return system.restartGroup(group, plan);
}

/**
 * What makes a group what it was before its resync began, and its primary, in a new generation. Undefined:
 * it was of no one instant.
 */
export function planRollBack(group: Group, systemId: number): RestartPlan | undefined {
  const consistent = group.follow.state?.resync?.consistentAt;
  if (!consistent) return undefined;
  const { number, lineage, catalogNumber, nextVolumeId, volumes, snapshots } = consistent;
  const { catalog } = group;
  const known = Math.max(
    generationOf(catalog.lineage),
    generationOf(lineage),
    catalog.takenOver?.generation ?? 0,
  );
  const stretch = {
    generation: known + 1,
    system: systemId,
    incarnation: group.incarnation,
    firstNumber: number + 1,
  };
  return {
    number,
    catalog: {
      ...catalog,
      protection: undefined,
      markers: undefined,
      holdsApply: undefined,
      role: 'primary',
      takenOver: undefined,
      handedOver: undefined,
      lineage: extendLineage(lineage, stretch),
      number: catalogNumber,
      nextVolumeId,
      volumes,
      snapshots,
    },
    follow: null,
    made: [],
    putBack: volumes
      .filter(({ journalOnly }) => !journalOnly)
      .map(({ id, sizeBytes }) => ({ id, sizeBytes })),
  };
}

function checkBeginning(group: Group, origin: ResyncOrigin): void {
  const { catalog, watermarks } = group;
  if (catalog.journalOnly) {
    throw new JnbdError(
      'state_refuses',
      `group ${group.name} keeps the journal alone here, and has no contents to bring up to date: give it up by jnbd group delete ${group.name} --force, then jnbd follow ${group.name} --from URL --journal-only`,
    );
  }
  const position = positionOf(catalog.lineage, watermarks.newest);
  if (!isIncomplete(group)) return;
  const told = { lineage: origin.lineage, newest: origin.through };
  const isKnown = origin.compared !== undefined || partedContents(group, told) === undefined;
  if (isKnown && agreesAt(origin.lineage, position)) return;
  throw new JnbdError(
    'state_refuses',
    `the volumes of group ${group.name} are of no one instant, and system ${origin.follow.sourceName} has another history: what they show of the old one is not known`,
  );
}

function checkWanted({ name }: Group, { isWanted }: ResyncOrigin): void {
  if (isWanted?.() !== false) return;
  throw new JnbdError('state_refuses', `group ${name} is not to be resynced any more`);
}

/** Everything that the journal has is in the volumes, on the device. Rejects with group_state, sync_failed. */
export function settle(group: Group): Promise<void> {
  return group.cuts.applyingAll(() => settleAll(group));
}

async function settleAll(group: Group): Promise<void> {
  const { watermarks, replies } = group;
  // Whether the source has it too does not matter any more: it stays, or is replaced by what the source has.
  replies.confirmAll();
  for (;;) {
    if (group.state !== 'normal') {
      const text = `group ${group.name} is ${group.state}: ${group.failureText}`;
      throw new JnbdError('group_state', text);
    }
    const { driver, journal } = group;
    const { applied, durable, newest } = watermarks;
    if (driver.isDone && applied === newest && !group.changes.isFileBehind) break;
    if (durable < newest) journal.requestDurable();
    driver.applyNow();
    await new Promise<void>((resolve) => group.clock.after(settleMilliseconds, resolve));
  }
  const failure = await new Promise<string | undefined>((done) => group.driver.sync(done));
  if (failure !== undefined) throw new JnbdError('sync_failed', failure);
}

/** What an earlier resync preserved, and could not remove, must not pass for what volumes hold now. */
function forgetEarlier(disk: Disk, files: GroupFiles): void {
  try {
    dropPreserved(disk, files.preserved);
  } catch (error) {
    throw refusedBySystem(error, 'write_failed', `cannot remove ${files.preserved}`) ?? error;
  }
}

/** Of the one before, where a resync is under way. */
async function consistentStateOf(disk: Disk, group: Group): Promise<ConsistentState | null> {
  const { catalog, watermarks } = group;
  const { state } = group.follow;
  if (state?.resync) return state.resync.consistentAt;
  if (isIncomplete(group)) return null;
  const { lineage, number: catalogNumber, nextVolumeId, volumes, snapshots } = catalog;
  const number = watermarks.applied;
  const atMilliseconds = await timeOf(disk, group, number);
  return { number, atMilliseconds, lineage, catalogNumber, nextVolumeId, volumes, snapshots };
}

/** With what an earlier resync, or a copy, has still to bring. */
function wantedRegions(
  disk: Disk,
  files: GroupFiles,
  { follow, catalog }: Group,
  origin: ResyncOrigin,
): RegionSet {
  const { state } = follow;
  const regions = new RegionSet();
  regions.addAll(origin.regions);
  if (state?.resync) regions.addAll(readRegions(disk, files, catalog.volumes).regions);
  const own = new Map(catalog.volumes.map((volume) => [volume.id, volume]));
  for (const { volume, address } of state?.copies ?? []) {
    addPart(regions, volume, address, own.get(volume)?.sizeBytes ?? 0);
  }
  addMaps(regions, catalog.volumes);
  addMaps(regions, origin.catalog.volumes);
  const there = new Map(origin.catalog.volumes.map((volume) => [volume.id, volume]));
  for (const id of regions.volumes()) if (!there.has(id)) regions.forget(id);
  for (const volume of there.values()) {
    if (volume.journalOnly) regions.forget(volume.id);
    else addPart(regions, volume.id, storedBytes(own.get(volume.id)), volume.sizeBytes);
    regions.clip(volume.id, volume.sizeBytes);
  }
  return regions;
}

/** Where blocks of an area may differ, what says which of them are there may differ too. */
function addMaps(regions: RegionSet, volumes: readonly CatalogVolume[]): void {
  const areas = new Map(volumes.map(({ id, preserves }) => [id, preserves?.dataBytes]));
  const changed = [...regions.ranges()];
  for (const { volume, offset, length } of changed) {
    const map = mapRangeOf(areas.get(volume) ?? 0, offset, length);
    if (map) regions.add(volume, map.offset, map.length);
  }
}

function storedBytes(volume: CatalogVolume | undefined): number {
  return volume && !volume.journalOnly ? volume.sizeBytes : 0;
}

function addPart(regions: RegionSet, volume: number, from: number, to: number): void {
  if (from < to) regions.add(volume, from, to - from);
}
