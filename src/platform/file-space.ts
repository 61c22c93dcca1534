/**
 * System calls about the space that files take: allocating, punching, zeroing, finding holes, and
 * sharing blocks between files. Descriptors are plain numbers; offsets and lengths are bytes; a failure
 * throws a system error. Where the file system lacks a call, `isMissing`.
 */
import { constants } from 'node:os';
import { addressOf, bind, errno, missing, put64, systemError } from './native.ts';

const fallocate = bind('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
const lseek = bind('int64_t lseek(int fd, int64_t offset, int whence)');
const ioctl = bind('int ioctl(int fd, ulong request, uint64_t argument)');

const { EINTR, EINVAL, ENOTTY, ENXIO, EOPNOTSUPP, EXDEV } = constants.errno;

const FALLOC_FL_KEEP_SIZE = 0x01;
const FALLOC_FL_PUNCH_HOLE = 0x02;
const FALLOC_FL_ZERO_RANGE = 0x10;

function allocate(fd: number, mode: number, position: number, length: number, what: string): void {
  if (length === 0) return; // The kernel refuses it.
  if (fallocate === undefined) throw systemError(missing, what);
  while (fallocate(fd, mode, position, length) !== 0) {
    const number = errno();
    if (number !== EINTR) throw systemError(number, what);
  }
}

/** Allocates the range, enlarging the file where the range ends past it; contents stay. */
export function preallocate(fd: number, position: number, length: number): void {
  allocate(fd, 0, position, length, 'fallocate');
}

/** Gives the blocks of the range back; the size stays. */
export function punchHole(fd: number, position: number, length: number): void {
  const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  allocate(fd, mode, position, length, 'fallocate(PUNCH_HOLE)');
}

/** The range reads as zero and is allocated; the file grows where the range ends past it. */
export function zeroRange(fd: number, position: number, length: number): void {
  allocate(fd, FALLOC_FL_ZERO_RANGE, position, length, 'fallocate(ZERO_RANGE)');
}

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

function seek(fd: number, position: number, whence: number, what: string): number | undefined {
  if (lseek === undefined) throw systemError(missing, what);
  const found = lseek(fd, position, whence);
  if (found >= 0) return found;
  const number = errno();
  if (number === ENXIO) return undefined;
  throw systemError(number, what);
}

/** First offset from `position` on with data; `undefined` where only a hole or nothing follows. */
export function seekData(fd: number, position: number): number | undefined {
  return seek(fd, position, SEEK_DATA, 'lseek(SEEK_DATA)');
}

/** First offset from `position` on in a hole, or the file's end; `undefined` past the end. */
export function seekHole(fd: number, position: number): number | undefined {
  return seek(fd, position, SEEK_HOLE, 'lseek(SEEK_HOLE)');
}

const FICLONERANGE = 0x4020940d;
const cannotShare = [EOPNOTSUPP, ENOTTY, EXDEV, EINVAL];
/** `struct file_clone_range`, { from, offset, length, to offset }; calls do not nest. */
const cloneQuery = new Uint32Array(8);
const cloneQueryAddress = addressOf(new Uint8Array(cloneQuery.buffer)) ?? 0;

/** Shares blocks between files; false where this pair of ranges cannot be shared. */
export function cloneRange(
  fd: number,
  position: number,
  fromFd: number,
  fromPosition: number,
  length: number,
): boolean {
  if (length === 0) return true; // To the kernel 0 means "to the end of the file".
  if (ioctl === undefined) return false;
  // Descriptors of closed files are -1, whose 64 bits are not those of a count.
  if (fromFd < 0) throw systemError(constants.errno.EBADF, 'ioctl(FICLONERANGE)');
  put64(cloneQuery, 0, fromFd);
  put64(cloneQuery, 2, fromPosition);
  put64(cloneQuery, 4, length);
  put64(cloneQuery, 6, position);
  for (;;) {
    if (ioctl(fd, FICLONERANGE, cloneQueryAddress) === 0) return true;
    const number = errno();
    if (number === EINTR) continue;
    if (cannotShare.includes(number)) return false;
    throw systemError(number, 'ioctl(FICLONERANGE)');
  }
}
