import { blockBytes } from '../platform/limits.ts';

/**
 * An area keeps what blocks of a volume held, for one snapshot: they stand where they stood in the
 * volume, and behind them, in pages of 4 KiB, one bit for each says whether it is there. A bit over a
 * hole: the block read as zeroes. `dataBytes` is the volume's size when the snapshot was made.
 */
const mapPageBytes = 4096;
export const blocksPerMapPage = mapPageBytes * 8;

export function blocksOf(dataBytes: number): number {
  return Math.ceil(dataBytes / blockBytes);
}

/** Where the map begins. */
export function mapStart(dataBytes: number): number {
  return blocksOf(dataBytes) * blockBytes;
}

/** Of the whole file. */
export function areaBytes(dataBytes: number): number {
  const pages = Math.ceil(blocksOf(dataBytes) / blocksPerMapPage);
  return mapStart(dataBytes) + pages * mapPageBytes;
}

export interface MapRange {
  readonly offset: number;
  readonly length: number;
}

/** The pages of the map that tell of any of these bytes. Undefined: they lie behind the data, or are none. */
export function mapRangeOf(
  dataBytes: number,
  offset: number,
  length: number,
): MapRange | undefined {
  const end = Math.min(offset + length, mapStart(dataBytes));
  if (length <= 0 || offset >= end) return undefined;
  const bytesPerPage = blocksPerMapPage * blockBytes;
  const first = Math.floor(offset / bytesPerPage);
  const last = Math.floor((end - 1) / bytesPerPage);
  return {
    offset: mapStart(dataBytes) + first * mapPageBytes,
    length: (last + 1 - first) * mapPageBytes,
  };
}
