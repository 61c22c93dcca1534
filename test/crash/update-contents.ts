import { FuzzRandom } from '../fuzz/fuzz-random.ts';

/** What a change of the volumes is told apart by: the smallest part that any of them has. */
export const sectorBytes = 512;
/** The longest single write of the load. */
export const writeBytesMax = 1024 * 1024;

const magic = 0x6a6e6264;
const stampBytes = 20;
const patternBytes = writeBytesMax;

/** Which operation a sector says it was written by, and where. */
export interface Stamp {
  readonly operation: number;
  /** The load's own number of the volume. */
  readonly volume: number;
  readonly sector: number;
}

/**
 * What is written: each sector names the operation, the volume and its own place, and the rest of it
 * follows from these and the seed. So whatever is found anywhere says which write it is from, or that
 * it is from none, and that it is whole.
 */
export class UpdateContents {
  readonly #run: number;
  /** Twice the same, so that any part of it is in one piece. */
  readonly #pattern: Buffer;
  readonly #sector = Buffer.alloc(sectorBytes);

  constructor(seed: number) {
    const random = new FuzzRandom(seed);
    this.#run = random.uint32();
    this.#pattern = Buffer.alloc(patternBytes * 2);
    for (let at = 0; at < patternBytes; at += 4) {
      const value = random.uint32();
      this.#pattern.writeUInt32LE(value, at);
      this.#pattern.writeUInt32LE(value, at + patternBytes);
    }
  }

  /** The bytes of an operation; offset and length are whole sectors. */
  make(operation: number, volume: number, offset: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    this.#fill(bytes, operation, volume, offset / sectorBytes);
    return bytes;
  }

  #fill(bytes: Buffer, operation: number, volume: number, firstSector: number): void {
    const from = (operation * 40_503 * 4 + firstSector * sectorBytes) % patternBytes;
    this.#pattern.copy(bytes, 0, from, from + bytes.length);
    for (let at = 0; at < bytes.length; at += sectorBytes) {
      // First what tells operations apart: a write may be cut behind any byte.
      bytes.writeUInt32LE(operation, at);
      bytes.writeUInt32LE(magic, at + 4);
      bytes.writeUInt32LE(this.#run, at + 8);
      bytes.writeUInt32LE(volume, at + 12);
      bytes.writeUInt32LE(firstSector + at / sectorBytes, at + 16);
    }
  }

  /** Undefined: no operation of this run wrote the sector that begins there. */
  stampAt(bytes: Buffer, at: number): Stamp | undefined {
    if (at + stampBytes > bytes.length) return undefined;
    if (bytes.readUInt32LE(at + 4) !== magic || bytes.readUInt32LE(at + 8) !== this.#run) {
      return undefined;
    }
    return {
      operation: bytes.readUInt32LE(at),
      volume: bytes.readUInt32LE(at + 12),
      sector: bytes.readUInt32LE(at + 16),
    };
  }

  /** Whether the sector that begins there is, to its last byte, what its stamp says. */
  isWhole(bytes: Buffer, at: number, { operation, volume, sector }: Stamp): boolean {
    this.#fill(this.#sector, operation, volume, sector);
    return this.#sector.compare(bytes, at, at + sectorBytes) === 0;
  }
}
