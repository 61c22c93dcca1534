import type { SegmentChain } from '../../journal/segment-chain.ts';
import { must } from '../../platform/assert.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { type ListedRecord, listedRecords } from '../../volume/record-list.ts';
import type { ApplyDriver } from '../apply/apply-driver.ts';
import type { ListedRecords } from '../apply/apply-requests.ts';
import { scannedSegmentsMax, segmentsBehind, whilePinned } from '../apply/segments-behind.ts';
import type { ListedChange } from './volumes-at.ts';

export interface ListingGroup {
  readonly name: string;
  readonly driver: ApplyDriver;
  readonly chain: SegmentChain;
  readonly clock: Clock;
}

/** So many records are looked at before other things have their turn. */
const recordsAtOnce = 8192;

/**
 * Tells `seen` of the records about volumes among updates from + 1 to `through`, all of them durable and held, and
 * in which segment they stand. The apply worker reads them. Resolves with the changes of the catalog among them;
 * rejects with record_unreadable.
 */
export async function listUpdates(
  { name, driver, chain, clock }: ListingGroup,
  from: number,
  through: number,
  seen: (record: ListedRecord, sequence: number) => void,
): Promise<readonly ListedChange[]> {
  const changes: ListedChange[] = [];
  for (let last = from; last < through; ) {
    const segments = segmentsBehind(chain, last, through).slice(0, scannedSegmentsMax);
    const stop = Math.min(through, segments.at(-1)?.lastNumber ?? 0);
    if (stop <= last) throw unreadable(name, last + 1, 'it is not in the journal any more');
    const sequences = segments.map(({ live }) => live.header.sequence);
    let listed: ListedRecords | undefined;
    const before = last;
    await whilePinned(segments, async (scanned) => {
      listed = await new Promise<ListedRecords>((done) => {
        driver.requests.listRecords(scanned, before, stop, done);
      });
    });
    const { kind, ...answer } = must(listed, 'the worker answered');
    if (kind === 'records_not_listed' || !('records' in answer))
      throw unreadable(name, last + 1, 'message' in answer ? answer.message : '');
    changes.push(...answer.changes);
    let count = 0;
    for (const record of listedRecords(answer.records)) {
      seen(record, must(sequences[record.segment], 'a segment that was listed'));
      count += 1;
      if (count % recordsAtOnce === 0) await new Promise<void>((resolve) => clock.soon(resolve));
    }
    last = stop;
  }
  return changes;
}

function unreadable(group: string, number: number, why: string): JnbdError {
  return new JnbdError(
    'record_unreadable',
    `updates of group ${group} from ${number} on cannot be read: ${why}`,
  );
}
