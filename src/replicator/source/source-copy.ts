import type { CopyRate } from '../../platform/copy-rate.ts';
import { copyPrefixBytes } from '../protocol/frames.ts';
import type { SourceBatch } from './source-batch.ts';
import { addContents, copyRoomMin, copyUnitBytes, mayShowContents } from './source-contents.ts';
import type { SourceJournal } from './source-journal.ts';
import type { SourceVolume } from './source-messages.ts';
import type { JournalRead } from '../protocol/wire.ts';

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
  isDue(journal: SourceJournal, read: JournalRead, through: number): boolean {
    if (this.#sent.size === 0 || !mayShowContents(journal, read, through)) return false;
    return this.#next(journal.picture.volumes) !== undefined;
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
      for (let left = copyUnitBytes; left > 0; ) {
        const room = Math.min(batch.room, endMax - batch.end, rate.credit + copyPrefixBytes);
        if (room < copyRoomMin) return;
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
    volume: SourceVolume,
    room: number,
    left: number,
  ): Promise<number> {
    const { id, sizeBytes } = volume;
    const offset = this.#sent.get(id) ?? sizeBytes;
    if (offset >= sizeBytes) return 0;
    const roomOfUnit = Math.min(room, left + copyPrefixBytes);
    const length = await addContents(journal, batch, volume, offset, sizeBytes, roomOfUnit);
    this.#sent.set(id, offset + length);
    return length;
  }
}
