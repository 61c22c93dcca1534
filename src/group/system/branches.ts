import { type AreaIdentity, writeIdentity } from '../../journal/area.ts';
import { segmentFileName, segmentFilePattern } from '../../journal/segment.ts';
import type { LiveSegment } from '../../journal/segment-chain.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Disk, DiskFile } from '../../platform/disk.ts';
import { JnbdError, refusedBySystem } from '../../platform/errors.ts';
import { MiB, segmentBytes } from '../../platform/limits.ts';
import { formatSize } from '../../platform/size-text.ts';
import type { Group } from '../order/group.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { generationOf, type Lineage, lineageThrough } from '../catalog/lineage.ts';
import { readSealedJson, writeSealedJson } from '../catalog/sealed-json.ts';
import { segmentsBehind } from '../apply/segments-behind.ts';

/**
 * Updates that this system wrote, or received, and that the history which it follows now does not have:
 * whole segments of its journal, in a directory that reads as a journal directory.
 */
export interface Branch {
  readonly formatVersion: 1;
  readonly name: string;
  readonly groupId: string;
  /** Up to here the history is the one that the group has. */
  readonly fork: number;
  /** Its updates are from here to `newest`; those between are released, where it is not fork + 1. */
  readonly first: number;
  readonly newest: number;
  readonly lineage: Lineage;
  readonly bytes: number;
  readonly savedAtMilliseconds: number;
}

const branchFile = 'branch';
const copyBytes = 1 * MiB;

/** What branches of a group may take together where nothing was said. */
export function branchBudgetBytes({
  branchBudgetBytes: set,
  journalCapacityBytes,
}: Group['catalog']): number {
  return set ?? Math.max(4 * segmentBytes, Math.floor(journalCapacityBytes / 4));
}

/** In the order of their names. One that was not saved, or deleted, to the end is none. */
export function listBranches(disk: Disk, files: GroupFiles): Branch[] {
  if (!disk.isDirectorySync(files.branches)) return [];
  return disk.listSync(files.branches).flatMap((name) => {
    try {
      const branch = readSealedJson<Branch>(disk, `${files.branches}/${name}/${branchFile}`);
      return branch ? [branch] : [];
    } catch (error) {
      // Damaged: its segments stay, for who reads them offline.
      if (error instanceof JnbdError) return [];
      throw error;
    }
  });
}

/** Throws JnbdError branch_not_found. */
export function findBranch(disk: Disk, files: GroupFiles, group: Group, name: string): Branch {
  const all = listBranches(disk, files);
  const branch = all.find((each) => each.name === name);
  if (branch) return branch;
  const names = all.map((each) => each.name).join(', ') || 'none';
  throw new JnbdError(
    'branch_not_found',
    `group ${group.name} has no branch ${name}; there are: ${names}`,
  );
}

/** What would be saved behind `fork`; undefined: nothing is there. Throws JnbdError branch_no_room. */
export function expectBranch(
  disk: Disk,
  group: Group,
  files: GroupFiles,
  fork: number,
): Pick<Branch, 'first' | 'newest' | 'bytes'> | undefined {
  const { watermarks, catalog } = group;
  const { newest } = watermarks;
  const before = Math.max(fork, watermarks.released);
  if (newest <= before) return undefined;
  const known = listBranches(disk, files);
  const lineage = lineageThrough(catalog.lineage, newest);
  const same = known.find((each) => isSame(each, fork, newest, lineage));
  if (same) return same;
  const bytes = bytesOf(segmentsBehind(group.chain, before, newest));
  checkRoom(group, known, bytes);
  return { first: before + 1, newest, bytes };
}

function bytesOf(segments: readonly { readonly live: LiveSegment }[]): number {
  return segments.reduce((sum, { live }) => sum + live.endOffset, 0);
}

/**
 * Copies what stands behind `fork` in the group's journal out of it, durably: after that the journal may
 * go on without it (SAFETY 19). The group takes no writes. Doing it again after a crash saves it once;
 * what was half saved is taken away. What was released is not in it. Undefined: nothing stands behind the
 * fork. Rejects with JnbdError: branch_no_room, disk_full, write_failed.
 */
export async function saveBranch(
  deps: { readonly disk: Disk; readonly clock: Clock },
  group: Group,
  files: GroupFiles,
  fork: number,
): Promise<Branch | undefined> {
  const { disk, clock } = deps;
  const { watermarks, catalog, chain } = group;
  const { durable: newest } = watermarks;
  const before = Math.max(fork, watermarks.released);
  if (newest <= before) return undefined;
  removeUnfinished(disk, files);
  const lineage = lineageThrough(catalog.lineage, newest);
  const known = listBranches(disk, files);
  const same = known.find((each) => isSame(each, fork, newest, lineage));
  if (same) return same;
  const behind = segmentsBehind(chain, before, newest);
  const segments = behind.map(({ live }) => live);
  const bytes = bytesOf(behind);
  checkRoom(group, known, bytes);
  const name = freeName(known, `${generationOf(lineage)}-${before + 1}`);
  const directory = `${files.branches}/${name}`;
  for (const segment of segments) segment.pins += 1;
  try {
    disk.makeDirectorySync(directory);
    for (const [slot, segment] of segments.entries()) {
      await copySegment(disk, clock, segment, `${directory}/${segmentFileName(slot)}`);
    }
    disk.syncDirectorySync(directory);
    writeIdentity(disk, directory, identityOf(catalog.groupId, newest));
    const branch: Branch = {
      formatVersion: 1,
      name,
      groupId: catalog.groupId,
      fork,
      first: before + 1,
      newest,
      lineage,
      bytes,
      savedAtMilliseconds: clock.wallMilliseconds(),
    };
    writeSealedJson(disk, `${directory}/${branchFile}`, branch);
    return branch;
  } catch (error) {
    throw refusedBySystem(error, 'write_failed', `cannot save branch ${directory}`) ?? error;
  } finally {
    for (const segment of segments) segment.pins -= 1;
  }
}

/** Copies a branch to a directory that is not there yet, or empty. Throws JnbdError. */
export async function exportBranch(
  deps: { readonly disk: Disk; readonly clock: Clock },
  files: GroupFiles,
  { name }: Branch,
  directory: string,
): Promise<void> {
  const { disk, clock } = deps;
  if (
    disk.existsSync(directory) &&
    !(disk.isDirectorySync(directory) && disk.listSync(directory).length === 0)
  ) {
    throw new JnbdError(
      'exists_differently',
      `${directory} is there and not empty; name a directory that is not there yet`,
    );
  }
  const from = `${files.branches}/${name}`;
  try {
    disk.makeDirectorySync(directory);
    // The identity last: until then it is nobody's.
    const names = disk.listSync(from).sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
    for (const each of names) {
      const source = disk.openSync(`${from}/${each}`, 'read', 'segment');
      try {
        await copyFile(disk, clock, source, `${directory}/${each}`, source.sizeSync());
      } finally {
        source.closeSync();
      }
    }
    disk.syncDirectorySync(directory);
  } catch (error) {
    throw refusedBySystem(error, 'write_failed', `cannot export to ${directory}`) ?? error;
  }
}

/** Throws system errors. What a crash leaves is no branch, and is taken away later. */
export function deleteBranch(disk: Disk, files: GroupFiles, { name }: Branch): void {
  disk.removeFileSync(`${files.branches}/${name}/${branchFile}`);
  disk.syncDirectorySync(`${files.branches}/${name}`);
  removeDirectory(disk, `${files.branches}/${name}`);
}

/** With the group. */
export function removeBranches(disk: Disk, files: GroupFiles): void {
  if (!disk.isDirectorySync(files.branches)) return;
  for (const name of disk.listSync(files.branches)) {
    removeDirectory(disk, `${files.branches}/${name}`);
  }
  disk.removeDirectorySync(files.branches);
}

function removeUnfinished(disk: Disk, files: GroupFiles): void {
  if (!disk.isDirectorySync(files.branches)) return;
  for (const name of disk.listSync(files.branches)) {
    const directory = `${files.branches}/${name}`;
    if (!disk.existsSync(`${directory}/${branchFile}`)) removeDirectory(disk, directory);
  }
}

function removeDirectory(disk: Disk, directory: string): void {
  for (const name of disk.listSync(directory)) disk.removeFileSync(`${directory}/${name}`);
  disk.syncDirectorySync(directory);
  disk.removeDirectorySync(directory);
}

function checkRoom(group: Group, known: readonly Branch[], bytes: number): void {
  const budget = branchBudgetBytes(group.catalog);
  const used = known.reduce((sum, branch) => sum + branch.bytes, 0);
  if (used + bytes <= budget) return;
  const oldest = known[0];
  const help = oldest
    ? `delete one: jnbd branch delete ${group.name} ${oldest.name}, or allow more`
    : 'allow more';
  throw new JnbdError(
    'branch_no_room',
    `a branch of group ${group.name} would take ${formatSize(bytes)}; of ${formatSize(budget)} for branches ${formatSize(used)} are used; ${help}: jnbd group configure ${group.name} --branch-budget ${Math.ceil((used + bytes) / MiB)}MiB`,
  );
}

function freeName(known: readonly Branch[], wanted: string): string {
  let name = wanted;
  for (let i = 2; known.some((branch) => branch.name === name); i += 1) name = `${wanted}-${i}`;
  return name;
}

function isSame(branch: Branch, fork: number, newest: number, lineage: Lineage): boolean {
  return (
    branch.fork === fork &&
    branch.newest === newest &&
    JSON.stringify(branch.lineage) === JSON.stringify(lineage)
  );
}

/** No area of the group has it. */
function identityOf(groupId: string, newest: number): AreaIdentity {
  return { formatVersion: 1, groupId, areaId: newest.toString(16).padStart(16, 'b') };
}

function rank(name: string): number {
  return segmentFilePattern.test(name) ? 0 : 1;
}

async function copySegment(
  disk: Disk,
  clock: Clock,
  { file, endOffset }: LiveSegment,
  path: string,
): Promise<void> {
  await copyFile(disk, clock, file, path, endOffset, segmentBytes);
}

/** Yields to the event loop after each piece. */
async function copyFile(
  disk: Disk,
  clock: Clock,
  from: DiskFile,
  path: string,
  bytes: number,
  sizeBytes = bytes,
): Promise<void> {
  const buffer = Buffer.alloc(copyBytes);
  const file = disk.openSync(path, 'open-or-create', 'segment');
  try {
    file.truncateSync(0);
    file.truncateSync(sizeBytes);
    for (let at = 0; at < bytes; at += copyBytes) {
      const read = from.readSync(buffer, 0, Math.min(copyBytes, bytes - at), at);
      if (read > 0) file.writeSync(buffer, 0, read, at);
      await new Promise<void>((resolve) => clock.soon(resolve));
    }
    await new Promise<void>((resolve, reject) => {
      file.dataSync((error) => (error ? reject(error) : resolve()));
    });
  } finally {
    file.closeSync();
  }
}
