import { createHash } from 'node:crypto';
import { assert } from '../platform/assert.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { messageOf, systemErrorCode } from '../platform/errors.ts';
import { KiB } from '../platform/limits.ts';

/** Contents of volumes are compared in units of this; the last one of a volume may be shorter. */
export const hashUnitBytes = 64 * KiB;
/** The first half of a SHA-256: nobody is to make two units that pass for one. */
export const unitHashBytes = 16;
/** So much is read and hashed at once: half a millisecond of a processor. */
export const hashPieceBytes = 512 * KiB;

const zeroes = Buffer.alloc(hashUnitBytes);
/** Of units that are holes, by their length; nearly all of them are whole. */
const zeroHashes = new Map<number, Buffer>();

function hashOfUnit(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest().subarray(0, unitHashBytes);
}

function hashOfZeroes(length: number): Buffer {
  let hash = zeroHashes.get(length);
  if (!hash) {
    hash = hashOfUnit(zeroes.subarray(0, length));
    zeroHashes.set(length, hash);
  }
  return hash;
}

/** How many units there are in so many bytes, from the beginning of one on. */
export function unitsIn(bytes: number, unitBytes = hashUnitBytes): number {
  return Math.ceil(bytes / unitBytes);
}

export interface HashPiece {
  readonly offset: number;
  /** Whole units, but for the end. */
  readonly length: number;
  /** Nothing needs to be read: it is all zero. */
  readonly isHole: boolean;
}

/** [offset, end) of a file in pieces to be hashed one after the other; `offset` is the beginning of a unit. */
export function* hashPieces(
  file: { nextDataSync(position: number): number },
  offset: number,
  end: number,
): Generator<HashPiece> {
  for (let position = offset; position < end; ) {
    const data = file.nextDataSync(position);
    // A file that ends before has nothing but zeroes behind.
    const holeEnd = data < position ? end : Math.min(data, end);
    const hole = holeEnd === end ? end - position : floorToUnit(holeEnd - position);
    const length = hole > 0 ? hole : Math.min(hashPieceBytes, end - position);
    yield { offset: position, length, isHole: hole > 0 };
    position += length;
  }
}

function floorToUnit(bytes: number): number {
  return bytes - (bytes % hashUnitBytes);
}

/** The hashes of some units, while they are made in order. */
export class UnitHashes {
  readonly bytes: Buffer;
  readonly #unitBytes: number;
  #at = 0;

  /** `length`: of what is hashed. A whole number of `unitBytes` is `hashUnitBytes`. */
  constructor(length: number, unitBytes = hashUnitBytes) {
    this.#unitBytes = unitBytes;
    this.bytes = Buffer.allocUnsafe(unitsIn(length, unitBytes) * unitHashBytes);
  }

  /** Whole units, but for the end. */
  add(contents: Uint8Array): void {
    const unitBytes = this.#unitBytes;
    for (let at = 0; at < contents.length; at += unitBytes) {
      this.#put(hashOfUnit(contents.subarray(at, at + unitBytes)));
    }
  }

  addZeroes(length: number): void {
    const unitBytes = this.#unitBytes;
    for (let left = length; left > 0; left -= unitBytes) {
      this.#put(hashOfZeroes(Math.min(left, unitBytes)));
    }
  }

  #put(hash: Buffer): void {
    assert(this.#at < this.bytes.length, 'there is room for the hash of every unit');
    this.#at += hash.copy(this.bytes, this.#at);
  }
}

/** Of a part of a volume's file, within the call; or why it cannot be read. */
export function hashVolume(
  disk: Disk,
  asked: {
    readonly volume: { readonly path: string };
    readonly offset: number;
    readonly length: number;
  },
): Uint8Array | { readonly failure: string } {
  const { volume, offset, length } = asked;
  let file: DiskFile | undefined;
  try {
    file = disk.openSync(volume.path, 'read', 'volume');
    return hashFile(file, offset, offset + length);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return { failure: `cannot read ${volume.path}: ${messageOf(error)}` };
  } finally {
    file?.closeSync();
  }
}

/** What is behind the end of the file is zero. */
function hashFile(file: DiskFile, offset: number, end: number): Uint8Array {
  const hashes = new UnitHashes(end - offset);
  const buffer = Buffer.allocUnsafe(hashPieceBytes);
  for (const piece of hashPieces(file, offset, end)) {
    if (piece.isHole) {
      hashes.addZeroes(piece.length);
      continue;
    }
    const count = file.readSync(buffer, 0, piece.length, piece.offset);
    buffer.fill(0, count, piece.length);
    hashes.add(buffer.subarray(0, piece.length));
  }
  return Uint8Array.from(hashes.bytes);
}

/** Which bytes of [offset, offset + length) differ, in units, by their hashes. */
export function* differingUnits(
  a: Uint8Array,
  b: Uint8Array,
  offset: number,
  length: number,
  unitBytes = hashUnitBytes,
): Generator<{ readonly offset: number; readonly length: number }> {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  for (let unit = 0; unit < unitsIn(length, unitBytes); unit += 1) {
    const at = unit * unitHashBytes;
    const end = at + unitHashBytes;
    if (left.subarray(at, end).equals(right.subarray(at, end))) continue;
    const position = unit * unitBytes;
    yield { offset: offset + position, length: Math.min(unitBytes, length - position) };
  }
}
