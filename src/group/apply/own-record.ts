import type { Journal } from '../../journal/journal.ts';
import { scratchSlab } from '../../journal/receive-slab.ts';
import { recordHeaderBytes, type RecordType } from '../../journal/record.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import { JnbdError } from '../../platform/errors.ts';
import type { BlockIndex } from '../../volume/block-index.ts';

/** What is asked of a group before a record is numbered in it that no host wrote. */
interface NumberingGroup {
  readonly name: string;
  readonly role: string;
  readonly state: string;
  readonly failureText: string;
  readonly refusesWrites: boolean;
  readonly journal: Journal;
  readonly chain: SegmentChain;
  readonly index: BlockIndex;
}

export function ownRecordBytes(payload: Uint8Array): number {
  return recordHeaderBytes + payload.length;
}

/** Throws JnbdError state_refuses. */
export function checkTakesRecords(group: NumberingGroup): void {
  if (!group.refusesWrites) return;
  const what = group.state === 'normal' ? group.role : group.state;
  throw new JnbdError('state_refuses', `group ${group.name} is ${what}: ${group.failureText}`);
}

/** Whether journal and index have room for one record of so many bytes. */
export function admitsRecord({ journal, chain, index }: NumberingGroup, bytes: number): boolean {
  return journal.admits(bytes) && index.admits(1, chain.current.header.sequence + 1);
}

/** Its number. Journal and index have admitted it; the run that it is in is still to be committed. */
export function stampOwnRecord(
  journal: Journal,
  index: BlockIndex,
  type: RecordType,
  payload: Uint8Array,
): number {
  const slab = scratchSlab(ownRecordBytes(payload));
  slab.bytes.set(payload, recordHeaderBytes);
  const number = journal.stamp(slab, 0, recordHeaderBytes, type, 0, 0, payload.length);
  const { segment, payloadOffset } = journal.place;
  index.active.note(number, segment.header.sequence, payloadOffset + payload.length);
  return number;
}
