import { changesVolume, recordType } from '../journal/record.ts';
import { SegmentReader } from '../journal/segment-reader.ts';
import { InvariantError } from '../platform/assert.ts';
import type { Disk } from '../platform/disk.ts';
import { messageOf } from '../platform/errors.ts';
import type { ScannedSegment } from './region-scan.ts';
import { readSegmentUpdates } from './segment-updates.ts';

/** Which records there are is found out in the apply worker; no volume is touched. */
export interface RecordListing {
  readonly kind: 'list_records';
  readonly segments: readonly ScannedSegment[];
  /** Updates from + 1 to `through`, all of them durable. */
  readonly from: number;
  readonly through: number;
}

export type RecordListingAnswer =
  | {
      readonly kind: 'records_listed';
      /** `listedFields` numbers for each record that is about a volume, in their order. */
      readonly records: Float64Array;
      /** Changes of the catalog among them. */
      readonly changes: readonly { readonly number: number; readonly payload: Uint8Array }[];
    }
  | { readonly kind: 'records_not_listed'; readonly message: string };

/** What stands of a record in a listing, one number each. */
export const listedFields = [
  'number',
  'type',
  'volume',
  'offset',
  'length',
  'segment',
  'payloadOffset',
] as const;

export interface ListedRecord {
  readonly number: number;
  readonly type: number;
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  readonly payloadBytes: number;
  /** Which one of the segments that were to be listed. */
  readonly segment: number;
  readonly payloadOffset: number;
}

export function* listedRecords(records: Float64Array): Generator<ListedRecord> {
  for (let at = 0; at < records.length; at += listedFields.length) {
    const type = records[at + 1] ?? 0;
    const length = records[at + 4] ?? 0;
    yield {
      number: records[at] ?? 0,
      type,
      volume: records[at + 2] ?? 0,
      offset: records[at + 3] ?? 0,
      length,
      payloadBytes: type === recordType.write ? length : 0,
      segment: records[at + 5] ?? 0,
      payloadOffset: records[at + 6] ?? 0,
    };
  }
}

export function listRecords(
  disk: Disk,
  { segments, from, through }: RecordListing,
): RecordListingAnswer {
  const records: number[] = [];
  const changes: { number: number; payload: Uint8Array }[] = [];
  const reader = new SegmentReader(disk);
  let last = from;
  try {
    for (const [at, segment] of segments.entries()) {
      last = readSegmentUpdates(
        disk,
        reader,
        segment,
        last,
        through,
        (header, position, payload) => {
          const payloadOffset = position + header.headerBytes;
          const { number, type, volume, offset, length } = header;
          if (changesVolume(type))
            records.push(number, type, volume, offset, length, at, payloadOffset);
          else if (type === recordType.catalog)
            changes.push({ number, payload: Uint8Array.from(payload()) });
        },
      );
    }
    if (last < through) throw new Error(`update ${last + 1} is not in the journal's segments`);
  } catch (error) {
    if (error instanceof InvariantError) throw error;
    return { kind: 'records_not_listed', message: messageOf(error) };
  }
  return { kind: 'records_listed', records: Float64Array.from(records), changes };
}
