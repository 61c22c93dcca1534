import { recordType } from './record.ts';

/** Which marker of a cut: an epoch is one controller's, and sequences rise within it (SAFETY 26). */
export interface MarkerId {
  /** 32 hexadecimal digits. */
  readonly cutId: string;
  /** 64 bits, as the sequence. */
  readonly epoch: bigint;
  readonly sequence: bigint;
}

export interface MarkerRecord extends MarkerId {
  /** Unix milliseconds, by the clock of the controller. */
  readonly wallTimeMilliseconds: number;
  /** At most `markerNameBytesMax` bytes; empty where it has none. */
  readonly name: string;
}

/** What stands in the payload of a record of type `marker`, or `commit`. */
export type CutRecord =
  | ({ readonly kind: 'marker' } & MarkerRecord)
  | ({ readonly kind: 'commit' } & MarkerId);

export const markerNameBytesMax = 255;

const cutIdPattern = /^[0-9a-f]{32}$/;
const epochAt = 16;
const sequenceAt = 24;
const timeAt = 32;
const commitBytes = 32;
const markerBytes = 40;

export function isCutRecord(type: number): boolean {
  return type === recordType.marker || type === recordType.commit;
}

/** Throws RangeError for what no marker can be. */
export function encodeCutRecord(record: CutRecord): Uint8Array {
  if (!cutIdPattern.test(record.cutId)) throw new RangeError(`cut id ${record.cutId}`);
  const name = Buffer.from(record.kind === 'marker' ? record.name : '', 'utf8');
  if (name.length > markerNameBytesMax) throw new RangeError(`marker name of ${name.length} bytes`);
  const bytes = Buffer.alloc(record.kind === 'marker' ? markerBytes + name.length : commitBytes);
  bytes.write(record.cutId, 0, 'hex');
  bytes.writeBigUInt64LE(record.epoch, epochAt);
  bytes.writeBigUInt64LE(record.sequence, sequenceAt);
  if (record.kind === 'marker') {
    bytes.writeBigUInt64LE(BigInt(record.wallTimeMilliseconds), timeAt);
    name.copy(bytes, markerBytes);
  }
  return bytes;
}

/** Undefined: a record of that type is never so. */
export function decodeCutRecord(type: number, payload: Uint8Array): CutRecord | undefined {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  const isMarker = type === recordType.marker;
  const isLong = isMarker
    ? bytes.length >= markerBytes && bytes.length <= markerBytes + markerNameBytesMax
    : bytes.length === commitBytes;
  if (!isLong || !isCutRecord(type)) return undefined;
  const id: MarkerId = {
    cutId: bytes.toString('hex', 0, epochAt),
    epoch: bytes.readBigUInt64LE(epochAt),
    sequence: bytes.readBigUInt64LE(sequenceAt),
  };
  if (!isMarker) return { kind: 'commit', ...id };
  const wallTimeMilliseconds = Number(bytes.readBigUInt64LE(timeAt));
  const name = nameOf(bytes.subarray(markerBytes));
  if (!Number.isSafeInteger(wallTimeMilliseconds) || name === undefined) return undefined;
  return { kind: 'marker', ...id, wallTimeMilliseconds, name };
}

/** A marker's place among those of its cut. */
export type MarkerPlace = Pick<MarkerId, 'epoch' | 'sequence'>;

/**
 * Of two markers of one cut; below 0: `a` is older. Later ones stand behind earlier ones in every journal
 * (SAFETY 26).
 */
export function compareMarkers(a: MarkerPlace, b: MarkerPlace): number {
  if (a.epoch !== b.epoch) return a.epoch < b.epoch ? -1 : 1;
  if (a.sequence === b.sequence) return 0;
  return a.sequence < b.sequence ? -1 : 1;
}

export function isSameMarker(a: MarkerId, b: MarkerId): boolean {
  return a.cutId === b.cutId && compareMarkers(a, b) === 0;
}

function nameOf(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
