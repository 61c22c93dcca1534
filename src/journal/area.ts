import { assert } from '../platform/assert.ts';
import type { Clock } from '../platform/clock.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { JnbdError, messageOf, refusedBySystem, systemErrorCode } from '../platform/errors.ts';
import { segmentBytes } from '../platform/limits.ts';
import { formatSize } from '../platform/size-text.ts';
import { segmentFileName, segmentFilePattern } from './segment.ts';

/**
 * A directory that holds segments of one group's journal. `area` in it says whose it is, so that a
 * foreign directory is never written to. All segment files are there, at full size, from creation
 * on: an append needs no space and changes no directory (SAFETY 1).
 */
export interface AreaIdentity {
  readonly formatVersion: 1;
  readonly groupId: string;
  readonly areaId: string;
}

/** `failed` and `missing` are left only by a restart that finds the directory sound. */
export type AreaState = 'healthy' | 'slow' | 'failed' | 'missing';

const validTransitions: Record<AreaState, readonly AreaState[]> = {
  healthy: ['slow', 'failed', 'missing'],
  slow: ['healthy', 'failed'],
  failed: [],
  missing: [],
};

/** `emergency`: a small one beside the volumes, used once no `journal` area can be written (SAFETY 4). */
export type AreaRole = 'journal' | 'emergency';

const identityName = 'area';

export class Area {
  readonly path: string;
  readonly slots: number;
  readonly role: AreaRole;
  /** Slots that hold nothing needed; the most recently freed is reused first: its pages are warm. */
  readonly freeSlots: number[] = [];
  readonly #disk: Disk;
  readonly #files = new Map<number, DiskFile>();
  #state: AreaState = 'healthy';
  #failure = '';

  constructor(disk: Disk, path: string, slots: number, role: AreaRole = 'journal') {
    this.#disk = disk;
    this.path = path;
    this.slots = slots;
    this.role = role;
  }

  get state(): AreaState {
    return this.#state;
  }

  /** Why the area is not healthy; '' while it is. */
  get failure(): string {
    return this.#failure;
  }

  become(state: AreaState, failure: string): void {
    if (this.#state === state) return;
    assert(validTransitions[this.#state].includes(state), `area ${this.#state} -> ${state}`);
    this.#state = state;
    this.#failure = failure;
  }

  segmentPath(slot: number): string {
    return `${this.path}/${segmentFileName(slot)}`;
  }

  /** The open file of a slot, for reading and writing; opened once. */
  segmentFile(slot: number): DiskFile {
    const open = this.#files.get(slot);
    if (open) return open;
    const file = this.#disk.openSync(this.segmentPath(slot), 'read-write', 'segment');
    this.#files.set(slot, file);
    return file;
  }

  close(): void {
    for (const file of this.#files.values()) file.closeSync();
    this.#files.clear();
  }
}

/** An operating error of one area: the journal goes on in another where there is one. */
export class AreaFailure extends Error {
  readonly area: Area;

  constructor(area: Area, cause: unknown) {
    super(`journal directory ${area.path}: ${messageOf(cause)}`, { cause });
    this.area = area;
  }
}

function identityBytes(identity: AreaIdentity): Uint8Array {
  return Buffer.from(`${JSON.stringify(identity)}\n`);
}

/** Whose the directory is; durable when it returns. */
export function writeIdentity(disk: Disk, path: string, identity: AreaIdentity): void {
  disk.replaceFileSync(`${path}/${identityName}`, identityBytes(identity), 'area');
}

/**
 * Creates the directory's segments and, last, its identity: a crash before that leaves an area that
 * is nobody's, and creating it again goes on where it stopped. Yields to the event loop between
 * segments, because allocating many takes a while. Throws area_foreign, disk_full, write_failed,
 * naming the directory.
 */
export async function createArea(
  disk: Disk,
  clock: Clock,
  path: string,
  identity: AreaIdentity,
  slots: number,
): Promise<void> {
  try {
    if (!claimDirectory(disk, path, identity)) return;
    for (let slot = 0; slot < slots; slot += 1) {
      createSegment(disk, path, slot, slots);
      if (slot % 8 === 7) await new Promise<void>((resolve) => clock.soon(resolve));
    }
    await fillFirst(disk, `${path}/${segmentFileName(0)}`);
    disk.syncDirectorySync(path);
    writeIdentity(disk, path, identity);
  } catch (error) {
    const hint = hints[systemErrorCode(error) ?? ''] ?? 'name another directory';
    const told = refusedBySystem(error, 'write_failed', `cannot make journal directory ${path}`);
    throw told ? new JnbdError(told.code, `${told.message}; ${hint}`, { cause: error }) : error;
  }
}

/** The others are while the one before is in use. */
async function fillFirst(disk: Disk, path: string): Promise<void> {
  const file = disk.openSync(path, 'read-write', 'segment');
  await new Promise<void>((resolve) => file.fillReserved(() => true, resolve));
  file.closeSync();
}

const notDirectory = 'something on the way there is a file; name another directory';
const hints: Readonly<Record<string, string>> = {
  EACCES: 'let the user of the daemon write there, or name another directory',
  EDQUOT: 'the disk quota is used up; free space there, or name another directory',
  EEXIST: notDirectory,
  ENOSPC: 'free space there, or name another directory',
  ENOTDIR: notDirectory,
  EROFS: 'mount it for writing, or name another directory',
};

/** False: the area is there already. */
function claimDirectory(disk: Disk, path: string, identity: AreaIdentity): boolean {
  const existing = readIdentity(disk, path);
  if (existing !== undefined) {
    if (existing.areaId === identity.areaId) return false;
    throw new JnbdError(
      'area_foreign',
      `journal directory ${path} belongs to group ${existing.groupId} already; name an empty directory`,
    );
  }
  disk.makeDirectorySync(path);
  const strange = disk.listSync(path).find((name) => !isOurs(name));
  if (strange === undefined) return true;
  throw new JnbdError(
    'area_foreign',
    `journal directory ${path} holds ${strange}; name an empty directory`,
  );
}

function createSegment(disk: Disk, path: string, slot: number, slots: number): void {
  const segmentPath = `${path}/${segmentFileName(slot)}`;
  try {
    const file = disk.openSync(segmentPath, 'open-or-create', 'segment');
    try {
      file.preallocateSync(0, segmentBytes);
      file.dataSyncSync();
    } finally {
      file.closeSync();
    }
  } catch (cause) {
    if (['EDQUOT', 'ENOSPC'].includes(systemErrorCode(cause) ?? '')) {
      removeSegments(disk, path);
      throw new JnbdError(
        'disk_full',
        `journal directory ${path} has no room for ${slots} segments of ${formatSize(segmentBytes)}; free space or choose a smaller --journal-size`,
        { cause },
      );
    }
    throw new JnbdError('write_failed', `cannot create ${segmentPath}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

function removeSegments(disk: Disk, path: string): void {
  for (const name of disk.listSync(path)) if (isOurs(name)) disk.removeFileSync(`${path}/${name}`);
}

/**
 * Deletes what `createArea` made, or began to make, for that area; another one's directory is left
 * alone. The identity goes first, so that a crash leaves nobody's area, and all of it durably.
 */
export function removeArea(disk: Disk, path: string, areaId: string): void {
  if (!disk.isDirectorySync(path)) return;
  const identity = foundIdentity(disk, path);
  if (identity === 'foreign' || (identity && identity.areaId !== areaId)) return;
  if (identity) {
    disk.removeFileSync(`${path}/${identityName}`);
    disk.syncDirectorySync(path);
  } else if (disk.listSync(path).some((name) => !isOurs(name))) {
    return;
  }
  removeSegments(disk, path);
  disk.syncDirectorySync(path);
  if (disk.listSync(path).length === 0) disk.removeDirectorySync(path);
}

/** What `createArea` puts into a directory; a crash may leave the identity under its temporary name. */
function isOurs(name: string): boolean {
  return segmentFilePattern.test(name) || name === `${identityName}.tmp`;
}

function foundIdentity(disk: Disk, path: string): AreaIdentity | 'foreign' | undefined {
  try {
    return readIdentity(disk, path);
  } catch (error) {
    if (error instanceof JnbdError) return 'foreign';
    throw error;
  }
}

/** Undefined: nobody's. Throws area_foreign where it is none, format_newer. */
export function readIdentity(disk: Disk, path: string): AreaIdentity | undefined {
  const contents = disk.readFileSync(`${path}/${identityName}`, 'area');
  if (contents === undefined) return undefined;
  try {
    const identity = JSON.parse(Buffer.from(contents).toString('utf8')) as AreaIdentity;
    if (typeof identity.groupId === 'string' && typeof identity.areaId === 'string') {
      if (identity.formatVersion === 1) return identity;
      throw new JnbdError(
        'format_newer',
        `journal directory ${path} has format ${String(identity.formatVersion)}; this jnbd reads format 1`,
      );
    }
  } catch (error) {
    if (error instanceof JnbdError) throw error;
  }
  throw new JnbdError('area_foreign', `${path}/${identityName} is not a journal area's identity`);
}

/**
 * What is not there of an area without an identity. An empty directory is where it is mounted, as a
 * rule; one with segments lacks the file alone, and the file can be written again.
 */
export function missingText(
  disk: Disk,
  path: string,
  { groupId, areaId }: Pick<AreaIdentity, 'groupId' | 'areaId'>,
): { readonly text: string; readonly hasSegments: boolean } {
  if (!disk.isDirectorySync(path)) {
    const text = `journal directory ${path} is not there; mount it, or restore it`;
    return { text, hasSegments: false };
  }
  const file = `${path}/${identityName}`;
  const hasSegments = disk.listSync(path).some((name) => segmentFilePattern.test(name));
  const identity: AreaIdentity = { formatVersion: 1, groupId, areaId };
  const text = hasSegments
    ? `journal directory ${path} has segments, but ${file} is missing, which says whose they are; restore it: its one line is ${JSON.stringify(identity)}`
    : `journal directory ${path} holds no journal, ${file} is missing; mount what belongs there, or restore it`;
  return { text, hasSegments };
}

/**
 * Opens an area of the group. Missing directory, or identity: the area is `missing`, and whether the group can do
 * without is decided by what its journal holds. Another group's: refused, nothing touched.
 */
export function openArea(
  disk: Disk,
  path: string,
  identity: AreaIdentity,
  role: AreaRole = 'journal',
): Area {
  const found = disk.isDirectorySync(path) ? readIdentity(disk, path) : undefined;
  if (found === undefined) {
    const area = new Area(disk, path, 0, role);
    area.become('missing', missingText(disk, path, identity).text);
    return area;
  }
  if (found.groupId !== identity.groupId || found.areaId !== identity.areaId) {
    throw new JnbdError(
      'area_foreign',
      `journal directory ${path} is area ${found.areaId} of group ${found.groupId}, not area ${identity.areaId} of group ${identity.groupId}`,
    );
  }
  const slots = disk.listSync(path).filter((name) => segmentFilePattern.test(name)).length;
  return new Area(disk, path, slots, role);
}
