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

/** Numbers a record of what blocks [from, to) of an area hold, which stands in the slab behind its header at `at`. */
export function stampAreaData(
  { journal, index }: AreaJournal,
  slab: ReceiveSlab,
  at: number,
  area: number,
  from: number,
  to: number,
): void {
  const { write } = recordType;
  const offset = from * blockBytes;
  const length = (to - from) * blockBytes;
  const number = journal.stamp(slab, at, recordHeaderBytes, write, area, offset, length);
  const { segment, payloadOffset } = journal.place;
  const { sequence } = segment.header;
  index.active.insertData(area, offset, length, number, sequence, payloadOffset);
}

/** Numbers a record by which blocks [from, to) of an area are a hole from then on. */
export function stampAreaHole(
  { journal, index }: AreaJournal,
  slab: ReceiveSlab,
  at: number,
  area: number,
  from: number,
  to: number,
): void {
  const { hole } = recordType;
  const offset = from * blockBytes;
  const length = (to - from) * blockBytes;
  const number = journal.stamp(slab, at, recordHeaderBytes, hole, area, offset, length);
  const { segment, payloadOffset } = journal.place;
  const { sequence } = segment.header;
  index.active.insertRange(area, nodeKind.hole, offset, length, number, sequence, payloadOffset);
}
