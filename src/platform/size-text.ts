import { GiB, KiB, MiB, TiB } from './limits.ts';

/** Largest first. */
export const sizeUnits: readonly (readonly [name: string, bytes: number])[] = [
  ['TiB', TiB],
  ['GiB', GiB],
  ['MiB', MiB],
  ['KiB', KiB],
];

/** `10GiB`, `1.5TiB`, or a number of bytes; `undefined` where it is none of these. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|TiB)?$/.exec(text);
  if (!match) return undefined;
  const unit = sizeUnits.find(([name]) => name === match[2])?.[1] ?? 1;
  const bytes = Number(match[1]) * unit;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** To look at: exact where a unit allows it (`10GiB`), else with two digits (`1.37GiB`). */
export function formatSize(bytes: number): string {
  for (const [name, unit] of sizeUnits) {
    if (bytes < unit) continue;
    const value = bytes / unit;
    return `${Number.isInteger(value) ? value : value.toFixed(2)}${name}`;
  }
  return `${bytes}B`;
}

/** To compare and to type again: in the largest unit of which it is whole quarters (`10.5GiB`), else bytes. */
export function formatExactSize(bytes: number): string {
  for (const [name, unit] of sizeUnits) {
    if (bytes >= unit && bytes % (unit / 4) === 0) return `${bytes / unit}${name}`;
  }
  return `${bytes}B`;
}
