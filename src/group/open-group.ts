import { CheckpointFile } from '../journal/checkpoint.ts';
import { SegmentChain } from '../journal/segment-chain.ts';
import { Watermarks } from '../journal/watermarks.ts';
import { assert } from '../platform/assert.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError } from '../platform/errors.ts';
import { segmentBytes } from '../platform/limits.ts';
import { randomIdentifier } from '../platform/random.ts';
import { BlockIndex } from '../volume/block-index.ts';
import type { CatalogChange } from './catalog.ts';
import { changeCatalog, readCatalog, writeCatalog } from './catalog.ts';
import { Group } from './group.ts';
import type { GroupDependencies, GroupLimits } from './group-dependencies.ts';
import type { GroupFiles } from './group-files.ts';
import { volumeFilePattern } from './group-files.ts';
import { findJournal, recoverJournal } from './recovery.ts';
import { Volume } from './volume.ts';

/** Recovers a group from its directory, and serves it unless its journal is damaged. */
export async function openGroup(
  deps: GroupDependencies,
  limits: GroupLimits,
  files: GroupFiles,
): Promise<Group> {
  const { disk, clock, random } = deps;
  let catalog = readCatalog(disk, files.catalog);
  if (!catalog)
    throw new JnbdError('catalog_damaged', `${files.catalog} is missing; restore it from a copy`);
  const { file, checkpoint } = CheckpointFile.open(disk, files.checkpoint, catalog.groupId);
  file.close();
  const found = findJournal(disk, catalog);
  const index = new BlockIndex(limits.tableNodesMax);
  const { outcome, changes, live } = recoverJournal(disk, found, checkpoint, catalog, index);
  for (const { number, change } of changes) catalog = changeCatalog(catalog, change, number);
  const liveSlots = new Set(live.map(({ area, slot }) => area.segmentPath(slot)));
  for (const area of found.areas) {
    if (area.state !== 'healthy') continue;
    for (let slot = area.slots - 1; slot >= 0; slot -= 1) {
      if (!liveSlots.has(area.segmentPath(slot))) area.freeSlots.push(slot);
    }
  }
  const incarnation = randomIdentifier(random);
  const { groupId, generation, generationSystem, areaLayout } = catalog;
  const chain = new SegmentChain(
    { clock, random },
    found.areas,
    areaLayout,
    { groupId, generation, generationSystem, incarnation },
    live,
    found.nextSequence,
  );
  const watermarks = new Watermarks({
    released: checkpoint.released,
    applied: checkpoint.applied,
    durable: outcome.lastNumber,
  });
  const group = new Group(deps, limits, files, {
    catalog,
    areas: found.areas,
    watermarks,
    index,
    chain,
    incarnation,
  });
  openVolumes(disk, group, files, changes);
  if (changes.length > 0) writeCatalog(disk, files.catalog, catalog);
  for (const area of found.areas) {
    if (area.state === 'healthy') continue;
    group.conditions.raise(area.path, {
      code: area.state === 'missing' ? 'area_missing' : 'area_failed',
      severity: 'error',
      message: area.failure,
      nextCommand: `jnbd group show ${catalog.name}`,
    });
  }
  if (outcome.damage) {
    const { from, through, text } = outcome.damage;
    group.refuse(
      `the journal of group ${catalog.name} is damaged: updates ${from} to ${through} were durable and cannot be read (${text})`,
    );
    return group;
  }
  if (catalog.volumes.some(({ journalOnly }) => journalOnly))
    group.retention.set('journal-only', watermarks.released);
  removeOrphans(disk, group, files);
  group.startApply(checkpoint.sequence);
  await beginIncarnation(deps, group, outcome.lastNumber);
  group.serve();
  return group;
}

/**
 * The new incarnation's first segment is durable before anything is numbered in it (SAFETY 2). A
 * journal that is full to the last segment is applied, and released by a checkpoint, first.
 */
async function beginIncarnation(
  deps: GroupDependencies,
  group: Group,
  lastNumber: number,
): Promise<void> {
  for (;;) {
    const segment = group.chain.begin(lastNumber + 1, lastNumber);
    if (segment) {
      segment.file.dataSyncSync();
      segment.dirty = false;
      return;
    }
    if (!group.hurryApply()) {
      throw new JnbdError(
        'journal_full',
        `the journal of group ${group.name} has no free segment of ${segmentBytes} bytes; give it another --journal-dir`,
      );
    }
    await new Promise<void>((resolve) => deps.clock.after(10, resolve));
  }
}

function openVolumes(
  disk: Disk,
  group: Group,
  files: GroupFiles,
  changes: readonly { readonly change: CatalogChange }[],
): void {
  const fresh = new Set(
    changes.flatMap(({ change }) => (change.change === 'volume_created' ? [change.volume.id] : [])),
  );
  for (const entry of group.catalog.volumes) {
    const path = files.volume(entry.id);
    if (entry.journalOnly) {
      group.volumes.set(entry.name, new Volume(entry, undefined, ''));
      continue;
    }
    if (!disk.existsSync(path) && !fresh.has(entry.id)) {
      const volume = new Volume(entry, undefined, path);
      volume.become('abnormal', `${path} is missing`);
      group.volumes.set(entry.name, volume);
      group.conditions.raise(`${group.name}/${entry.name}`, {
        code: 'volume_missing',
        severity: 'error',
        message: `volume ${group.name}/${entry.name}: ${path} is missing; nothing was created in its place`,
        nextCommand: `ls -l ${files.volumes}`,
      });
      continue;
    }
    const file = disk.openSync(path, 'open-or-create', 'volume');
    if (file.sizeSync() < entry.sizeBytes) file.truncateSync(entry.sizeBytes);
    group.volumes.set(entry.name, new Volume(entry, file, path));
    if (entry.state === 'unused') {
      group.conditions.raise(`${group.name}/${entry.name}`, {
        code: 'import_unfinished',
        severity: 'warning',
        message: `volume ${group.name}/${entry.name} was being filled by volume create --from when the system stopped`,
        nextCommand: `jnbd volume delete ${group.name}/${entry.name}`,
      });
    }
  }
  assert(group.volumes.size === group.catalog.volumes.length, 'volume names are unique');
}

/** Files of volumes that were deleted just before the system stopped. */
function removeOrphans(disk: Disk, group: Group, files: GroupFiles): void {
  const ids = new Set(group.catalog.volumes.map(({ id }) => id));
  for (const name of disk.listSync(files.volumes)) {
    const id = Number(volumeFilePattern.exec(name)?.[1] ?? Number.NaN);
    if (id < group.catalog.nextVolumeId && !ids.has(id))
      disk.removeFileSync(`${files.volumes}/${name}`);
  }
}
