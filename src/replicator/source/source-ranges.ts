import type { CopyRate } from '../../platform/copy-rate.ts';
import { copyPrefixBytes } from '../protocol/frames.ts';
import type { SourceBatch } from './source-batch.ts';
import { addContents, copyRoomMin, mayShowContents } from './source-contents.ts';
import type { SourceJournal } from './source-journal.ts';
import type { SourceVolume } from './source-messages.ts';
import type { JournalRead, WantedRange } from '../protocol/wire.ts';

/** The part of a range that there is, and where. */
interface FoundRange {
  readonly volume: SourceVolume;
  readonly offset: number;
  readonly end: number;
}

/**
 * Whether any of the ranges that a read wants can be given to a follower that stands behind `through`. Of
 * volumes that are gone, or cannot be read, nothing is.
 */
export function rangesAreDue(journal: SourceJournal, read: JournalRead, through: number): boolean {
  if (read.ranges.length === 0 || !mayShowContents(journal, read, through)) return false;
  return read.ranges.some((range) => find(journal, range) !== undefined);
}

/** The first of them, as far as they find room and the rate allows. Throws volume_unreadable. */
export async function fillRanges(
  journal: SourceJournal,
  batch: SourceBatch,
  { ranges }: JournalRead,
  rate: CopyRate,
): Promise<void> {
  for (const range of ranges) {
    const found = find(journal, range);
    for (let at = found?.offset ?? 0; found && at < found.end; ) {
      const room = Math.min(batch.room, rate.credit + copyPrefixBytes);
      if (room < copyRoomMin) return;
      const before = batch.end;
      at += await addContents(journal, batch, found.volume, at, found.end, room);
      rate.spend(batch.end - before - copyPrefixBytes);
    }
  }
}

function find({ picture }: SourceJournal, range: WantedRange): FoundRange | undefined {
  const volume = picture.volumes.find(({ id }) => id === range.volume);
  if (!volume || volume.path === '' || range.offset >= volume.sizeBytes) return undefined;
  const end = Math.min(range.offset + range.length, volume.sizeBytes);
  return { volume, offset: range.offset, end };
}
