import type { ReceiveSlab } from '../../journal/receive-slab.ts';
import { recordHeaderBytes } from '../../journal/record.ts';
import type { Disk, DiskFile } from '../../platform/disk.ts';
import { JnbdError, messageOf } from '../../platform/errors.ts';
import { blockBytes, slabBytes, slabHeadroomBytes } from '../../platform/limits.ts';
import type { ExportClient } from '../apply/export.ts';
import { errno } from '../apply/export.ts';
import type { Group } from '../order/group.ts';
import { HostSession } from '../order/host-session.ts';
import type { Volume } from '../apply/volume.ts';
import { changeVolume } from './volume-changes.ts';

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

/** What one record carries, so that one slab holds it and it begins on a block. */
const chunkBytes =
  Math.floor((slabBytes - slabHeadroomBytes - recordHeaderBytes) / blockBytes) * blockBytes;

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

/** The host that an import is: it waits where a real one would wait. */
class ImportClient implements ExportClient {
  readonly peer: string;
  #failure: JnbdError | undefined;
  #wake: () => void = () => undefined;

  constructor(peer: string) {
    this.peer = peer;
  }

  get failure(): JnbdError | undefined {
    return this.#failure;
  }

  /** Resolves at the next call from the session. */
  woken(): Promise<void> {
    if (this.#failure) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  fail(error: JnbdError): void {
    this.#failure ??= error;
    this.#wake();
  }

  admitted(): void {
    this.#wake();
  }

  durableReached(): void {
    this.#wake();
  }

  durableFailed(_from: number, _errno: number, text: string): void {
    this.fail(new JnbdError('journal_failed', text));
  }

  readCompleted(): void {}

  revoke(reason: string): void {
    this.fail(new JnbdError('shutting_down', reason));
  }
}

export interface ImportProgress {
  readonly signal: AbortSignal;
  /** Called after each stretch: how far the source was gone through. */
  readonly reached: (bytes: number) => void;
}

/**
 * Writes the source's contents to an `unused` volume, through the journal like a host, and makes the
 * volume `normal` once all of it is durable. A crash before that leaves it `unused`; so does an
 * error, and the caller deletes it.
 */
export async function importVolume(
  group: Group,
  volume: Volume,
  source: BlockSource,
  progress: ImportProgress,
): Promise<void> {
  const client = new ImportClient(source.name);
  const session = new HostSession(group, volume, client, true);
  const abort = (): void => {
    client.fail(new JnbdError('state_refuses', `the import of ${source.name} was stopped`));
    source.abort();
  };
  progress.signal.addEventListener('abort', abort);
  volume.sessions.add(session);
  try {
    if (progress.signal.aborted) abort();
    await copyContents(session, client, source, progress.reached);
    await untilDurable(session, client);
  } finally {
    progress.signal.removeEventListener('abort', abort);
    session.close();
  }
  await changeVolume(group, volume, { state: 'normal' });
}

async function copyContents(
  session: HostSession,
  client: ImportClient,
  source: BlockSource,
  reached: (bytes: number) => void,
): Promise<void> {
  let position = 0;
  for (;;) {
    const data = await source.nextData(position);
    if (!data) break;
    for (let at = data.start; at < data.end; ) {
      // A stretch begins anywhere; from the second chunk on they begin on blocks.
      const length = Math.min(chunkBytes - (at % blockBytes), data.end - at);
      const slab = await takeSlab(session);
      try {
        await source.read(slab.bytes, slabHeadroomBytes + recordHeaderBytes, length, at);
        await writeChunk(session, client, slab, at, length);
      } finally {
        session.retire(slab);
      }
      at += length;
      reached(at);
    }
    position = data.end;
  }
  reached(source.sizeBytes);
}

async function takeSlab({ slabs }: HostSession): Promise<ReceiveSlab> {
  for (;;) {
    const slab = slabs.take();
    if (slab) return slab;
    await new Promise<void>((resolve) => slabs.whenFree(resolve));
  }
}

async function writeChunk(
  session: HostSession,
  client: ImportClient,
  slab: ReceiveSlab,
  offset: number,
  length: number,
): Promise<void> {
  let number = 0;
  while (number === 0) {
    while (!client.failure && !session.admit(recordHeaderBytes + length)) await client.woken();
    if (client.failure) throw client.failure;
    number = session.stampWrite(slab, slabHeadroomBytes, recordHeaderBytes, offset, length);
    if (number === 0) await client.woken();
  }
  const error = number < 0 ? -number : session.commitRun();
  if (error === 0) return;
  throw new JnbdError(error === errno.ENOSPC ? 'disk_full' : 'write_failed', session.errorText);
}

async function untilDurable(session: HostSession, client: ImportClient): Promise<void> {
  const { newest } = session;
  session.requestDurable(newest);
  while (!client.failure && session.durable < newest) await client.woken();
  if (client.failure) throw client.failure;
}
