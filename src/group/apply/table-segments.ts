import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { ApplySegment } from '../../volume/apply-messages.ts';
import type { BlockTable } from '../../volume/block-table.ts';

/** What the table was filled from. Up to `pastThrough` it is kept for the past alone once it is applied. */
export function segmentsOf(
  chain: SegmentChain,
  table: BlockTable,
  pastThrough: number,
): readonly ApplySegment[] {
  const segments: ApplySegment[] = [];
  for (const { header, file, area, lastNumber } of chain.live()) {
    const { sequence } = header;
    if (sequence < table.baseSequence || sequence > table.endSequence) continue;
    segments.push({
      sequence,
      path: file.path,
      direct: area.state === 'failed',
      lastNumber,
      isPast: sequence < table.endSequence && lastNumber <= pastThrough,
    });
  }
  return segments;
}
