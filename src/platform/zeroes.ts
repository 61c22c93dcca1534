import { KiB } from './limits.ts';

let bytes: Uint8Array | undefined;

/** 256 KiB of them, to write from; a thread that never does has none. */
export function zeroes(): Uint8Array {
  bytes ??= new Uint8Array(256 * KiB);
  return bytes;
}
