import { JnbdError, messageOf } from '../platform/errors.ts';
import { KiB, MiB } from '../platform/limits.ts';
import type { CopyRate } from './copy-rate.ts';
import { encodeCopyPrefix } from './frame-encoder.ts';
import { copyKind, copyPrefixBytes } from './frames.ts';
import type { SourceBatch } from './source-batch.ts';
import type { SourceJournal } from './source-journal.ts';
import type { SourceVolume } from './source-messages.ts';
import { copyBytesMax, type JournalRead } from './wire.ts';

/** Volumes are copied in turn, so much of each (K12). */
const unitBytes = 1 * MiB;
/** Less room than this is not worth a frame. */
const roomMin = copyPrefixBytes + 4 * KiB;
/** Volumes are multiples of this, so contents are. */
const sectorBytes = 512;

/**
 * Contents of volumes for one follower, in order of address for each of them. They are read from the
 * backing files, so they show what is applied, and of what is being applied any part: a frame says up
 * to which number it could be. It stands in the answer behind records that are all applied, and what is
 * numbered after them comes again behind it.
 */
export class SourceCopy {
  /** Up to where each volume was put into answers. */
  readonly #sent = new Map<number, number>();
  #turn = -1;

  /** Takes up what a read says; answers before it are done. */
  note({ copied, isRetry }: JournalRead): void {
    const listed = new Set(copied.map(({ volume }) => volume));
    for (const volume of this.#sent.keys()) if (!listed.has(volume)) this.#sent.delete(volume);
    for (const { volume, address } of copied) {
      const sent = this.#sent.get(volume);
      if (isRetry || sent === undefined || sent < address) this.#sent.set(volume, address);
    }
  }

  /** Whether there are contents to be sent to a follower that stands behind `through`. */
  isDue(journal: SourceJournal, { received }: JournalRead, through: number): boolean {
    const { picture, watermarks } = journal;
    // Sizes and volumes are those after the last change: the follower has to have it too.
    if (this.#sent.size === 0 || received < picture.catalogNumber) return false;
    if (watermarks.applied < picture.contentsFrom || watermarks.applied < through) return false;
    return this.#next(picture.volumes) !== undefined;
  }

  /** As much as finds room, the rate allows, and `bytesMax` says. Throws volume_unreadable. */
  async fill(
    journal: SourceJournal,
    batch: SourceBatch,
    bytesMax: number,
    rate: CopyRate,
  ): Promise<void> {
    const endMax = batch.end + bytesMax;
    for (;;) {
      const volume = this.#next(journal.picture.volumes);
      if (!volume) return;
      for (let left = unitBytes; left > 0; ) {
        const room = Math.min(batch.room, endMax - batch.end, rate.credit + copyPrefixBytes);
        if (room < roomMin) return;
        const before = batch.end;
        const length = await this.#addFrame(journal, batch, volume, room, left);
        rate.spend(batch.end - before - copyPrefixBytes);
        if (length === 0) break;
        left -= length;
      }
      this.#turn = volume.id;
    }
  }

  /** The next one after the last that is not complete. */
  #next(volumes: readonly SourceVolume[]): SourceVolume | undefined {
    const open = volumes.filter(({ id, path, sizeBytes }) => {
      const sent = this.#sent.get(id);
      return sent !== undefined && sent < sizeBytes && path !== '';
    });
    return open.find(({ id }) => id > this.#turn) ?? open[0];
  }

  /** Returns how far it brought the volume; 0: it is complete. */
  async #addFrame(
    journal: SourceJournal,
    batch: SourceBatch,
    { id, path, sizeBytes }: SourceVolume,
    room: number,
    left: number,
  ): Promise<number> {
    const offset = this.#sent.get(id) ?? sizeBytes;
    if (offset >= sizeBytes) return 0;
    const { buffer, end } = batch;
    const contentsMax = Math.min(left, copyBytesMax, room - copyPrefixBytes);
    const start = end + copyPrefixBytes;
    const contents = { bytes: buffer.bytes, start, bytesMax: contentsMax };
    const { length, isHole } = await readContents(journal, path, sizeBytes, offset, contents);
    const contentBytes = isHole ? 0 : length;
    encodeCopyPrefix(buffer.bytes, buffer.view, end, {
      volume: id,
      kind: isHole ? copyKind.hole : copyKind.data,
      offset,
      length,
      // After reading: apply may have written more meanwhile, but nothing that is not durable now.
      shows: journal.durableNow,
      contentBytes,
    });
    batch.added(copyPrefixBytes + contentBytes);
    this.#sent.set(id, offset + length);
    return length;
  }
}

/**
 * What stands at `offset`: a hole of any length, or contents, of which as much is read as fits and ends
 * with its unit. A file that is shorter than its volume has a hole behind its end.
 */
async function readContents(
  { files }: SourceJournal,
  path: string,
  sizeBytes: number,
  offset: number,
  into: { readonly bytes: Buffer; readonly start: number; readonly bytesMax: number },
): Promise<{ readonly length: number; readonly isHole: boolean }> {
  try {
    const file = files.file(path, 'volume');
    const data = file.nextDataSync(offset);
    if (data !== offset) {
      const end = data > offset ? Math.min(data, sizeBytes) : sizeBytes;
      return { length: end - offset, isHole: true };
    }
    const unitEnd = Math.floor(offset / unitBytes + 1) * unitBytes;
    const end = Math.min(file.nextHoleSync(offset), sizeBytes, unitEnd);
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
