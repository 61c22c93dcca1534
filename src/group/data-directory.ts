import type { Disk, FileLock } from '../platform/disk.ts';
import { JnbdError, messageOf, systemErrorCode } from '../platform/errors.ts';
import type { Random } from '../platform/random.ts';
import { randomIdentifier } from '../platform/random.ts';
import { checkName } from './names.ts';

/** `jnbd.json` of a data directory: whose it is, and in which format. */
export interface SystemIdentity {
  readonly format: 'jnbd';
  readonly formatVersion: 1;
  readonly systemId: number;
  readonly name: string;
}

/**
 * Takes the directory for this process and says whose it is; an empty or missing one becomes a new
 * system's. Nothing in a directory that is not ours is touched.
 */
export function lockDirectory(
  deps: { readonly disk: Disk; readonly random: Random },
  directory: string,
  name: string | undefined,
): { lock: FileLock; identity: SystemIdentity } {
  const { disk, random } = deps;
  const identityPath = `${directory}/jnbd.json`;
  let lock: FileLock | undefined;
  try {
    if (disk.isDirectorySync(directory) && !disk.existsSync(identityPath)) {
      const strange = disk
        .listSync(directory)
        .filter((entry) => entry !== 'lock' && entry !== 'lost+found');
      if (strange.length > 0) {
        throw new JnbdError(
          'data_directory_foreign',
          `${directory} is not empty and no data directory of jnbd (it holds ${strange.slice(0, 3).join(', ')}); name an empty or new directory with --data`,
        );
      }
    }
    disk.makeDirectorySync(directory);
    lock = disk.lockSync(`${directory}/lock`);
  } catch (error) {
    if (error instanceof JnbdError) throw error;
    const code = systemErrorCode(error);
    throw new JnbdError(
      code === 'ENOSPC' ? 'disk_full' : 'data_directory_read_only',
      `cannot write to data directory ${directory}: ${messageOf(error)}`,
      { cause: error },
    );
  }
  if (!lock) {
    throw new JnbdError(
      'data_directory_locked',
      `data directory ${directory} is in use by another jnbd daemon (it holds ${directory}/lock); stop that one, or use another --data`,
    );
  }
  const contents = disk.readFileSync(identityPath, 'catalog');
  if (contents !== undefined) {
    return { lock, identity: decodeIdentity(contents, identityPath) };
  }
  const identity: SystemIdentity = {
    format: 'jnbd',
    formatVersion: 1,
    systemId: randomIdentifier(random),
    name: name ?? 'jnbd',
  };
  checkName('system', identity.name);
  disk.replaceFileSync(identityPath, Buffer.from(`${JSON.stringify(identity)}\n`), 'catalog');
  return { lock, identity };
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
