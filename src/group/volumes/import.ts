import type { Disk, DiskFile } from '../../platform/disk.ts';
import { JnbdError, messageOf } from '../../platform/errors.ts';
import { blockBytes } from '../../platform/limits.ts';
import type { Group } from '../order/group.ts';
import type { Volume } from '../apply/volume.ts';
import { changeVolume } from './volume-changes.ts';
import { chunkBytes, type VolumeWriter } from './volume-writer.ts';

/** Where the first contents of a volume come from. Errors are JnbdError (source_unreadable). */
export interface BlockSource {
  /** For people. */
  readonly name: string;
  readonly sizeBytes: number;
  /** The first stretch at or after `position` that does not read as zero; `undefined`: none. */
  nextData(position: number): Promise<{ start: number; end: number } | undefined>;
  /** Fills `bytes[start, start + length)` from `position`. */
  read(bytes: Buffer, start: number, length: number, position: number): Promise<void>;
  /** What is under way fails soon; a source that never answers must not hold anybody. */
  abort(): void;
  close(): Promise<void>;
}

/** Opens a file as a source. */
export function openFileSource(disk: Disk, path: string): BlockSource {
  const refuse = (cause: unknown): JnbdError =>
    new JnbdError('source_unreadable', `cannot read ${path}: ${messageOf(cause)}`, { cause });
  let file: DiskFile;
  let sizeBytes: number;
  try {
    file = disk.openSync(path, 'read', 'import');
    sizeBytes = file.sizeSync();
  } catch (error) {
    throw refuse(error);
  }
  return {
    name: path,
    sizeBytes,
    nextData(position) {
      try {
        const start = file.nextDataSync(position);
        if (start >= sizeBytes) return Promise.resolve(undefined);
        const end = Math.min(sizeBytes, file.nextHoleSync(start));
        return Promise.resolve({ start, end });
      } catch (error) {
        return Promise.reject(refuse(error));
      }
    },
    read(bytes, start, length, position) {
      return new Promise((resolve, reject) => {
        file.read(bytes, start, length, position, (error, bytesRead) => {
          if (error) reject(refuse(error));
          else if (bytesRead < length) reject(refuse(new Error('it became shorter meanwhile')));
          else resolve();
        });
      });
    },
    abort: () => undefined,
    close() {
      file.closeSync();
      return Promise.resolve();
    },
  };
}

export interface ImportProgress {
  readonly signal: AbortSignal;
  /** Called after each stretch: how far the source was gone through. */
  readonly reached: (bytes: number) => void;
}

/**
 * Writes the source's contents to an `unused` volume, through the journal like a host, closes the writer, and makes the
 * volume `normal` once all of it is durable. A crash before that leaves it `unused`; so does an
 * error, and the caller deletes it.
 */
export async function importVolume(
  group: Group,
  volume: Volume,
  writer: VolumeWriter,
  source: BlockSource,
  progress: ImportProgress,
): Promise<void> {
  const abort = (): void => {
    writer.fail(new JnbdError('state_refuses', `the import of ${source.name} was stopped`));
    source.abort();
  };
  progress.signal.addEventListener('abort', abort);
  try {
    if (progress.signal.aborted) abort();
    await copyContents(writer, source, progress.reached);
    await writer.durable();
  } finally {
    progress.signal.removeEventListener('abort', abort);
    writer.close();
  }
  await changeVolume(group, volume, { state: 'normal' });
}

async function copyContents(
  writer: VolumeWriter,
  source: BlockSource,
  reached: (bytes: number) => void,
): Promise<void> {
  let position = 0;
  for (;;) {
    const data = await source.nextData(position);
    if (!data) break;
    for (let at = data.start; at < data.end; ) {
      // A stretch begins anywhere; from the second chunk on they begin on blocks.
      const from = at;
      const length = Math.min(chunkBytes - (at % blockBytes), data.end - at);
      await writer.write(at, length, (bytes, start) => source.read(bytes, start, length, from));
      at += length;
      reached(at);
    }
    position = data.end;
  }
  reached(source.sizeBytes);
}
