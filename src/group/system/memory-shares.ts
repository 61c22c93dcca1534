import { JnbdError } from '../../platform/errors.ts';
import { memoryBytesMin, slabBytes, unsyncedBytesMaxDefault } from '../../platform/limits.ts';
import { formatExactSize, formatSize } from '../../platform/size-text.ts';
import { indexTablesMax } from '../../volume/block-index.ts';
import { nodeBytes } from '../../volume/table-arrays.ts';
import type { SystemNames } from '../catalog/data-directory.ts';
import type { GroupLimits } from '../order/group-dependencies.ts';

/** How the memory budget is divided; what is left is for reads on their way out. */
export interface MemoryShares {
  readonly slabs: number;
  readonly indexBytes: number;
  readonly replyBytes: number;
}

export interface SystemOptions extends SystemNames {
  readonly memoryBytes: number;
  /** Infinite: no points are numbered. */
  readonly checksumPointMilliseconds?: number | undefined;
}

export function divideMemory(memoryBytes: number): MemoryShares {
  if (memoryBytes < memoryBytesMin) {
    throw new JnbdError(
      'argument_invalid',
      `--memory ${formatExactSize(memoryBytes)} is too little; at least ${formatSize(memoryBytesMin)}`,
    );
  }
  return {
    slabs: Math.floor((memoryBytes * 0.4) / slabBytes),
    indexBytes: Math.floor(memoryBytes * 0.4),
    replyBytes: Math.floor(memoryBytes * 0.2),
  };
}

/** Of each of so many groups. */
export function groupLimits(
  { indexBytes }: MemoryShares,
  slabBytesMax: number,
  groups: number,
  checksumPointMilliseconds: number,
): GroupLimits {
  const nodes = Math.min(2 ** 20, indexBytes / groups / indexTablesMax / nodeBytes);
  return {
    tableNodesMax: 2 ** Math.max(12, Math.floor(Math.log2(nodes))),
    unsyncedBytesMax: Math.min(unsyncedBytesMaxDefault, Math.floor(slabBytesMax / 2 / groups)),
    checksumPointMilliseconds,
  };
}
