/** A sum over the checksums of a volume's blocks: 32 bits each. */
export interface ChecksumSum {
  readonly low: number;
  readonly high: number;
}

/** Of one volume, exactly behind one update. */
export interface VolumeSum extends ChecksumSum {
  readonly volume: number;
}

/** What a group's volumes hold exactly behind update `number`, of those where that is known. */
export interface PointSums {
  readonly number: number;
  readonly sums: readonly VolumeSum[];
}

const countAt = 6;
const sumsAt = 8;
const sumBytes = 12;

/**
 * The payload of a record of type `point`: what the primary had at an earlier one; undefined: nothing that is
 * told here. FORMAT.md has the byte table.
 */
export function encodePoint(told: PointSums | undefined): Uint8Array {
  const { number, sums } = told ?? { number: 0, sums: [] };
  const bytes = Buffer.alloc(sumsAt + sums.length * sumBytes);
  bytes.writeUIntLE(number, 0, 6);
  bytes.writeUInt16LE(sums.length, countAt);
  for (const [index, { volume, low, high }] of sums.entries()) {
    const at = sumsAt + index * sumBytes;
    bytes.writeUInt16LE(volume, at);
    bytes.writeUInt32LE(low, at + 4);
    bytes.writeUInt32LE(high, at + 8);
  }
  return bytes;
}

/** Undefined: it is none. */
export function decodePoint(payload: Uint8Array): PointSums | undefined {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (bytes.length < sumsAt) return undefined;
  const count = bytes.readUInt16LE(countAt);
  if (bytes.length !== sumsAt + count * sumBytes) return undefined;
  const sums: VolumeSum[] = [];
  for (let at = sumsAt; at < bytes.length; at += sumBytes) {
    const [low, high] = [bytes.readUInt32LE(at + 4), bytes.readUInt32LE(at + 8)];
    sums.push({ volume: bytes.readUInt16LE(at), low, high });
  }
  return { number: bytes.readUIntLE(0, 6), sums };
}

export function areSameSums(a: ChecksumSum, b: ChecksumSum): boolean {
  return a.low === b.low && a.high === b.high;
}
