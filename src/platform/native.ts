/**
 * The C library as it is: the only module that knows koffi. Its functions are offered, in our words,
 * by `system-calls.ts` and `file-space.ts`.
 */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { address, errno, load } from 'koffi';
import { systemErrorCode } from './errors.ts';

export { errno };

/** Every argument is passed as a number: pointers are under 2^53 on 64-bit machines. */
export type NativeFunction = (...values: number[]) => number;

/** A call that runs in the thread pool: `errno()` in its callback is its own. */
export type NativeAsyncFunction = (
  ...values: [...numbers: number[], done: (error: Error | null, result: number) => void]
) => void;

const supportedArchitectures = ['x64', 'arm64', 'riscv64', 'loong64', 's390x', 'ppc64'];
const isSupported = process.platform === 'linux' && supportedArchitectures.includes(process.arch);
export const libc = isSupported ? load(null) : undefined;

export function bind(prototype: string): NativeFunction | undefined {
  try {
    return libc?.func(prototype) as NativeFunction | undefined;
  } catch {
    return undefined; // The C library is older than the call.
  }
}

export function bindAsync(prototype: string): NativeAsyncFunction | undefined {
  return (bind(prototype) as { async?: NativeAsyncFunction } | undefined)?.async;
}

/** An error as Node makes them, of a number of `os.constants.errno`. */
export function systemError(number: number, syscall: string): Error {
  const [code, description] = getSystemErrorMap().get(-number) ?? [`E${number}`, 'unknown error'];
  return Object.assign(new Error(`${code}: ${description}, ${syscall}`), {
    errno: -number,
    code,
    syscall,
  });
}

/** Whether a failure says that the call does not exist here, so that another way must do. */
export function isMissing(error: unknown): boolean {
  const code = systemErrorCode(error);
  return code === 'ENOSYS' || code === 'ENOTSUP'; // EOPNOTSUPP is the same number under Linux.
}

export const missing = constants.errno.ENOSYS;

/** Where the bytes lie. They stay there as long as the array's buffer lives: `.buffer` pins it. */
export function addressOf(bytes: Uint8Array): number | undefined {
  if (libc === undefined) return undefined;
  return bufferAddress(bytes.buffer) + bytes.byteOffset;
}

const bufferAddresses = new WeakMap<ArrayBufferLike, number>();
let lastBuffer: ArrayBufferLike | undefined;
let lastAddress = 0;

export function bufferAddress(buffer: ArrayBufferLike): number {
  if (buffer === lastBuffer) return lastAddress;
  let found = bufferAddresses.get(buffer);
  if (found === undefined) {
    found = Number(address(new Uint8Array(buffer)));
    bufferAddresses.set(buffer, found);
  }
  lastBuffer = buffer;
  lastAddress = found;
  return found;
}

const isLittleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
const two32 = 2 ** 32;
/** Where the halves of a 64-bit integer stand, in words of 32 bits. */
export const low = isLittleEndian ? 0 : 1;
export const high = 1 - low;

/** Puts 64 bits at a word of a structure that the kernel reads. */
export function put64(words: Uint32Array, at: number, value: number): void {
  words[at + low] = value % two32;
  words[at + high] = value / two32;
}

export function get64(words: Uint32Array, at: number): number {
  return (words[at + low] ?? 0) + (words[at + high] ?? 0) * two32;
}
