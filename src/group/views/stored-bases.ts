import { type Base, connected, readFrom } from '../../history/bases.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, systemErrorCode } from '../../platform/errors.ts';
import { basePath, removeBase } from '../../volume/base-work.ts';
import type { CatalogVolume } from '../catalog/catalog.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { readSealedJson, writeSealedJson } from '../catalog/sealed-json.ts';

/** As it stands in the file of its directory. */
export interface StoredBase extends Base {
  /** 2: with `redoneFrom`, which format 1 knows nothing of. */
  readonly formatVersion: 1 | 2;
  /** Volumes of users, as of `from`. */
  readonly volumes: readonly CatalogVolume[];
}

/**
 * The bases that are on disk and hang together up to the newest one, oldest first. One that cannot be read makes
 * those before it worthless: what was overwritten in its time is not known. Throws format_newer, system errors.
 */
export function readBases(disk: Disk, files: GroupFiles): readonly StoredBase[] {
  if (!disk.isDirectorySync(files.history)) return [];
  const found: StoredBase[] = [];
  let damaged = -1;
  for (const name of disk.listSync(files.history)) {
    try {
      const base = readSealedJson<StoredBase>(disk, basePath(`${files.history}/${name}`), 2);
      if (base) found.push(base);
    } catch (error) {
      if (!(error instanceof JnbdError) || error.code !== 'catalog_damaged') throw error;
      damaged = Math.max(damaged, Number(name));
    }
  }
  return connected(found.filter(({ number }) => number > damaged));
}

/**
 * What is behind `checkpoint` is about to be applied again, and what was applied of it before may be lost: notes
 * that, durably, in bases that began behind it, before anything is saved in them again. Throws system errors.
 */
export function noteRedone(
  disk: Disk,
  files: GroupFiles,
  base: StoredBase,
  checkpoint: number,
): StoredBase {
  if (readFrom(base) <= checkpoint) return base;
  const noted: StoredBase = { ...base, formatVersion: 2, redoneFrom: checkpoint };
  writeSealedJson(disk, basePath(files.base(base.number)), noted);
  return noted;
}

/** Removes all of it but `kept`, oldest first. Throws system errors. */
export function removeBases(disk: Disk, files: GroupFiles, kept: readonly Base[] = []): void {
  if (!disk.isDirectorySync(files.history)) return;
  const needed = new Set(kept.map(({ number }) => String(number)));
  const names = disk.listSync(files.history).filter((name) => !needed.has(name));
  for (const name of names.sort((a, b) => Number(a) - Number(b)))
    removeBase(disk, `${files.history}/${name}`);
}

/** On disk; `known` where the disk does not tell now. */
export function baseBytes(disk: Disk, directory: string, known = 0): number {
  try {
    if (!disk.isDirectorySync(directory)) return 0;
    let bytes = 0;
    for (const name of disk.listSync(directory))
      bytes += allocatedBytes(disk, `${directory}/${name}`);
    return bytes;
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return known;
  }
}

function allocatedBytes(disk: Disk, path: string): number {
  const file = disk.openSync(path, 'read', 'volume');
  try {
    return file.allocatedBytesSync();
  } finally {
    file.closeSync();
  }
}
