/** Largest first. */
const timeUnits: readonly (readonly [name: string, milliseconds: number])[] = [
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];

/** `20ms`, `2s`, `10m`, `24h` in milliseconds; `undefined` where it is none of these. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  if (!match) return undefined;
  const unit = timeUnits.find(([name]) => name === match[2])?.[1] ?? 1;
  return Number(match[1]) * unit;
}

/** To compare and to type again: in the largest unit of which it is a whole number (`90s`). */
export function formatExactDuration(milliseconds: number): string {
  for (const [name, unit] of timeUnits) {
    if (milliseconds >= unit && milliseconds % unit === 0) return `${milliseconds / unit}${name}`;
  }
  return `${milliseconds}ms`;
}
