import type { Area } from '../journal/area.ts';
import { openArea } from '../journal/area.ts';
import type { Checkpoint } from '../journal/checkpoint.ts';
import type { RecordHeader } from '../journal/record.ts';
import { recordType } from '../journal/record.ts';
import type { FoundSegment, ScanOutcome } from '../journal/scan.ts';
import { JournalScan } from '../journal/scan.ts';
import type { SegmentHeader } from '../journal/segment.ts';
import { decodeSegmentHeader } from '../journal/segment.ts';
import type { LiveSegment } from '../journal/segment-chain.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError, messageOf } from '../platform/errors.ts';
import { segmentBytes, segmentHeaderBytes } from '../platform/limits.ts';
import type { BlockIndex } from '../volume/block-index.ts';
import type { BlockTable } from '../volume/block-table.ts';
import { nodeKind } from '../volume/node-kind.ts';
import type { Catalog, CatalogChange } from './catalog.ts';
import { decodeChange } from './catalog.ts';

interface FoundHeader {
  readonly header: SegmentHeader;
  readonly area: Area;
  readonly slot: number;
}

/** A journal as found on its areas, before anything of it is believed. */
export interface FoundJournal {
  readonly areas: readonly Area[];
  readonly segments: readonly FoundHeader[];
  readonly nextSequence: number;
}

/**
 * Opens the areas and reads every segment's header. Areas that are not there stay `missing`: whether
 * the journal can do without shows when it is scanned. A header that cannot be read counts as no
 * use of that file; if records were in it, their numbers are missed by the scan.
 */
export function findJournal(disk: Disk, catalog: Catalog): FoundJournal {
  const areas = catalog.areas.map(({ areaId, path }) =>
    openArea(disk, path, { formatVersion: 1, groupId: catalog.groupId, areaId }),
  );
  const segments: FoundHeader[] = [];
  const block = Buffer.alloc(segmentHeaderBytes);
  let nextSequence = 1;
  for (const area of areas) {
    for (let slot = 0; slot < area.slots; slot += 1) {
      const path = area.segmentPath(slot);
      block.fill(0);
      try {
        const file = disk.openSync(path, 'read', 'segment');
        try {
          file.readSync(block, 0, block.length, 0);
        } finally {
          file.closeSync();
        }
      } catch (error) {
        area.become('failed', `${path}: ${messageOf(error)}`);
        break;
      }
      const result = decodeSegmentHeader(block);
      if (result.kind === 'newer') {
        throw new JnbdError(
          'format_newer',
          `${path} has format ${result.formatVersion}, which this jnbd does not know; start a newer one`,
        );
      }
      if (result.kind !== 'header' || result.header.groupId !== catalog.groupId) continue;
      segments.push({ header: result.header, area, slot });
      nextSequence = Math.max(nextSequence, result.header.sequence + 1);
    }
  }
  return { areas, segments, nextSequence };
}

export interface RecoveredJournal {
  readonly outcome: ScanOutcome;
  /** Catalog changes that the catalog file does not have yet, in order. */
  readonly changes: readonly { readonly number: number; readonly change: CatalogChange }[];
  /** Segments that hold records after the checkpoint; the rest is free. */
  readonly live: readonly LiveSegment[];
}

/**
 * Rebuilds what a crash took from memory: syncs what may be only in the page cache, then reads the
 * records behind the checkpoint past that cache (a page cache can lie after a failed sync, SAFETY 4),
 * proves them and fills the index, past its bound if need be: what was admitted before fits again
 * unless the budget was made smaller, and then only until it is applied.
 */
export function recoverJournal(
  disk: Disk,
  found: FoundJournal,
  checkpoint: Checkpoint,
  catalog: Catalog,
  index: BlockIndex,
): RecoveredJournal {
  const relevant = found.segments
    .filter(
      ({ header, area }) => header.sequence >= checkpoint.sequence && area.state === 'healthy',
    )
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
  const scan = new JournalScan(
    disk,
    relevant,
    { number: checkpoint.applied, sequence: checkpoint.sequence, offset: checkpoint.offset },
    checkpoint.applied,
  );
  const changes: { number: number; change: CatalogChange }[] = [];
  const journalOnly = new Set(
    catalog.volumes.filter((volume) => volume.journalOnly).map(({ id }) => id),
  );
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
          const change = decodeChange(payload);
          changes.push({ number: header.number, change });
          if (change.change === 'volume_created' && change.volume.journalOnly)
            journalOnly.add(change.volume.id);
        }
        index.active.note(header.number, sequence, payloadOffset + header.payloadBytes);
      } else {
        indexRecord(index.active, header, sequence, payloadOffset, journalOnly.has(header.volume));
      }
    },
  };
  scan.run(visitor);
  const outcome = scan.outcome();
  const live: LiveSegment[] = [];
  for (const segment of relevant) {
    const end = outcome.ends.get(segment.header.sequence);
    if (!end) continue;
    live.push({
      header: segment.header,
      area: segment.area,
      slot: segment.slot,
      file: segment.file,
      endOffset: end.offset,
      lastNumber: end.lastNumber,
      dirty: false,
      lostFrom: segmentBytes,
      pins: 0,
    });
  }
  return { outcome, changes, live };
}

/** Enters one record into a table. Volumes that store nothing only move it on. */
export function indexRecord(
  table: BlockTable,
  header: RecordHeader,
  sequence: number,
  payloadOffset: number,
  journalOnly: boolean,
): void {
  const end = payloadOffset + header.payloadBytes;
  if (journalOnly || header.length === 0) {
    table.note(header.number, sequence, end);
  } else if (header.type === recordType.write) {
    table.insertData(
      header.volume,
      header.offset,
      header.length,
      header.number,
      sequence,
      payloadOffset,
    );
  } else {
    const kind = header.type === recordType.zero ? nodeKind.zero : nodeKind.hole;
    table.insertRange(
      header.volume,
      kind,
      header.offset,
      header.length,
      header.number,
      sequence,
      payloadOffset,
    );
  }
}
