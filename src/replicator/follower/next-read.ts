import type { Group } from '../../group/order/group.ts';
import { positionOf } from '../../group/catalog/lineage.ts';
import type { PaceDecision } from './pace.ts';
import type { SourceLease } from './source-lease.ts';
import { beatMillisecondsOf } from '../protocol/stream-times.ts';
import type { JournalRead, Position, SynchronousTold } from '../protocol/wire.ts';

export type NextReadDecision = Pick<PaceDecision, 'batchBytes' | 'waitMilliseconds'>;

/**
 * What the next read says of this system. `behind`: of the last read that was answered; undefined: behind
 * what is here. A source that waits for this system is never left without a word for long.
 */
export function nextRead(
  { watermarks, catalog, changes, checksums }: Group,
  behind: Position | undefined,
  synchronous: SynchronousTold | undefined,
  lease: SourceLease,
  { batchBytes, waitMilliseconds }: NextReadDecision,
  quietMilliseconds: number,
): Omit<JournalRead, 'isRetry' | 'copied' | 'ranges' | 'members'> {
  // A source that grows a volume, waits until the file here has grown: until then its record is not here.
  const received = changes.settledThrough(watermarks.durable);
  const beat = synchronous ? beatMillisecondsOf(synchronous.timeoutMilliseconds) : Infinity;
  const wait = Math.floor(Math.min(waitMilliseconds, beat));
  return {
    position: behind ?? positionOf(catalog.lineage, watermarks.newest),
    received,
    applied: Math.min(watermarks.applied, received),
    batchBytes,
    waitMilliseconds: wait,
    againMilliseconds: wait + quietMilliseconds,
    ...(synchronous ? { serial: lease.sent() } : {}),
    checksums: checksums.told,
  };
}
