import { readFrom } from '../../history/bases.ts';
import { type Area, AreaFailure } from '../../journal/area.ts';
import { CheckpointFile } from '../../journal/checkpoint.ts';
import { HeadFile } from '../../journal/head.ts';
import { SegmentChain, type SegmentUse } from '../../journal/segment-chain.ts';
import { updatesWereText } from '../../journal/update-text.ts';
import { Watermarks } from '../../journal/watermarks.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { segmentBytes } from '../../platform/limits.ts';
import { randomIdentifier } from '../../platform/random.ts';
import { BlockIndex } from '../../volume/block-index.ts';
import { changeCatalog, deletedVolumes, readCatalog, writeCatalog } from '../catalog/catalog.ts';
import { DeletedVolumes } from '../order/deleted-volumes.ts';
import { readKeptMaps } from '../catalog/dirty-map-files.ts';
import { FollowFile } from '../catalog/follow-file.ts';
import { readFollowers } from '../catalog/follower-file.ts';
import { keptFrom } from '../followers/follower-holds.ts';
import { Group } from '../order/group.ts';
import type { GroupDependencies, GroupLimits } from '../order/group-dependencies.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { durableAtLastOpening, generationOf, type Stretch } from '../catalog/lineage.ts';
import { readMembers } from '../catalog/members.ts';
import { openVolumes, removeOrphans } from '../order/open-volumes.ts';
import { resumeDiverged } from '../order/take-over.ts';
import {
  type FoundJournal,
  findJournal,
  type JournalTruths,
  recoverJournal,
} from '../order/recovery.ts';
import { cloneDirectory } from '../snapshots/clones.ts';
import { readViews } from '../views/group-views.ts';
import { readBases } from '../views/stored-bases.ts';
import { completeRestart } from './restart-journal.ts';
import { removeResyncLeft } from '../catalog/resync-files.ts';

/**
 * Recovers a group from its directory, and serves it unless its journal is damaged. What a restart of its
 * journal left undone is done first.
 */
export async function openGroup(
  deps: GroupDependencies,
  limits: GroupLimits,
  files: GroupFiles,
): Promise<Group> {
  const { disk, clock, random } = deps;
  await completeRestart(deps, files);
  let catalog = readCatalog(disk, files.catalog);
  if (!catalog)
    throw new JnbdError('catalog_damaged', `${files.catalog} is missing; restore it from a copy`);
  const { file, checkpoint } = CheckpointFile.open(disk, files.checkpoint, catalog.groupId);
  file.close();
  const { file: headFile, head } = HeadFile.open(disk, files.head, catalog.groupId);
  const found = findJournal(disk, files, catalog);
  const index = new BlockIndex(limits.tableNodesMax);
  const followers = readFollowers(disk, files.followers);
  const maps = readKeptMaps(disk, files, catalog, checkpoint, followers);
  const members = readMembers(disk, files.members);
  const past = { bases: readBases(disk, files), views: readViews(disk, files) };
  const oldest = past.bases[0] && readFrom(past.bases[0]);
  const needed = keptFrom(followers, maps, members, catalog, checkpoint, oldest);
  const durable = durableAtLastOpening(catalog.lineage, deps.systemId);
  const truths = { checkpoint, head, durable, ...needed };
  const deleted = new DeletedVolumes(deps, files);
  const keptIds = deleted.list().map(({ kept }) => kept.entry.id);
  const recovered = recoverJournal(disk, found, truths, catalog, index, keptIds);
  const { outcome, changes, cuts, live, released } = recovered;
  for (const { number, change } of changes) {
    for (const id of deletedVolumes(change))
      if (!deleted.keep(catalog, id, number)) index.forget(id);
    catalog = changeCatalog(catalog, change, number);
  }
  const liveSlots = new Set(live.map(({ area, slot }) => area.segmentPath(slot)));
  for (const area of found.areas) {
    if (area.state !== 'healthy') continue;
    for (let slot = area.slots - 1; slot >= 0; slot -= 1) {
      if (!liveSlots.has(area.segmentPath(slot))) area.freeSlots.push(slot);
    }
  }
  const incarnation = randomIdentifier(random);
  const { groupId, areaLayout } = catalog;
  const stretch: Stretch = {
    generation: generationOf(catalog.lineage),
    system: deps.systemId,
    incarnation,
    firstNumber: outcome.lastNumber + 1,
  };
  const chain = new SegmentChain(
    { clock, random },
    found.areas,
    areaLayout,
    { groupId, generation: stretch.generation, generationSystem: stretch.system, incarnation },
    live,
    nextSequence(found, truths, headFile, outcome.damage !== undefined),
  );
  const watermarks = new Watermarks({
    released,
    applied: checkpoint.applied,
    durable: outcome.lastNumber,
  });
  const group = new Group(deps, limits, files, {
    catalog,
    areas: found.areas,
    watermarks,
    index,
    chain,
    head: headFile,
    follow: new FollowFile(disk, files.follow),
    incarnation,
    followers: { kept: followers, maps, members },
    deleted,
    cuts,
    past,
  });
  openVolumes(disk, group, files, changes);
  group.snapshots.clones.open(cloneDirectory(disk, files));
  deleted.start(group);
  if (changes.length > 0) writeCatalog(disk, files.catalog, catalog);
  for (const area of found.areas) {
    if (area.state !== 'healthy') raiseAreaCondition(group, area);
  }
  if (outcome.damage) {
    const { from, through, text } = outcome.damage;
    group.refuse({
      code: 'journal_damaged',
      severity: 'error',
      message: `the journal of group ${catalog.name} is damaged: ${updatesWereText(from, through)} durable and cannot be read (${[text, ...found.troubles].join('; ')})`,
      nextCommand: `jnbd journal check ${files.journal}`,
    });
    return group;
  }
  group.followers.hold();
  resumeDiverged(group);
  removeOrphans(disk, group, files);
  removeResyncLeft(disk, files, group.follow.state);
  if (group.role === 'primary') group.changes.extendLineage(stretch);
  const { sequence, hasChecksums = false } = checkpoint;
  group.startApply({ sequence, hasChecksums });
  await beginIncarnation(deps.clock, group, outcome.lastNumber);
  return group;
}

/** Throws sync_failed. */
function nextSequence(
  found: FoundJournal,
  truths: JournalTruths,
  headFile: HeadFile,
  isDamaged: boolean,
): number {
  const { checkpoint, head } = truths;
  const seen = Math.max(found.nextSequence, checkpoint.sequence, head.sequence + 1);
  const isWhole = found.areas.every(({ state }) => state === 'healthy');
  // Of a damaged journal nothing is written, not even beside it.
  return isDamaged ? seen : headFile.reserveSync(seen, isWhole);
}

const retryMilliseconds = 1000;

/**
 * The new incarnation's first segment is durable before anything is numbered in it (SAFETY 2), in an
 * area that can be written. A journal that is full to the last segment is applied, and released by a
 * checkpoint, first. Where that fails, or would release nothing, the group refuses, so that others need
 * not wait for it, and serves as soon as there is room: its followers may still read.
 */
async function beginIncarnation(clock: Clock, group: Group, lastNumber: number): Promise<void> {
  while (!tryBegin(group, lastNumber)) {
    const areas = group.areas.filter(({ state }) => state === 'healthy');
    if (areas.length === 0) {
      throw new JnbdError(
        'journal_failed',
        `the journal of group ${group.name} cannot be written: ${group.areas.map(({ failure }) => failure).join('; ')}`,
      );
    }
    const full = `the journal of group ${group.name} is full: no segment of ${segmentBytes} bytes is free in ${areas.map(({ path }) => path).join(', ')}`;
    if (!group.hurryApply()) {
      if (
        group.views.history.giveWay() ||
        group.followers.leaveFurthestBehind() ||
        group.followers.maps.isMoving
      ) {
        await new Promise<void>((resolve) => clock.after(10, resolve));
        continue;
      }
      // Whoever needs what it holds gets it sooner from a group that serves.
      if (tryBegin(group, lastNumber, 'full start')) break;
      refuseNeeded(group, full);
      beginLater(clock, group, lastNumber);
      return;
    }
    if (group.driver.isFailing) {
      const why = 'what it holds cannot be applied now';
      const message = `${full}, and ${why}; the group is served, by itself, once it was`;
      refuseFull(group, message, `jnbd group show ${group.name}`);
      beginLater(clock, group, lastNumber);
      return;
    }
    await new Promise<void>((resolve) => clock.after(10, resolve));
  }
  group.serve();
}

/** Where a cut holds apply, it goes on as far as its target list does, which others may be in the way of. */
function refuseNeeded(group: Group, full: string): void {
  const isHeld = group.catalog.holdsApply === true;
  const nextCommand = isHeld ? 'jnbd cut status' : `jnbd group show ${group.name}`;
  const held = isHeld
    ? ': a cut holds it back; the group is served, by itself, once enough was applied'
    : '';
  refuseFull(group, `${full}, and what it holds is needed${held}`, nextCommand);
}

function refuseFull(group: Group, message: string, nextCommand: string): void {
  group.refuse({ code: 'journal_full', severity: 'error', message, nextCommand });
}

function beginLater(clock: Clock, group: Group, lastNumber: number): void {
  clock.after(retryMilliseconds, () => {
    // Otherwise it is being closed.
    if (group.state !== 'abnormal') return;
    if (tryBegin(group, lastNumber)) {
      group.serve();
      return;
    }
    group.hurryApply();
    beginLater(clock, group, lastNumber);
  });
}

/** False: no segment is free for that. Areas that cannot be written are left for others. */
function tryBegin(group: Group, lastNumber: number, use: SegmentUse = 'usual'): boolean {
  for (;;) {
    try {
      const segment = group.chain.begin(lastNumber + 1, lastNumber, use);
      if (!segment) return false;
      try {
        segment.file.dataSyncSync();
      } catch (error) {
        throw new AreaFailure(segment.area, error);
      }
      segment.dirty = false;
      return true;
    } catch (error) {
      if (!(error instanceof AreaFailure)) throw error;
      error.area.become('failed', error.message);
      raiseAreaCondition(group, error.area);
    }
  }
}

function raiseAreaCondition(group: Group, area: Area): void {
  group.conditions.raise(area.path, {
    code: area.state === 'missing' ? 'area_missing' : 'area_failed',
    severity: 'error',
    message: area.failure,
    nextCommand: `jnbd group show ${group.name}`,
  });
}
