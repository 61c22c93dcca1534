/**
 * The disk as this program uses it: the only way to files. `node-disk.ts` is the real one; the
 * simulation has one that loses, reorders and tears whatever was not synced.
 *
 * Offsets, lengths and sizes are bytes. Methods whose name ends in `Sync` return when done; the
 * others call back once, later, never from within the call. Failures are system errors with `code`
 * (`ENOSPC`, `EIO`, ...); the caller knows what the file was for and says so.
 */

import { blockBytes } from './limits.ts';

export type ReadDone = (error: Error | null, bytesRead: number) => void;
export type SyncDone = (error: Error | null) => void;

/** What a file is for: fault injection and error texts go by it. */
export type FileRole =
  | 'segment'
  | 'checkpoint'
  | 'catalog'
  | 'volume'
  | 'checksums'
  | 'lock'
  | 'incarnation'
  | 'area'
  | 'import';

/** What a file has from one offset on; filled by `extentSync`, and reused by who asks. */
export interface FileExtent {
  /** `reserved`: it has its space and reads as zero. `data`: also where it cannot be told better. */
  storage: 'data' | 'reserved' | 'hole';
  end: number;
  /** What looking took, in tenths of a microsecond, about. */
  work: number;
}

export interface DiskFile {
  readonly path: string;
  /** The descriptor of a real file (for advice, tests and sending from it); -1 in a simulation and once closed. */
  readonly descriptor: number;

  /** Reads up to `length` bytes; fewer only at the end of the file. May block on the device. */
  readSync(bytes: Uint8Array, start: number, length: number, position: number): number;
  /** As `readSync`, but returns -1 at once where the device would have to be asked. */
  readIfCachedSync(bytes: Uint8Array, start: number, length: number, position: number): number;
  /**
   * Whether the page cache has the whole range, so that it can be sent from the file without waiting
   * for the device. False where that cannot be told.
   */
  isCachedSync(position: number, length: number): boolean;
  read(bytes: Uint8Array, start: number, length: number, position: number, done: ReadDone): void;
  /**
   * As `readSync`, past the page cache, so that what is read is what the device holds. `position`,
   * `length` are multiples of 4096; `bytes` comes from `Disk.allocateAligned`. Falls back to a
   * buffered read on file systems without direct reads.
   */
  readDirectSync(bytes: Uint8Array, start: number, length: number, position: number): number;

  /** Writes all `length` bytes or throws. */
  writeSync(bytes: Uint8Array, start: number, length: number, position: number): void;
  /**
   * As `writeSync`, and zeroes behind it up to a multiple of 4096, where nothing is that counts: no block
   * is begun and left, which the kernel would have to read from the device first if the page cache has it not.
   */
  appendSync(bytes: Uint8Array, start: number, length: number, position: number): void;

  /** `fdatasync`: contents, and the size where it changed. */
  dataSyncSync(): void;
  dataSync(done: SyncDone): void;

  /**
   * Writes what is dirty of the range to the device and waits for that, so that a sync later has
   * little left to do. It makes nothing durable, and an error told here is not told by a sync again.
   */
  writeBack(position: number, length: number, done: SyncDone): void;

  /**
   * Begins to write what is dirty of the range to the device and does not wait for it, unless the device has no
   * room for more. Advice: nothing fails, and a sync tells what went wrong.
   */
  beginWriteBackSync(position: number, length: number): void;

  /**
   * Writes zeroes where space is only reserved, a little at a time and as long as `isWanted`: what is written there
   * later changes contents alone, and a sync of it waits for nothing else on the file system. Nothing reads
   * otherwise than before. `done` is called once, when nothing of it is on its way any more: within the call where
   * nothing is to be done. What fails is left as it is.
   */
  fillReserved(isWanted: () => boolean, done: () => void): void;

  /** Reserves space, size included, without writing; contents read as zero. */
  preallocateSync(position: number, length: number): void;
  /** Gives the space back; the range reads as zero. Where the file system cannot: writes zeroes. */
  punchHoleSync(position: number, length: number): void;
  /** The range reads as zero and stays (or becomes) allocated. */
  zeroRangeSync(position: number, length: number): void;
  truncateSync(sizeBytes: number): void;
  sizeSync(): number;
  allocatedBytesSync(): number;
  /** First offset >= position that holds data; the file's size where none does. */
  nextDataSync(position: number): number;
  /** First offset >= position in a hole (or the file's size). */
  nextHoleSync(position: number): number;
  /**
   * What the file has from `position` on, and how far, at most to `end`, which is within the file. Never
   * calls a hole, or reserved, what was written before. Work is bounded: the same may go on at
   * `extent.end`.
   */
  extentSync(position: number, end: number, extent: FileExtent): void;
  /** Shares the blocks of another file (reflink). False where the file system cannot. */
  cloneRangeSync(from: DiskFile, fromPosition: number, length: number, position: number): boolean;
  /** Advises the kernel to read the range ahead. */
  adviseNeeded(position: number, length: number): void;
  /** Advises the kernel that what the device has of the range will not be read soon: its memory is for others. */
  adviseNotNeeded(position: number, length: number): void;
  closeSync(): void;
}

/** From there to the next multiple of 4096. */
export function restOfBlock(position: number): number {
  return (blockBytes - (position % blockBytes)) % blockBytes;
}

/** `create` fails with EEXIST on an existing file; `open-or-create` keeps it. */
export type OpenMode = 'read' | 'read-write' | 'create' | 'open-or-create';

export interface FileLock {
  release(): void;
}

export interface Disk {
  openSync(path: string, mode: OpenMode, role: FileRole): DiskFile;
  /** The whole of a small file; `undefined` where it does not exist. */
  readFileSync(path: string, role: FileRole): Uint8Array | undefined;
  /**
   * Replaces a small file as one step: temporary file, its contents synced, renamed, directory
   * synced. A crash leaves the old contents or the new ones.
   */
  replaceFileSync(path: string, contents: Uint8Array, role: FileRole): void;
  existsSync(path: string): boolean;
  isDirectorySync(path: string): boolean;
  /** Names in a directory, sorted. */
  listSync(path: string): string[];
  /** Creates the directory and its parents, and syncs the entries. Existing: no error. */
  makeDirectorySync(path: string): void;
  renameSync(from: string, to: string): void;
  removeFileSync(path: string): void;
  removeDirectorySync(path: string): void;
  /** After this, entries made, renamed or removed in the directory survive power loss. */
  syncDirectorySync(path: string): void;
  /** Bytes an ordinary user may still allocate on the file system that holds `path`. */
  freeBytesSync(path: string): number;
  /** Whether the device under `path` spins; false where it cannot be told. */
  isRotationalSync(path: string): boolean;
  /** Takes an exclusive lock; `undefined` when another process holds it. */
  lockSync(path: string): FileLock | undefined;
  /** Whether somebody holds that lock. Takes none and writes nothing; no such file: false. */
  isLockedSync(path: string): boolean;
  /** A buffer whose address is a multiple of 4096. */
  allocateAligned(bytes: number): Uint8Array;
}
