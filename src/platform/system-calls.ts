/**
 * System calls that Node does not offer, on 64-bit Linux with glibc or musl: advice, write-back, locks,
 * reads that do not wait, sending. Those about the space of files are in `file-space.ts`. Descriptors are
 * plain numbers; offsets and lengths are bytes; a failure throws a system error with `code`, `errno` and
 * `syscall`. Where the platform, the C library, the kernel or the file system lacks a call, the code is
 * ENOSYS or ENOTSUP (`isMissing`) and the caller does it another way.
 */
import { constants } from 'node:os';
import {
  addressOf,
  bind,
  bindAsync,
  bufferAddress,
  errno,
  get64,
  libc,
  type NativeFunction,
  put64,
  systemError,
} from './native.ts';

const posixFadvise = bind('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)');
const syncFileRangePrototype =
  'int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)';
const syncFileRange = bindAsync(syncFileRangePrototype);
const syncFileRangeSync = bind(syncFileRangePrototype);
const poll = bind('int poll(uint64_t descriptors, ulong count, int milliseconds)');
const fcntl = libc?.func('fcntl', 'int', ['int', 'int', '...']);
const preadv2 =
  bind('int64_t preadv2(int fd, uint64_t vectors, int count, int64_t offset, int flags)') ??
  preadv2ByNumber();

const getPageSize = bind('int getpagesize()');
const send = bind('int64_t send(int fd, uint64_t bytes, ulong length, int flags)');
const sendfile = bind('int64_t sendfile(int fd, int from, uint64_t offset, ulong length)');
const cachestat = bind(
  'long syscall(long number, long fd, uint64_t range, uint64_t counts, long flags)',
);

/** musl has `preadv2` since 1.2.5; before that the kernel is asked by number. */
function preadv2ByNumber(): NativeFunction | undefined {
  const number = { x64: 327, arm64: 286, riscv64: 286, loong64: 286 }[process.arch as string];
  const call = bind(
    'long syscall(long number, long fd, uint64_t vectors, long count, int64_t offset, long high, long flags)',
  );
  if (number === undefined || call === undefined) return undefined;
  return (fd, vectors, count, offset, flags) =>
    // The high half of the offset is there for 32-bit machines only.
    call(
      number,
      fd as number,
      vectors as number,
      count as number,
      offset as number,
      0,
      flags as number,
    );
}

const { EACCES, EAGAIN, EINTR, EINVAL, ENOSYS, EOPNOTSUPP, ESPIPE } = constants.errno;

const POSIX_FADV_WILLNEED = 3;
const POSIX_FADV_DONTNEED = 4;

/** Starts reading the range into the page cache. Advice: nothing fails. */
export function adviseNeeded(fd: number, position: number, length: number): void {
  posixFadvise?.(fd, position, length, POSIX_FADV_WILLNEED);
}

/** Drops what is clean of the range from the page cache. Advice: nothing fails. */
export function adviseNotNeeded(fd: number, position: number, length: number): void {
  posixFadvise?.(fd, position, length, POSIX_FADV_DONTNEED);
}

const SYNC_FILE_RANGE_WRITE = 2;

/** Begins to write the dirty pages of the range to the device. Errors of the device stay for the next sync to tell. */
export function beginWriteBack(fd: number, position: number, length: number): void {
  syncFileRangeSync?.(fd, position, length, SYNC_FILE_RANGE_WRITE);
}

/** SYNC_FILE_RANGE_WAIT_BEFORE | WRITE | WAIT_AFTER */
const SYNC_FILE_RANGE_ALL = 7;

/** Writes the dirty pages of the range to the device and waits, in the thread pool. */
export function writeBack(
  fd: number,
  position: number,
  length: number,
  done: (error: Error | null) => void,
): void {
  if (syncFileRange === undefined) {
    setImmediate(done, null);
    return;
  }
  const finished = (error: Error | null, result: number): void => {
    const number = errno();
    if (error === null && result !== 0 && number !== ENOSYS && number !== ESPIPE) {
      done(systemError(number, 'sync_file_range'));
    } else {
      done(error);
    }
  };
  syncFileRange(fd, position, length, SYNC_FILE_RANGE_ALL, finished);
}

const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_WRLCK = 1;
const F_UNLCK = 2;

/**
 * Takes an exclusive lock on the whole file for the open file description behind `fd`, which must be
 * writable; it ends when that description is closed. False when somebody else holds one.
 */
export function lockExclusively(fd: number): boolean {
  if (fcntl === undefined) throw systemError(ENOSYS, 'fcntl(F_OFD_SETLK)');
  // struct flock: short type, short whence, 4 bytes of padding, start, length (0: to the end), pid (must be 0).
  const lock = new Int16Array(16);
  lock[0] = F_WRLCK;
  if (fcntl(fd, F_OFD_SETLK, 'void *', lock) === 0) return true;
  const number = errno();
  if (number === EAGAIN || number === EACCES) return false;
  throw systemError(number, 'fcntl(F_OFD_SETLK)');
}

/** Whether `lockExclusively` would find the file locked. Takes no lock; `fd` may be read-only. */
export function isLocked(fd: number): boolean {
  if (fcntl === undefined) throw systemError(ENOSYS, 'fcntl(F_OFD_GETLK)');
  const lock = new Int16Array(16);
  lock[0] = F_WRLCK;
  if (fcntl(fd, F_OFD_GETLK, 'void *', lock) !== 0) {
    throw systemError(errno(), 'fcntl(F_OFD_GETLK)');
  }
  return lock[0] !== F_UNLCK;
}

const POLLERR = 0x08;
const POLLHUP = 0x10;
const POLLRDHUP = 0x2000;
/** One `struct pollfd`, { descriptor, events, returned events }. */
const polled = new DataView(new ArrayBuffer(8));
const polledAddress = addressOf(new Uint8Array(polled.buffer)) ?? 0;

/**
 * How the other side of a stream socket is, without reading: `ended` has said that it sends nothing
 * more, `gone` takes nothing any more either. `undefined` where the system cannot tell.
 */
export function peerState(fd: number): 'there' | 'ended' | 'gone' | undefined {
  if (poll === undefined) return undefined;
  const isLittle = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
  polled.setInt32(0, fd, isLittle);
  polled.setInt16(4, POLLRDHUP, isLittle);
  polled.setInt16(6, 0, isLittle);
  if (poll(polledAddress, 1, 0) < 0) return undefined;
  const events = polled.getInt16(6, isLittle);
  if ((events & (POLLERR | POLLHUP)) !== 0) return 'gone';
  return (events & POLLRDHUP) === 0 ? 'there' : 'ended';
}

const RWF_NOWAIT = 0x08;
/** One `struct iovec`, { address, length }, used by each call in turn: calls do not nest. */
const vector = new Uint32Array(4);
const vectorAddress = addressOf(new Uint8Array(vector.buffer)) ?? 0;

/** `readCached` found that the device would have to be asked. */
export const notCached = -1;
/** `readCached` found that this file cannot tell; it never will. */
export const cannotTell = -2;

/**
 * Reads what the page cache holds, without waiting: bytes read (fewer than `length` also where only
 * the beginning is cached; 0 only at the end of the file), `notCached` or `cannotTell`.
 */
export function readCached(
  fd: number,
  bytes: Uint8Array,
  start: number,
  length: number,
  position: number,
): number {
  if (preadv2 === undefined) return cannotTell;
  // The kernel writes where it is told to: the one place where a wrong range would not throw by itself.
  if (!(start >= 0 && length >= 0 && start + length <= bytes.length)) {
    throw new RangeError(`range ${start}+${length} is outside of ${bytes.length} bytes`);
  }
  const target = bufferAddress(bytes.buffer) + bytes.byteOffset + start;
  put64(vector, 0, target);
  put64(vector, 2, length);
  for (;;) {
    const count = preadv2(fd, vectorAddress, 1, position, RWF_NOWAIT);
    if (count >= 0) return count;
    const number = errno();
    if (number === EAGAIN) return notCached;
    if (number === EOPNOTSUPP || number === ENOSYS || number === EINVAL) return cannotTell;
    if (number !== EINTR) throw systemError(number, 'preadv2');
  }
}

/** The same on all the supported architectures; no C library has a function for it. */
const cachestatNumber = 451;
/**
 * `struct cachestat_range`, { offset, length }, and `struct cachestat`, { cached, dirty, being written,
 * evicted, recently evicted }.
 */
const cacheQuery = new Uint32Array(14);
const cacheQueryAddress = addressOf(new Uint8Array(cacheQuery.buffer)) ?? 0;
const pageBytes = getPageSize?.() ?? 4096;

/** Pages of the range in the page cache, and of those that are not on the device; reused by each call. */
const counts = { cached: 0, unwritten: 0 };

/** `undefined` where this cannot be told: before Linux 6.5, and for some files. */
export function pageCounts(
  fd: number,
  position: number,
  length: number,
): { readonly cached: number; readonly unwritten: number } | undefined {
  if (cachestat === undefined) return undefined;
  put64(cacheQuery, 0, position);
  put64(cacheQuery, 2, length);
  if (cachestat(cachestatNumber, fd, cacheQueryAddress, cacheQueryAddress + 16, 0) !== 0) {
    return undefined;
  }
  counts.cached = get64(cacheQuery, 4);
  counts.unwritten = get64(cacheQuery, 6) + get64(cacheQuery, 8);
  return counts;
}

/**
 * Whether the page cache has all pages of the range, those that are just being read in included.
 * `undefined` where this cannot be told: before Linux 6.5, and for some files.
 */
export function hasPagesCached(fd: number, position: number, length: number): boolean | undefined {
  const found = pageCounts(fd, position, length);
  if (found === undefined) return undefined;
  const first = Math.floor(position / pageBytes);
  return found.cached === Math.ceil((position + length) / pageBytes) - first;
}

const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_MORE = 0x8000;

/** `sendMore` or `sendFile` failed for good: this socket, or this file, is to be sent another way. */
export const cannotSend = -1;

/**
 * Sends `bytes[start, end)`, of which a continuation follows at once, without waiting: bytes that the
 * socket took, 0 when it is full, or `cannotSend`.
 */
export function sendMore(fd: number, bytes: Uint8Array, start: number, end: number): number {
  if (send === undefined) return cannotSend;
  if (!(start >= 0 && start <= end && end <= bytes.length)) {
    throw new RangeError(`range ${start} to ${end} is outside of ${bytes.length} bytes`);
  }
  const from = bufferAddress(bytes.buffer) + bytes.byteOffset + start;
  for (;;) {
    const count = send(fd, from, end - start, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE);
    if (count >= 0) return count;
    const number = errno();
    if (number === EAGAIN) return 0;
    if (number !== EINTR) return cannotSend;
  }
}

const fileOffset = new Uint32Array(2);
const fileOffsetAddress = addressOf(new Uint8Array(fileOffset.buffer)) ?? 0;

/**
 * Sends from a file to a socket that does not block: bytes that the socket took, 0 when it is full or
 * the file has ended, or `cannotSend`. Waits for the device where the page cache has not the range.
 */
export function sendFile(fd: number, from: number, position: number, length: number): number {
  if (sendfile === undefined) return cannotSend;
  put64(fileOffset, 0, position);
  for (;;) {
    const count = sendfile(fd, from, fileOffsetAddress, length);
    if (count >= 0) return count;
    const number = errno();
    if (number === EAGAIN) return 0;
    if (number !== EINTR) return cannotSend;
  }
}
