import type { PrivateStore } from '../../history/private-store.ts';
import { JnbdError, messageOf } from '../../platform/errors.ts';
import type { FileExtent } from '../../platform/disk.ts';
import { blockBytes, MiB } from '../../platform/limits.ts';
import type { Turn } from './rollback-staging.ts';
import { chunkBytes, type VolumeWriter } from './volume-writer.ts';

const clearBytesMax = 32 * MiB;

/** Who is told what is done, and asked whether to try again. */
export interface WritingOwner {
  readonly turn: Turn;
  /** So much of the store is in the journal now. */
  written(bytes: number): void;
  /** It could not be written; resolves when it is to be tried again. Rejects where it is not. */
  again(failure: JnbdError): Promise<void>;
}

/** Of what a store has, so much is to be written. Holes count as what they are in the volume. */
export function storedBytes(store: PrivateStore): number {
  let bytes = 0;
  for (const { offset, end } of runs(store)) bytes += end - offset;
  return bytes;
}

/**
 * Writes what is in the store to its volume, as a host writes. Doing it again does no harm, so nothing is kept of how far
 * it came. Rejects with JnbdError.
 */
export async function writeStore(
  store: PrivateStore,
  writer: VolumeWriter,
  owner: WritingOwner,
): Promise<void> {
  for (const run of runs(store)) {
    for (let at = run.offset; at < run.end; ) {
      const { end, isHole } = pieceOf(store, at, run.end);
      const from = at;
      await untilWritten(owner, async () => {
        await owner.turn(isHole ? 0 : end - from);
        if (isHole) await writer.clear(from, end - from);
        else
          await writer.write(from, end - from, (bytes, start) =>
            read(store, from, end - from, bytes, start),
          );
      });
      owner.written(end - at);
      at = end;
    }
  }
  await untilWritten(owner, () => writer.durable());
}

async function untilWritten(owner: WritingOwner, run: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await run();
    } catch (error) {
      const isRefused =
        error instanceof JnbdError && ['disk_full', 'write_failed'].includes(error.code);
      if (!isRefused) throw error;
      await owner.again(error);
    }
  }
}

function* runs(store: PrivateStore): Generator<{ readonly offset: number; readonly end: number }> {
  const { blocks, dataBytes } = store;
  for (let block = store.next(true, 0, blocks); block < blocks; ) {
    const stop = store.next(false, block, blocks);
    yield { offset: block * blockBytes, end: Math.min(dataBytes, stop * blockBytes) };
    block = store.next(true, stop, blocks);
  }
}

const extent: FileExtent = { storage: 'data', end: 0, work: 0 };

/** What one record is to say, from `at` on. */
function pieceOf(
  store: PrivateStore,
  at: number,
  end: number,
): { readonly end: number; readonly isHole: boolean } {
  store.extent(at, end, extent);
  const wholeEnd = extent.end >= end ? end : Math.floor(extent.end / blockBytes) * blockBytes;
  const isHole = extent.storage === 'hole' && wholeEnd > at;
  if (isHole) return { end: Math.min(wholeEnd, at + clearBytesMax), isHole };
  const dataEnd =
    extent.storage === 'hole' ? at + blockBytes : Math.ceil(extent.end / blockBytes) * blockBytes;
  return { end: Math.min(end, at + chunkBytes, Math.max(dataEnd, at + blockBytes)), isHole };
}

function read(
  store: PrivateStore,
  offset: number,
  length: number,
  bytes: Buffer,
  start: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const owner = {
      readCompleted: (_token: number, failure: Error | null): void => {
        if (!failure) resolve();
        else reject(new JnbdError('read_failed', messageOf(failure)));
      },
    };
    try {
      if (store.read(offset, length, bytes, start, owner, 0) === 'done') resolve();
    } catch (error) {
      reject(new JnbdError('read_failed', messageOf(error)));
    }
  });
}
