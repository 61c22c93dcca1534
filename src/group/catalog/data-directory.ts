import type { Disk, FileLock } from '../../platform/disk.ts';
import { JnbdError, messageOf, systemErrorCode } from '../../platform/errors.ts';
import type { Random } from '../../platform/random.ts';
import { randomIdentifier } from '../../platform/random.ts';
import { checkName } from './names.ts';

/** `jnbd.json` of a data directory: whose it is, and in which format. */
export interface SystemIdentity {
  readonly format: 'jnbd';
  readonly formatVersion: 1;
  readonly systemId: number;
  readonly name: string;
}

/** What a start that did not end may have left in an empty directory, and what a file system puts there. */
const leftovers = new Set(['lock', 'jnbd.json.tmp', 'lost+found']);

/** What a system is to be called. */
export interface SystemNames {
  /** One that is new. */
  readonly name: string | undefined;
  /** One that is new, or has another name. */
  readonly rename?: string | undefined;
}

interface DirectoryDependencies {
  readonly disk: Disk;
  readonly random: Random;
}

/**
 * Takes the directory for this process and says whose it is; an empty or missing one becomes a new
 * system's. Nothing in a directory that is not ours is touched.
 */
export function lockDirectory(
  deps: DirectoryDependencies,
  directory: string,
  names: SystemNames,
): { lock: FileLock; identity: SystemIdentity } {
  const { disk } = deps;
  attempt(`read data directory ${directory}`, () => checkOurs(disk, directory));
  const lock = attempt(`write to data directory ${directory}`, () => {
    disk.makeDirectorySync(directory);
    return disk.lockSync(`${directory}/lock`);
  });
  if (!lock) {
    throw new JnbdError(
      'data_directory_locked',
      `data directory ${directory} is in use by another jnbd daemon (it holds ${directory}/lock); stop that one, or use another --data`,
    );
  }
  try {
    const known = readIdentity(disk, directory);
    if (!known) return { lock, identity: makeIdentity(deps, directory, names) };
    return { lock, identity: rename(disk, directory, known, names.rename) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Throws what is no JnbdError as one that names the directory. */
function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof JnbdError) throw error;
    const code = systemErrorCode(error);
    throw new JnbdError(
      code === 'ENOSPC' ? 'disk_full' : 'data_directory_read_only',
      `cannot ${what}: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

function checkOurs(disk: Disk, directory: string): void {
  if (!disk.existsSync(directory)) return;
  if (!disk.isDirectorySync(directory)) {
    throw new JnbdError(
      'data_directory_foreign',
      `${directory} is a file; name an empty or new directory with --data`,
    );
  }
  if (disk.existsSync(`${directory}/jnbd.json`)) return;
  const strange = disk.listSync(directory).filter((entry) => !leftovers.has(entry));
  if (strange.length === 0) return;
  throw new JnbdError(
    'data_directory_foreign',
    `${directory} is not empty and no data directory of jnbd (it holds ${strange.slice(0, 3).join(', ')}); name an empty or new directory with --data`,
  );
}

function readIdentity(disk: Disk, directory: string): SystemIdentity | undefined {
  const path = `${directory}/jnbd.json`;
  const contents = attempt(`read ${path}`, () => disk.readFileSync(path, 'catalog'));
  return contents === undefined ? undefined : decodeIdentity(contents, path);
}

function makeIdentity(
  { disk, random }: DirectoryDependencies,
  directory: string,
  { name, rename: newName }: SystemNames,
): SystemIdentity {
  const identity: SystemIdentity = {
    format: 'jnbd',
    formatVersion: 1,
    systemId: randomIdentifier(random),
    name: newName ?? name ?? 'jnbd',
  };
  writeIdentity(disk, directory, identity);
  return identity;
}

/** Others know the system by its id: they learn the name when it registers, or answers, next. */
function rename(
  disk: Disk,
  directory: string,
  known: SystemIdentity,
  name: string | undefined,
): SystemIdentity {
  if (name === undefined || name === known.name) return known;
  const identity = { ...known, name };
  writeIdentity(disk, directory, identity);
  return identity;
}

function writeIdentity(disk: Disk, directory: string, identity: SystemIdentity): void {
  checkName('system', identity.name);
  const path = `${directory}/jnbd.json`;
  const contents = Buffer.from(`${JSON.stringify(identity)}\n`);
  attempt(`write ${path}`, () => disk.replaceFileSync(path, contents, 'catalog'));
}

function decodeIdentity(contents: Uint8Array, path: string): SystemIdentity {
  let identity: Partial<SystemIdentity> = {};
  try {
    identity = JSON.parse(Buffer.from(contents).toString('utf8')) as Partial<SystemIdentity>;
  } catch {
    // Falls through: not ours.
  }
  if (
    identity.format !== 'jnbd' ||
    typeof identity.systemId !== 'number' ||
    typeof identity.name !== 'string'
  ) {
    throw new JnbdError(
      'data_directory_foreign',
      `${path} is not the identity of a jnbd data directory`,
    );
  }
  if (identity.formatVersion !== 1) {
    throw new JnbdError(
      'format_newer',
      `${path} has format ${String(identity.formatVersion)}; this jnbd reads format 1`,
    );
  }
  return identity as SystemIdentity;
}
