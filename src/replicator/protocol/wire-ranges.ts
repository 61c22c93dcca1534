import { updateNumberMax } from '../../platform/limits.ts';
import { parseWhole, wrongHeader as wrong } from './wire-headers.ts';

/** Ranges of volumes that one journal read can want. */
export const wantedRangesMax = 256;

/** Bytes [offset, offset + length) of a volume whose contents the follower wants. */
export interface WantedRange {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
}

export function formatRange({ volume, offset, length }: WantedRange): string {
  return `${volume}=${offset}+${length}`;
}

export function decodeRanges(text: string | undefined): WantedRange[] {
  if (text === undefined) return [];
  const parts = text.split(',', wantedRangesMax + 1);
  if (parts.length > wantedRangesMax) {
    wrong('jnbd-ranges', `${text.slice(0, 40)}...`, `at most ${wantedRangesMax} ranges`);
  }
  return parts.map((part) => {
    const [, id, from, bytes] = /^(\d+)=(\d+)\+(\d+)$/.exec(part) ?? [];
    const volume = parseWhole(id, 0xffff);
    const offset = parseWhole(from, updateNumberMax);
    const length = parseWhole(bytes, updateNumberMax);
    const isRange = volume !== undefined && offset !== undefined && length !== undefined;
    if (!isRange || length === 0 || offset + length > updateNumberMax + 1) {
      return wrong('jnbd-ranges', part.slice(0, 60), 'ID=OFFSET+LENGTH within 48 bits');
    }
    return { volume, offset, length };
  });
}
