/** The real disk: files through `node:fs`, and through system calls where Node has none. */
import fs from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import type { Disk, DiskFile, FileLock, FileRole, OpenMode } from './disk.ts';
import { systemErrorCode } from './errors.ts';
import { closeDescriptor } from './last-close.ts';
import { addressOf, systemError } from './native.ts';
import { NodeDiskFile } from './node-disk-file.ts';
import * as systemCalls from './system-calls.ts';

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_WRONLY, O_DIRECTORY } = fs.constants;
const { O_NOFOLLOW, O_NONBLOCK } = fs.constants;

const openFlags: Record<OpenMode, number> = {
  read: O_RDONLY,
  'read-write': O_RDWR,
  create: O_RDWR | O_CREAT | O_EXCL,
  'open-or-create': O_RDWR | O_CREAT,
};

/** Volumes and journals hold what hosts wrote: nobody else may read them. */
const fileMode = 0o600;
const directoryMode = 0o700;

const directAlignmentBytes = 4096;

export class NodeDisk implements Disk {
  openSync(file: string, mode: OpenMode, role: FileRole): DiskFile {
    const descriptor = fs.openSync(file, openFlags[mode], fileMode);
    // To read, the system opens a directory too, and would complain at the first read.
    if (mode === 'read' && fs.fstatSync(descriptor).isDirectory()) {
      fs.closeSync(descriptor);
      throw systemError(constants.errno.EISDIR, `open '${file}'`);
    }
    return new NodeDiskFile(file, descriptor, role);
  }

  readFileSync(file: string, _role: FileRole): Uint8Array | undefined {
    try {
      return fs.readFileSync(file);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  replaceFileSync(file: string, contents: Uint8Array, _role: FileRole): void {
    // A crash before the rename leaves this behind, to be overwritten by the next replacement.
    const temporary = `${file}.tmp`;
    const descriptor = fs.openSync(temporary, O_WRONLY | O_CREAT | O_TRUNC, fileMode);
    try {
      try {
        let written = 0;
        while (written < contents.length) {
          written += fs.writeSync(
            descriptor,
            contents,
            written,
            contents.length - written,
            written,
          );
        }
        // Before the rename: else the name could come to stand for contents that are not there.
        fs.fsyncSync(descriptor);
      } finally {
        fs.closeSync(descriptor);
      }
      fs.renameSync(temporary, file);
    } catch (error) {
      fs.rmSync(temporary, { force: true });
      throw error;
    }
    this.syncDirectorySync(path.dirname(file));
  }

  /** An entry that cannot be looked at (EACCES, EIO) is an error, not an absence. */
  existsSync(file: string): boolean {
    return statIfThere(file) !== undefined;
  }

  isDirectorySync(file: string): boolean {
    return statIfThere(file)?.isDirectory() ?? false;
  }

  listSync(directory: string): string[] {
    return fs.readdirSync(directory).sort();
  }

  makeDirectorySync(directory: string): void {
    const resolved = path.resolve(directory);
    const parent = path.dirname(resolved);
    if (parent === resolved) return;
    if (!this.isDirectorySync(parent)) this.makeDirectorySync(parent);
    let isNew = true;
    try {
      fs.mkdirSync(resolved, directoryMode);
    } catch (error) {
      // Some file systems refuse before they look whether it is there.
      if (!this.isDirectorySync(resolved)) throw error;
      isNew = false;
    }
    try {
      // Also where it was there: whoever made it may have died before this line.
      this.syncDirectorySync(parent);
    } catch (error) {
      const isOutOfReach = ['EACCES', 'EPERM', 'EROFS'].includes(systemErrorCode(error) ?? '');
      if (isNew || !isOutOfReach) throw error;
    }
  }

  renameSync(from: string, to: string): void {
    fs.renameSync(from, to);
  }

  removeFileSync(file: string): void {
    // Held until its name is gone: then the last one to close it is not who waits here.
    const descriptor = openOrUndefined(file);
    try {
      fs.unlinkSync(file);
    } finally {
      if (descriptor !== undefined) closeDescriptor(descriptor);
    }
  }

  removeDirectorySync(directory: string): void {
    fs.rmdirSync(directory);
  }

  syncDirectorySync(directory: string): void {
    const descriptor = fs.openSync(directory, O_RDONLY | O_DIRECTORY);
    try {
      fs.fsyncSync(descriptor);
    } catch (error) {
      // A file system that says so keeps no entries to sync apart from files.
      if (systemErrorCode(error) !== 'EINVAL') throw error;
    } finally {
      fs.closeSync(descriptor);
    }
  }

  freeBytesSync(file: string): number {
    const { bavail, bsize } = fs.statfsSync(file);
    return bavail * bsize;
  }

  isRotationalSync(file: string): boolean {
    try {
      const { dev } = fs.statSync(file, { bigint: true });
      const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
      const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
      const device = fs.realpathSync(`/sys/dev/block/${major}:${minor}`);
      // A partition has no queue of its own; its disk is the directory above.
      const queue = [device, path.dirname(device)].find((at) => fs.existsSync(`${at}/queue`));
      return fs.readFileSync(`${queue}/queue/rotational`, 'latin1').trim() === '1';
    } catch {
      return false; // No block device of its own (tmpfs, btrfs, NFS), or not Linux.
    }
  }

  lockSync(file: string): FileLock | undefined {
    const descriptor = fs.openSync(file, O_RDWR | O_CREAT, fileMode);
    let isLocked = false;
    try {
      isLocked = systemCalls.lockExclusively(descriptor);
    } finally {
      if (!isLocked) fs.closeSync(descriptor);
    }
    if (!isLocked) return undefined;
    let isReleased = false;
    return {
      release() {
        // Once: the number may belong to another file by the second time.
        if (!isReleased) fs.closeSync(descriptor);
        isReleased = true;
      },
    };
  }

  isLockedSync(file: string): boolean {
    if (!this.existsSync(file)) return false;
    const descriptor = fs.openSync(file, O_RDONLY);
    try {
      return systemCalls.isLocked(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
  }

  allocateAligned(bytes: number): Uint8Array {
    const buffer = new ArrayBuffer(bytes + directAlignmentBytes);
    const misalignment = (addressOf(new Uint8Array(buffer)) ?? 0) % directAlignmentBytes;
    const start = misalignment === 0 ? 0 : directAlignmentBytes - misalignment;
    return new Uint8Array(buffer, start, bytes);
  }
}

function statIfThere(file: string): fs.Stats | undefined {
  try {
    return fs.statSync(file);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Undefined: what cannot be opened is removed in this thread. */
function openOrUndefined(file: string): number | undefined {
  try {
    return fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return undefined;
  }
}
