/**
 * How a file stores its bytes, told apart where SEEK_HOLE cannot: space that is reserved and was never
 * written (zeroes that stay allocated) is a hole to it. FIEMAP shows such extents, but knows nothing of
 * what is in the page cache alone; cachestat does, without the pages that were merely read.
 */
import { constants } from 'node:os';
import type { DiskFile, FileExtent } from './disk.ts';
import { KiB } from './limits.ts';
import { addressOf, bind, errno, get64, put64, systemError } from './native.ts';
import { seekData } from './file-space.ts';
import { pageCounts, readCached } from './system-calls.ts';

const ioctl = bind('int ioctl(int fd, ulong request, uint64_t argument)');
const { EINTR, ENOSYS, ENOTTY, EOPNOTSUPP } = constants.errno;

const FS_IOC_FIEMAP = 0xc020660b;
const FIEMAP_EXTENT_LAST = 0x0001;
const FIEMAP_EXTENT_UNWRITTEN = 0x0800;
const FIEMAP_EXTENT_MERGED = 0x1000;
const FIEMAP_EXTENT_SHARED = 0x2000;
const harmlessFlags = FIEMAP_EXTENT_LAST | FIEMAP_EXTENT_MERGED | FIEMAP_EXTENT_SHARED;

/**
 * `struct fiemap`: start, length, flags, extents found, extents asked for, padding; then `struct
 * fiemap_extent`: logical, physical, length, 16 bytes, flags, 12 bytes. In words of 32 bits.
 */
const headWords = 8;
const extentWords = 14;
/** Most extents stand alone, and each that is found takes the kernel its time. */
const extentsMin = 2;
const extentsMax = 32;
const map = new Uint32Array(headWords + extentsMax * extentWords);
const mapAddress = addressOf(new Uint8Array(map.buffer)) ?? 0;

/** What looking costs, in tenths of a microsecond, about. */
const callWork = 20;
const extentWork = 2;
const pagesPerWork = 5;
const readWork = 400;

const pageBytes = 4 * KiB;
/** Looks at the page cache begin with so much, on whose multiples they end. */
const lookBytes = 256 * KiB;
const scratch = Buffer.alloc(lookBytes);
const zeroes = Buffer.alloc(pageBytes);
/** They end when so many pages were there. */
const pagesMax = 16_384;

/** File systems that end the writing back of a page only once their extents show it (statfs types). */
const ext4 = 0xef53;
const xfs = 0x58465342;

export function tellsExtents(fileSystemType: number): boolean {
  return fileSystemType === ext4 || fileSystemType === xfs;
}

/**
 * As `DiskFile.extentSync`; false: this file cannot tell. Writes elsewhere in the file, by others, may
 * go on meanwhile. What was written before the call is never told as zero: where nothing in the page
 * cache was dirty, or on its way to the device, the extents that are asked for after that show it;
 * where something was, the bytes are looked at.
 */
export function findExtent(fd: number, position: number, end: number, extent: FileExtent): boolean {
  extent.work = 0;
  let count = extentsMin;
  if (!ask(fd, position, end, count, extent)) return false;
  // Neighbours of one kind: there may be many.
  if (isLonger(extent, end)) {
    count = extentsMax;
    if (!ask(fd, position, end, count, extent)) return false;
  }
  const { storage } = extent;
  if (storage === 'data') return true;
  const clean = cleanFrom(fd, position, extent);
  if (clean === undefined) return false;
  if (clean === position) {
    if (storage === 'hole') confirmHole(fd, position, extent);
    else confirmZeroes(fd, position, extent);
    return true;
  }
  if (!ask(fd, position, clean, count, extent)) return false;
  if (extent.storage !== storage) extent.storage = 'data';
  return true;
}

/** A hole where something is dirty: it may be beside the hole, in the same folio. */
function confirmHole(fd: number, position: number, extent: FileExtent): void {
  const data = seekData(fd, position) ?? extent.end;
  extent.work += callWork;
  if (data > position) extent.end = Math.min(data, extent.end);
  else endLook(position, extent);
  if (data <= position) extent.storage = 'data';
}

/** Space that is reserved, and written in part at most, where something is dirty. */
function confirmZeroes(fd: number, position: number, extent: FileExtent): void {
  endLook(position, extent);
  const bytes = extent.end - position;
  extent.work += readWork;
  extent.storage = 'data';
  if (readCached(fd, scratch, 0, bytes, position) !== bytes) return;
  const isZero = areZeroes(0, pageEnd(position) - position, bytes);
  let at = pageEnd(position) - position;
  while (at < bytes && areZeroes(at, at + pageBytes, bytes) === isZero) at += pageBytes;
  if (isZero) extent.storage = 'reserved';
  extent.end = position + Math.min(at, bytes);
}

function endLook(position: number, extent: FileExtent): void {
  extent.end = Math.min(extent.end, position - (position % lookBytes) + lookBytes);
}

function pageEnd(position: number): number {
  return position - (position % pageBytes) + pageBytes;
}

function areZeroes(from: number, end: number, bytes: number): boolean {
  const length = Math.min(end, bytes) - from;
  return zeroes.compare(scratch, from, from + length, 0, length) === 0;
}

/** The same by SEEK_DATA and SEEK_HOLE: what is reserved is a hole. How far they look has no bound. */
export function seekExtent(
  file: Pick<DiskFile, 'nextDataSync' | 'nextHoleSync'>,
  position: number,
  end: number,
  extent: FileExtent,
): void {
  const data = file.nextDataSync(position);
  extent.storage = data > position ? 'hole' : 'data';
  extent.end = Math.min(end, data > position ? data : file.nextHoleSync(position));
  if (extent.end <= position) extent.end = end;
  extent.work = 2 * callWork;
}

/** How many neighbours of one kind the last question found. */
let joined = 0;

function isLonger(extent: FileExtent, end: number): boolean {
  return joined === extentsMin && extent.end < end;
}

function ask(
  fd: number,
  position: number,
  end: number,
  countMax: number,
  extent: FileExtent,
): boolean {
  if (ioctl === undefined) return false;
  put64(map, 0, position);
  put64(map, 2, end - position);
  map[4] = 0;
  map[5] = 0;
  map[6] = countMax;
  map[7] = 0;
  while (ioctl(fd, FS_IOC_FIEMAP, mapAddress) !== 0) {
    const number = errno();
    if (number === EOPNOTSUPP || number === ENOTTY || number === ENOSYS) return false;
    if (number !== EINTR) throw systemError(number, 'ioctl(FIEMAP)');
  }
  const count = map[5] ?? 0;
  extent.work += callWork + count * extentWork;
  const first = count > 0 ? startOf(0) : end;
  joined = 0;
  if (first > position) {
    extent.storage = 'hole';
    extent.end = Math.min(first, end);
    return true;
  }
  extent.storage = storageOf(0);
  let stop = endOf(0);
  for (joined = 1; joined < count && stop < end; joined += 1) {
    if (startOf(joined) !== stop || storageOf(joined) !== extent.storage) break;
    stop = endOf(joined);
  }
  extent.end = Math.min(stop, end);
  return true;
}

function startOf(at: number): number {
  return get64(map, headWords + at * extentWords);
}

function endOf(at: number): number {
  return startOf(at) + get64(map, headWords + at * extentWords + 4);
}

/** What is only in memory yet, compressed, or stored otherwise is data. */
function storageOf(at: number): 'data' | 'reserved' {
  const flags = (map[headWords + at * extentWords + 10] ?? 0) & ~harmlessFlags;
  return flags === FIEMAP_EXTENT_UNWRITTEN ? 'reserved' : 'data';
}

/**
 * How far, from `position` up to `extent.end`, nothing in the page cache waits to be written; undefined:
 * it cannot be told.
 */
function cleanFrom(fd: number, position: number, extent: FileExtent): number | undefined {
  let pages = 0;
  let at = position;
  for (let width = lookBytes; at < extent.end && pages < pagesMax; width *= 2) {
    const stop = Math.min(extent.end, at - (at % lookBytes) + width);
    const counts = pageCounts(fd, at, stop - at);
    if (counts === undefined) return undefined;
    pages += counts.cached;
    extent.work += callWork + counts.cached / pagesPerWork;
    if (counts.unwritten > 0) return at;
    at = stop;
  }
  return at;
}
