import { randomBytes } from 'node:crypto';

/** Randomness, injected: incarnations and identifiers come from here. */
export interface Random {
  bytes(count: number): Uint8Array;
}

export const nodeRandom: Random = {
  bytes: (count) => randomBytes(count),
};

/** A random unsigned integer of 48 bits, never 0. */
export function randomIdentifier(random: Random): number {
  const bytes = random.bytes(6);
  let value = 0;
  for (const byte of bytes) value = value * 256 + byte;
  return value === 0 ? 1 : value;
}
