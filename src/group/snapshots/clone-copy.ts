import type { PrivateStore } from '../../history/private-store.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { blockBytes, MiB } from '../../platform/limits.ts';
import { extentState } from '../../volume/volume-extents.ts';
import type { ExportSession, ExtentList } from '../apply/export.ts';
import type { OpenUnderlying } from '../overlays/overlay-session.ts';

const readBlocksMax = MiB / blockBytes;
const waitMilliseconds = 20;
const clearBlocksMax = (64 * MiB) / blockBytes;

/**
 * Everything that a store lacks is brought from underneath, while it is used: then it needs that no more, and what is
 * underneath may go. Durable when it resolves. What is written meanwhile stays. `isReadable`: it is there now. Rejects with JnbdError, and system errors.
 */
export async function copyUnderlying(
  clock: Clock,
  store: PrivateStore,
  name: string,
  open: OpenUnderlying,
  isClosed: () => boolean,
  isReadable: () => boolean,
): Promise<void> {
  const source = new Underneath(open);
  const { blocks, dataBytes } = store;
  try {
    for (let block = store.next(false, 0, blocks); block < blocks; ) {
      while (!isClosed() && !isReadable())
        await new Promise<void>((resolve) => clock.after(waitMilliseconds, resolve));
      check(store, name, isClosed);
      // As it is in this turn, the run is not there.
      const runEnd = store.next(true, block, blocks);
      const zeroes = source.zeroBlocks(block, Math.min(runEnd, block + clearBlocksMax), dataBytes);
      if (zeroes > 0) {
        const end = Math.min((block + zeroes) * blockBytes, dataBytes);
        store.clear(true, block * blockBytes, end - block * blockBytes);
        block += zeroes;
      } else {
        const stop = Math.min(runEnd, block + readBlocksMax);
        const bytes = await source.read(block * blockBytes, Math.min(stop * blockBytes, dataBytes));
        check(store, name, isClosed);
        for (let at = block; at < stop; at += 1) store.fill(at, bytes, (at - block) * blockBytes);
        block = stop;
      }
      if (!store.admits(readBlocksMax * blockBytes)) await store.settled();
      await new Promise<void>((resolve) => clock.soon(resolve));
      block = store.next(false, block, blocks);
    }
    await store.settled();
    check(store, name, isClosed);
  } finally {
    source.close();
  }
}

function check(store: PrivateStore, name: string, isClosed: () => boolean): void {
  if (isClosed()) throw new JnbdError('shutting_down', `${name} is being closed`);
  if (store.failure !== '') throw new JnbdError('write_failed', `${name}: ${store.failure}`);
}

/** What is underneath, for somebody who waits. */
class Underneath {
  readonly #session: ExportSession;
  readonly #extents: ExtentList = {
    count: 0,
    lengths: new Float64Array(1),
    states: new Uint8Array(1),
  };
  #completed: ((error: number) => void) | undefined;

  constructor(open: OpenUnderlying) {
    this.#session = open({
      peer: 'this system',
      admitted: () => undefined,
      durableReached: () => undefined,
      durableFailed: () => undefined,
      readCompleted: (_token, error) => this.#completed?.(error),
      revoke: () => undefined,
    });
  }

  /** How many blocks from there on read as zeroes for sure, and need no look at each. */
  zeroBlocks(from: number, to: number, dataBytes: number): number {
    const offset = from * blockBytes;
    const end = Math.min(to * blockBytes, dataBytes);
    const extents = this.#extents;
    if (this.#session.extents(offset, end - offset, extents) !== 0) return 0;
    if (extents.count === 0 || ((extents.states[0] ?? 0) & extentState.zero) === 0) return 0;
    const told = Math.min(end, offset + (extents.lengths[0] ?? 0));
    return told === dataBytes ? to - from : Math.floor(told / blockBytes) - from;
  }

  async read(offset: number, end: number): Promise<Buffer> {
    const bytes = Buffer.alloc(Math.ceil((end - offset) / blockBytes) * blockBytes);
    const isPending = new Promise<number>((resolve) => (this.#completed = resolve));
    const result = this.#session.read(offset, end - offset, bytes, 0, 0);
    const error = result < 0 ? await isPending : result;
    if (error !== 0) throw new JnbdError('read_failed', this.#session.errorText);
    return bytes;
  }

  close(): void {
    this.#session.close();
  }
}
