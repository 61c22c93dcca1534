import { assert } from '../../platform/assert.ts';
import type { Disk, DiskFile } from '../../platform/disk.ts';
import { JnbdError, messageOf, systemErrorCode } from '../../platform/errors.ts';
import { volumeSizeBytesMax, volumesPerGroupMax } from '../../platform/limits.ts';
import { formatExactSize, formatSize } from '../../platform/size-text.ts';
import type { CatalogVolume } from '../catalog/catalog.ts';
import type { Group } from '../order/group.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { isHidden } from '../catalog/snapshots.ts';
import { followersGrown } from './growth.ts';
import { checkName } from '../catalog/names.ts';
import { makeChange } from '../order/numbered-change.ts';
import { refuseRollingBack, Volume } from '../apply/volume.ts';
import { VolumeWriter } from './volume-writer.ts';

export interface VolumeSettings {
  readonly sizeBytes: number;
  readonly journalOnly: boolean;
  /** It stays `unused` until what is named here, for people, has filled it. */
  readonly filledFrom?: string;
}

function checkSize(sizeBytes: number): void {
  if (
    Number.isSafeInteger(sizeBytes) &&
    sizeBytes > 0 &&
    sizeBytes <= volumeSizeBytesMax &&
    sizeBytes % 512 === 0
  ) {
    return;
  }
  throw new JnbdError(
    'argument_invalid',
    `a volume cannot have ${formatExactSize(sizeBytes)}; choose a multiple of 512 bytes up to ${formatSize(volumeSizeBytesMax)}`,
  );
}

/**
 * Makes a volume: its sparse file first, then the numbered record, then the catalog. A crash before
 * the record leaves a file that no volume names; it is taken over by the next volume of that id.
 * What is to fill it gets its writer in the same turn: a deletion that waits finds the volume in use.
 */
export async function createVolume(
  disk: Disk,
  group: Group,
  files: GroupFiles,
  name: string,
  settings: VolumeSettings,
): Promise<{ volume: Volume; created: boolean; writer?: VolumeWriter }> {
  checkName('volume', name);
  checkSize(settings.sizeBytes);
  const existing = group.volumes.get(name);
  if (existing) {
    const { sizeBytes, journalOnly } = existing.catalog;
    if (sizeBytes === settings.sizeBytes && journalOnly === settings.journalOnly) {
      return { volume: existing, created: false };
    }
    throw new JnbdError(
      'exists_differently',
      `volume ${group.name}/${name} exists with ${settingsText(existing.catalog)}, not ${settingsText(settings)}`,
    );
  }
  if (group.catalog.volumes.length >= volumesPerGroupMax) {
    throw new JnbdError(
      'state_refuses',
      `group ${group.name} has ${volumesPerGroupMax} volumes, which is the most`,
    );
  }
  const { filledFrom } = settings;
  return group.changes.inTurn(async () => {
    if (group.volumes.has(name)) {
      throw new JnbdError(
        'exists_differently',
        `volume ${group.name}/${name} was created at the same time`,
      );
    }
    const entry: CatalogVolume = {
      id: group.catalog.nextVolumeId,
      name,
      sizeBytes: settings.sizeBytes,
      journalOnly: settings.journalOnly,
      state: filledFrom === undefined ? 'normal' : 'unused',
      maxHosts: 0,
    };
    assert(
      !group.catalog.volumes.some(({ id }) => id === entry.id),
      `volume id ${entry.id} is new`,
    );
    const path = files.volume(entry.id);
    const file = settings.journalOnly
      ? undefined
      : makeBackingFile(disk, files, path, settings.sizeBytes);
    const volume = new Volume(entry, file, file ? path : '');
    try {
      await makeChange(group, { change: 'volume_created', volume: entry });
    } catch (error) {
      file?.closeSync();
      throw error;
    }
    group.addVolume(volume);
    if (filledFrom === undefined) return { volume, created: true };
    return { volume, created: true, writer: new VolumeWriter(group, volume, filledFrom) };
  });
}

function settingsText({
  sizeBytes,
  journalOnly,
}: Pick<VolumeSettings, 'sizeBytes' | 'journalOnly'>) {
  return `${formatExactSize(sizeBytes)}${journalOnly ? ', journal-only' : ''}`;
}

/** Empty, sparse, and durably there. Throws JnbdError (disk_full, write_failed, argument_invalid). */
export function makeBackingFile(
  disk: Disk,
  files: GroupFiles,
  path: string,
  sizeBytes: number,
): DiskFile {
  let file: DiskFile | undefined;
  try {
    file = disk.openSync(path, 'open-or-create', 'volume');
    file.truncateSync(0);
    file.truncateSync(sizeBytes);
    file.dataSyncSync();
    disk.syncDirectorySync(files.volumes);
    return file;
  } catch (error) {
    file?.closeSync();
    return refuseFile(`create ${path}`, path, sizeBytes, error);
  }
}

function refuseFile(what: string, path: string, sizeBytes: number, cause: unknown): never {
  const code = systemErrorCode(cause);
  if (code === 'EFBIG') {
    throw new JnbdError(
      'argument_invalid',
      `the file system of ${path} holds no file of ${formatExactSize(sizeBytes)}; choose a smaller --size or another file system`,
      { cause },
    );
  }
  throw new JnbdError(
    code === 'ENOSPC' ? 'disk_full' : 'write_failed',
    `cannot ${what}: ${messageOf(cause)}`,
    { cause },
  );
}

/**
 * Grows a volume: the file first, then the record, then those who follow. Clients see the new size when they
 * reconnect.
 */
export async function resizeVolume(
  group: Group,
  volume: Volume,
  sizeBytes: number,
): Promise<boolean> {
  checkSize(sizeBytes);
  return group.changes.inTurn(async () => {
    checkPresent(group, volume);
    const before = volume.catalog.sizeBytes;
    if (sizeBytes === before) return false;
    refuseRollingBack(group.name, [volume]);
    if (sizeBytes < before) {
      throw new JnbdError(
        'volume_shrink',
        `volume ${group.name}/${volume.catalog.name} has ${formatExactSize(before)} and cannot shrink to ${formatExactSize(sizeBytes)}; volumes only grow`,
      );
    }
    try {
      volume.file?.truncateSync(sizeBytes);
      volume.file?.dataSyncSync();
    } catch (error) {
      const { backingFile } = volume;
      refuseFile(`grow ${backingFile}`, backingFile, sizeBytes, error);
    }
    const entry = { ...volume.catalog, sizeBytes };
    await makeChange(group, { change: 'volume_changed', volume: entry });
    await followersGrown(group, entry, group.catalog.number);
    volume.describe(entry);
    group.changed();
    return true;
  });
}

/** Changes the catalog entry in other ways than its size. */
export async function changeVolume(
  group: Group,
  volume: Volume,
  changes: Partial<Pick<CatalogVolume, 'state' | 'maxHosts'>>,
): Promise<void> {
  await group.changes.inTurn(async () => {
    checkPresent(group, volume);
    const entry = { ...volume.catalog, ...changes };
    await makeChange(group, { change: 'volume_changed', volume: entry });
    volume.describe(entry);
    const { state } = changes;
    if (state !== undefined && state !== volume.state) volume.become(state);
  });
}

/** What was looked up before may have been deleted while this change waited for its turn. */
function checkPresent(group: Group, volume: Volume): void {
  if (group.volumes.get(volume.catalog.name) === volume) return;
  throw new JnbdError(
    'volume_not_found',
    `volume ${group.name}/${volume.catalog.name} was deleted at the same time`,
  );
}

/**
 * False: it did not exist. From the first step on no host may open it; a crash before the record is
 * durable leaves it as it was. One that was never filled may go without `force`. With `only`, another
 * volume that has got the name meanwhile stays.
 */
export async function deleteVolume(
  group: Group,
  name: string,
  force: boolean,
  only?: Volume,
): Promise<boolean> {
  return group.changes.inTurn(async () => {
    const volume = group.volumes.get(name);
    if (!volume || (only && volume !== only)) return false;
    const subject = `${group.name}/${name}`;
    if (volume.rollsBackTo !== undefined && !volume.catalog.rollback)
      refuseRollingBack(group.name, [volume]);
    if (volume.sessions.size > 0) throw inUse(subject, volume);
    refuseWherePreserved(group, volume);
    const { state, failure } = volume;
    if (!force && state !== 'unused') {
      throw new JnbdError(
        'confirmation_needed',
        `deleting ${subject} loses all its data (${formatSize(volume.catalog.sizeBytes)}, ${formatSize(volume.file?.allocatedBytesSync() ?? 0)} of it allocated); add --force`,
      );
    }
    if (state !== 'unused') volume.become('unused', 'it is being deleted');
    try {
      await makeChange(group, { change: 'volume_deleted', id: volume.catalog.id });
    } catch (error) {
      if (volume.state === 'unused') volume.become(state, failure);
      throw error;
    }
    group.forgetVolume(volume);
    clearVolumeConditions(group, name);
    return true;
  });
}

/** Throws state_refuses: snapshots need what the volume holds. */
function refuseWherePreserved({ name, snapshots }: Group, { catalog }: Volume): void {
  const having = snapshots.living.filter(({ areas }) =>
    areas.some(({ volume }) => volume === catalog.id),
  );
  if (having.some(isHidden)) {
    const text = `group ${name} is being verified; delete volume ${name}/${catalog.name} when that is over`;
    throw new JnbdError('state_refuses', text);
  }
  const names = having.map((snapshot) => `${name}@${snapshot.name}`);
  const [first] = names;
  if (first === undefined) return;
  throw new JnbdError(
    'state_refuses',
    `volume ${name}/${catalog.name} is in snapshots (${names.join(', ')}); delete them first: jnbd snapshot delete ${first}`,
  );
}

function inUse(subject: string, { state, sessions }: Volume): JnbdError {
  const [first] = sessions;
  return new JnbdError(
    'volume_in_use',
    state === 'unused'
      ? `volume ${subject} is being filled from ${first?.client.peer}; end the command that does it first`
      : `volume ${subject} is in use by connected clients (${sessions.size}); disconnect them first`,
  );
}

/** It was deleted. */
export function clearVolumeConditions({ name, conditions }: Group, volume: string): void {
  const subject = `${name}/${volume}`;
  for (const code of volumeConditions)
    conditions.clear(subject, code, `volume ${subject} was deleted`);
}

const volumeConditions = [
  'volume_space',
  'volume_failed',
  'volume_missing',
  'import_unfinished',
] as const;
