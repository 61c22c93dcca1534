import { crc32 as nativeCrc32 } from '@node-rs/crc32';

/**
 * CRC-32 (IEEE, the one of zlib) of `bytes`, going on from `initial` (the result over what precedes;
 * 0 at the start). Detects every burst of up to 32 bits.
 */
export function crc32(bytes: Uint8Array, initial = 0): number {
  return nativeCrc32(bytes as Buffer, initial);
}
