import { GiB, KiB, MiB, TiB } from './limits.ts';

/** Largest first. */
export const sizeUnits: readonly (readonly [name: string, bytes: number])[] = [
  ['TiB', TiB],
  ['GiB', GiB],
  ['MiB', MiB],
  ['KiB', KiB],
];

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
