import type { PrivateStore } from '../../history/private-store.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { blockBytes, MiB } from '../../platform/limits.ts';
import { SessionReader } from '../apply/session-reader.ts';
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
  const source = new SessionReader(open);
  const { blocks, dataBytes } = store;
  try {
    for (let block = store.next(false, 0, blocks); block < blocks; ) {
      while (!isClosed() && !isReadable())
        await new Promise<void>((resolve) => clock.after(waitMilliseconds, resolve));
      check(store, name, isClosed);
      // As it is in this turn, the run is not there.
      const runEnd = store.next(true, block, blocks);
      const zeroes = zeroBlocks(source, block, Math.min(runEnd, block + clearBlocksMax), dataBytes);
      if (zeroes > 0) {
        const end = Math.min((block + zeroes) * blockBytes, dataBytes);
        store.clear(true, block * blockBytes, end - block * blockBytes);
        block += zeroes;
      } else {
        const stop = Math.min(runEnd, block + readBlocksMax);
        const bytes = Buffer.alloc((stop - block) * blockBytes);
        const end = Math.min(stop * blockBytes, dataBytes);
        await source.read(block * blockBytes, end - block * blockBytes, bytes);
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

/** How many blocks from there on read as zeroes for sure, and need no look at each. */
function zeroBlocks(source: SessionReader, from: number, to: number, dataBytes: number): number {
  const offset = from * blockBytes;
  const told = source.zeroesThrough(offset, Math.min(to * blockBytes, dataBytes));
  if (told === offset) return 0;
  return told === dataBytes ? to - from : Math.floor(told / blockBytes) - from;
}
