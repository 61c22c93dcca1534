import { JnbdError, messageOf } from '../../platform/errors.ts';
import { KiB, MiB } from '../../platform/limits.ts';
import { encodeCopyPrefix } from '../protocol/frame-encoder.ts';
import { copyKind, copyPrefixBytes } from '../protocol/frames.ts';
import type { SourceBatch } from './source-batch.ts';
import type { SourceJournal } from './source-journal.ts';
import type { SourceVolume } from './source-messages.ts';
import { copyBytesMax, type JournalRead } from '../protocol/wire.ts';

/** A frame of data ends with its unit at the latest. */
export const copyUnitBytes = 1 * MiB;
/** Less room than this is not worth a frame. */
export const copyRoomMin = copyPrefixBytes + 4 * KiB;
/** Volumes are multiples of this, so contents are. */
const sectorBytes = 512;

/** Whether contents may be sent behind `through`, of volumes as they are after the last change. */
export function mayShowContents(
  { picture, watermarks }: SourceJournal,
  { received }: JournalRead,
  through: number,
): boolean {
  const { catalogNumber, contentsFrom } = picture;
  if (received < catalogNumber || watermarks.applied < contentsFrom) return false;
  return watermarks.applied >= through;
}

/**
 * Puts a frame with what stands from `offset` on, at most up to `end`, into an answer that has `room` for
 * it; returns how far it reaches. Throws volume_unreadable.
 */
export async function addContents(
  journal: SourceJournal,
  batch: SourceBatch,
  { id, path }: SourceVolume,
  offset: number,
  end: number,
  room: number,
): Promise<number> {
  const { buffer, end: at } = batch;
  const start = at + copyPrefixBytes;
  const bytesMax = Math.min(copyBytesMax, room - copyPrefixBytes);
  const contents = { bytes: buffer.bytes, start, bytesMax };
  const { length, isHole } = await readContents(journal, path, end, offset, contents);
  const contentBytes = isHole ? 0 : length;
  // After reading: apply may have written more meanwhile, but nothing that is not durable now.
  const { number: shows, generation, incarnation } = await journal.shownNow();
  encodeCopyPrefix(buffer.bytes, buffer.view, at, {
    volume: id,
    kind: isHole ? copyKind.hole : copyKind.data,
    offset,
    length,
    shows,
    generation,
    incarnation,
    contentBytes,
  });
  batch.added(copyPrefixBytes + contentBytes);
  return length;
}

/**
 * What stands at `offset`: a hole of any length, or contents, of which as much is read as fits and ends
 * with its unit. A file that is shorter than its volume has a hole behind its end.
 */
async function readContents(
  { files }: SourceJournal,
  path: string,
  endMax: number,
  offset: number,
  into: { readonly bytes: Buffer; readonly start: number; readonly bytesMax: number },
): Promise<{ readonly length: number; readonly isHole: boolean }> {
  try {
    const file = files.file(path, 'volume');
    const data = file.nextDataSync(offset);
    if (data !== offset) {
      const end = data > offset ? Math.min(data, endMax) : endMax;
      return { length: end - offset, isHole: true };
    }
    const unitEnd = Math.floor(offset / copyUnitBytes + 1) * copyUnitBytes;
    const end = Math.min(file.nextHoleSync(offset), endMax, unitEnd);
    const { bytes, start, bytesMax } = into;
    const fitting = bytesMax - (bytesMax % sectorBytes);
    const length = Math.min(end - offset, fitting);
    const count = await files.read(path, 'volume', bytes, start, length, offset);
    bytes.fill(0, start + count, start + length);
    return { length, isHole: false };
  } catch (error) {
    const message = `cannot read ${path} at ${offset}: ${messageOf(error)}`;
    throw new JnbdError('volume_unreadable', message, { cause: error });
  }
}
