import { type RecordHeader, recordType } from '../journal/record.ts';
import type { BlockTable } from './block-table.ts';
import { nodeKind } from './node-kind.ts';

/** Enters one record into a table. One that is passed over, of a volume that stores nothing, only moves it on. */
export function indexRecord(
  table: BlockTable,
  header: Pick<RecordHeader, 'number' | 'type' | 'volume' | 'offset' | 'length' | 'payloadBytes'>,
  sequence: number,
  payloadOffset: number,
  isPassedOver: boolean,
): void {
  const end = payloadOffset + header.payloadBytes;
  if (isPassedOver || header.length === 0) {
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
