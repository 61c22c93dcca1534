import type { Journal } from '../../journal/journal.ts';
import type { ReceiveSlab } from '../../journal/receive-slab.ts';
import { recordHeaderBytes, recordType } from '../../journal/record.ts';
import { blockBytes } from '../../platform/limits.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import { nodeKind } from '../../volume/node-kind.ts';

interface AreaJournal {
  readonly journal: Journal;
  readonly index: BlockIndex;
}

/**
 * Numbers a record of what blocks [from, to) of an area hold, with its header at `at` of the slab: a `write` of what
 * stands behind that, or a `hole`.
 */
export function stampArea(
  { journal, index }: AreaJournal,
  type: typeof recordType.write | typeof recordType.hole,
  slab: ReceiveSlab,
  at: number,
  area: number,
  from: number,
  to: number,
): void {
  const offset = from * blockBytes;
  const length = (to - from) * blockBytes;
  const number = journal.stamp(slab, at, recordHeaderBytes, type, area, offset, length);
  const { segment, payloadOffset } = journal.place;
  const { sequence } = segment.header;
  const { active } = index;
  if (type === recordType.write) {
    active.insertData(area, offset, length, number, sequence, payloadOffset);
  } else {
    active.insertRange(area, nodeKind.hole, offset, length, number, sequence, payloadOffset);
  }
}
