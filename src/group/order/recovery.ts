import type { Area } from '../../journal/area.ts';
import { openArea } from '../../journal/area.ts';
import type { Checkpoint } from '../../journal/checkpoint.ts';
import { decodeCutRecord, isCutRecord } from '../../journal/cut-record.ts';
import type { RecordMoved } from '../../journal/move-run.ts';
import type { RecordHeader } from '../../journal/record.ts';
import { changesVolume, recordType } from '../../journal/record.ts';
import type { FoundSegment, ScanOutcome } from '../../journal/scan.ts';
import { JournalScan } from '../../journal/scan.ts';
import type { JournalHead } from '../../journal/head.ts';
import type { SegmentHeader } from '../../journal/segment.ts';
import { decodeSegmentHeader } from '../../journal/segment.ts';
import type { LiveSegment } from '../../journal/segment-chain.ts';
import { SegmentReader } from '../../journal/segment-reader.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, messageOf } from '../../platform/errors.ts';
import { segmentBytes, segmentHeaderBytes } from '../../platform/limits.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import { indexRecord } from '../../volume/index-record.ts';
import type { Catalog, CatalogChange } from '../catalog/catalog.ts';
import { createdVolumes, decodeChange } from '../catalog/catalog.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { CutRecords } from '../cuts/cut-records.ts';

interface FoundHeader {
  readonly header: SegmentHeader;
  readonly area: Area;
  readonly slot: number;
}

/** A journal as found on its areas, before anything of it is believed. */
export interface FoundJournal {
  readonly areas: readonly Area[];
  readonly segments: readonly FoundHeader[];
  /** Why what is there is not all that could be: for whoever misses something. */
  readonly troubles: readonly string[];
  readonly nextSequence: number;
}

/**
 * Opens the areas and reads every segment's header as the device holds it: one whose sync failed may
 * be in the page cache alone, and nothing was ever written behind it. Areas that are not there stay
 * `missing`: whether the journal can do without shows when it is scanned. A header that cannot be read
 * counts as no use of that file; if records were in it, the scan misses what a roll or the head leads
 * to.
 */
export function findJournal(disk: Disk, files: GroupFiles, catalog: Catalog): FoundJournal {
  const { groupId } = catalog;
  const areas = catalog.areas.map(({ areaId, path, role }) =>
    openArea(disk, files.area(path), { formatVersion: 1, groupId, areaId }, role),
  );
  const segments: FoundHeader[] = [];
  const troubles = areas.map(({ failure }) => failure).filter((failure) => failure !== '');
  const block = disk.allocateAligned(segmentHeaderBytes);
  let nextSequence = 1;
  for (const area of areas) {
    for (let slot = 0; slot < area.slots; slot += 1) {
      const path = area.segmentPath(slot);
      block.fill(0);
      try {
        const file = disk.openSync(path, 'read', 'segment');
        try {
          file.readDirectSync(block, 0, block.length, 0);
        } finally {
          file.closeSync();
        }
      } catch (error) {
        // Nothing new goes there; what else it holds is read, and proved.
        area.become('failed', `${path}: ${messageOf(error)}`);
        troubles.push(area.failure);
        continue;
      }
      const result = decodeSegmentHeader(block);
      if (result.kind === 'newer') {
        throw new JnbdError(
          'format_newer',
          `${path} has format ${result.formatVersion}, which this jnbd does not know; start a newer one`,
        );
      }
      if (result.kind === 'bad') troubles.push(`the header of ${path} cannot be read`);
      if (result.kind !== 'header' || result.header.groupId !== catalog.groupId) continue;
      segments.push({ header: result.header, area, slot });
      nextSequence = Math.max(nextSequence, result.header.sequence + 1);
    }
  }
  return { areas, segments, troubles, nextSequence };
}

export interface RecoveredJournal {
  readonly outcome: ScanOutcome;
  /** Catalog changes that the catalog file does not have yet, in order. */
  readonly changes: readonly { readonly number: number; readonly change: CatalogChange }[];
  /** Markers and commits behind the checkpoint, and what the catalog has of those before. */
  readonly cuts: CutRecords;
  /** Segments that hold records after `released`, and the one of the checkpoint; the rest is free. */
  readonly live: readonly LiveSegment[];
  /** Every record after this is there; at least what was asked for, more where some were released since. */
  readonly released: number;
}

/** What is known of a journal from beside it. */
export interface JournalTruths {
  readonly checkpoint: Checkpoint;
  readonly head: JournalHead;
  /** Everything up to here was durable when the group was opened last, whatever its journal says of it now. */
  readonly durable: number;
  /** Somebody needs every record after this number. */
  readonly released: number;
  /** Followers may have let go of more than that since the checkpoint was written. */
  readonly mayBeReleased: boolean;
}

/**
 * Rebuilds what a crash took from memory: syncs what may be only in the page cache, then reads the
 * records behind the checkpoint past that cache (a page cache can lie after a failed sync, SAFETY 4),
 * proves them and fills the index, past its bound if need be: what was admitted before fits again
 * unless the budget was made smaller, and then only until it is applied. `alsoStored`: volumes that the
 * catalog does not name any more, and that have files.
 */
export function recoverJournal(
  disk: Disk,
  found: FoundJournal,
  truths: JournalTruths,
  catalog: Catalog,
  index: BlockIndex,
  alsoStored: readonly number[] = [],
): RecoveredJournal {
  const { checkpoint, head } = truths;
  const relevant = found.segments
    .filter(({ header }) => header.sequence >= checkpoint.sequence)
    .sort((a, b) => a.header.sequence - b.header.sequence)
    .map(({ header, area, slot }) => ({
      header,
      area,
      slot,
      file: area.segmentFile(slot),
      path: area.segmentPath(slot),
    }));
  for (const segment of relevant) {
    try {
      segment.file.dataSyncSync();
    } catch (error) {
      segment.area.become('failed', `${segment.path}: ${messageOf(error)}`);
    }
  }
  // A journal that was begun anew has nothing, and misses nothing that is in the volumes.
  const beforeLast = truths.durable > checkpoint.applied ? truths.durable : 0;
  const scan = new JournalScan(
    disk,
    relevant,
    { number: checkpoint.applied, sequence: checkpoint.sequence, offset: checkpoint.offset },
    Math.max(head.durable, beforeLast),
  );
  const changes: { number: number; change: CatalogChange }[] = [];
  const cuts = new CutRecords(catalog.markers);
  /** Not those that are journal-only, or deleted: nothing is applied to them. */
  const stored = new Set([
    ...catalog.volumes.filter(({ journalOnly }) => !journalOnly).map(({ id }) => id),
    ...alsoStored,
  ]);
  const visitor = {
    record(
      header: RecordHeader,
      segment: FoundSegment,
      payloadOffset: number,
      payload: Uint8Array,
    ): void {
      const { sequence } = segment.header;
      index.makeRoom(header.length, sequence);
      if (header.type === recordType.catalog) {
        if (header.number > catalog.number) {
          const change = decodeChange(payload, catalog);
          changes.push({ number: header.number, change });
          for (const { id, journalOnly } of createdVolumes(change))
            if (!journalOnly) stored.add(id);
        }
        index.active.note(header.number, sequence, payloadOffset + header.payloadBytes);
      } else if (isCutRecord(header.type)) {
        const cut = decodeCutRecord(header.type, payload);
        if (cut) cuts.add(header.number, cut, truths.released);
        index.active.note(header.number, sequence, payloadOffset + header.payloadBytes);
        // What a cut holds back is applied marker by marker.
        if (catalog.holdsApply === true && cut?.kind === 'marker') index.freeze();
      } else if (header.type === recordType.point) {
        // Volumes may hold more already: there is nothing to compare.
        index.active.note(header.number, sequence, payloadOffset + header.payloadBytes);
      } else {
        indexRecord(index.active, header, sequence, payloadOffset, !stored.has(header.volume));
      }
    },
  };
  scan.run(visitor);
  const outcome = scan.outcome();
  const retained = retainedBefore(disk, found, truths, outcome);
  const { live } = retained;
  for (const segment of relevant) {
    const end = outcome.ends.get(segment.header.sequence);
    if (end) live.push(liveSegment(segment, end.offset, end.lastNumber));
  }
  return { outcome, changes, cuts, live, released: retained.released };
}

/**
 * Segments without records after the checkpoint that must not be used again, in order: the one that
 * the checkpoint is in, because recovery begins there, and those that hold numbers after `released`. Where
 * more may be released, as far back as there is no gap.
 */
function retainedBefore(
  disk: Disk,
  found: FoundJournal,
  { checkpoint, released, mayBeReleased }: JournalTruths,
  outcome: ScanOutcome,
): { live: LiveSegment[]; released: number } {
  const live: LiveSegment[] = [];
  let reader: SegmentReader | undefined;
  /** The highest number that is not accounted for. */
  let last = checkpoint.applied;
  let newer = checkpoint.sequence;
  const candidates = found.segments
    .filter(({ header }) => header.sequence <= checkpoint.sequence)
    .sort((a, b) => b.header.sequence - a.header.sequence);
  for (const candidate of candidates) {
    const { sequence, salt } = candidate.header;
    const isCheckpoints = sequence === checkpoint.sequence;
    if (!isCheckpoints && last <= released) break;
    let first = 0;
    if (last > released) {
      reader ??= new SegmentReader(disk);
      reader.open(candidate.area.segmentFile(candidate.slot));
      first = reader.firstNumber(released, salt);
      // Freed segments are used again in any order: of one that was not, what came behind may be gone.
      const isDoubtful = mayBeReleased && first > 0 && sequence + 1 < newer;
      if (isDoubtful && reader.lastNumber(salt) < last) break;
    }
    const isNeeded = isCheckpoints || first > 0;
    if (isNeeded && !outcome.ends.has(sequence))
      live.unshift(liveSegment(candidate, segmentBytes, last));
    if (first > 0) last = Math.min(last, first - 1);
    newer = sequence;
  }
  return { live, released: mayBeReleased ? Math.max(released, last) : released };
}

function liveSegment(found: FoundHeader, endOffset: number, lastNumber: number): LiveSegment {
  const { header, area, slot } = found;
  return {
    header,
    area,
    slot,
    file: area.segmentFile(slot),
    beginsAt: header.firstNumber,
    endOffset,
    lastNumber,
    dirty: false,
    lostFrom: segmentBytes,
    pins: 0,
  };
}

/**
 * What is in the index moves with its record. Also in a frozen table: it is applied only when its last
 * record is durable, which is later.
 */
export function relocator(index: BlockIndex, storing: ReadonlySet<number>): RecordMoved {
  return (header, from, fromOffset, to, toOffset) => {
    const changesBlocks = changesVolume(header.type) && storing.has(header.volume);
    const fromPlace = { sequence: from.header.sequence, offset: fromOffset };
    const toPlace = { sequence: to.header.sequence, offset: toOffset };
    index.tableOf(header.number).relocate(header, changesBlocks, fromPlace, toPlace);
  };
}
