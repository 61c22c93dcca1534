import type { SegmentChain } from '../../journal/segment-chain.ts';
import type { ApplySegment } from '../../volume/apply-messages.ts';
import type { BlockTable } from '../../volume/block-table.ts';

/** What the table was filled from. */
export function segmentsOf(chain: SegmentChain, table: BlockTable): readonly ApplySegment[] {
  const segments: ApplySegment[] = [];
  for (const { header, file, area, lastNumber } of chain.live()) {
    const { sequence } = header;
    if (sequence < table.baseSequence || sequence > table.endSequence) continue;
    segments.push({
      sequence,
      path: file.path,
      direct: area.state === 'failed',
      lastNumber,
      isWhole: sequence < table.endSequence,
    });
  }
  return segments;
}
