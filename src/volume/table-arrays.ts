export const nodeBytes = 24;

/**
 * The nodes of a table:
 *
 *   keyLow    u32   block, low 32 bits
 *   keyHigh   u32   volume 16 bits | block bits 32..35 | kind 2 bits
 *   placeLow  u32   journal place relative to the table's first segment, low 32 bits
 *   extent    u32   place bits 32..39 | start 12 bits | end - 1 12 bits
 *   next      i32   next node of the chain + 1; 0 ends it
 */
export interface TableArrays {
  readonly heads: Int32Array;
  readonly keyLow: Uint32Array;
  readonly keyHigh: Uint32Array;
  readonly placeLow: Uint32Array;
  readonly extent: Uint32Array;
  readonly next: Int32Array;
}

/** The arrays over a table's memory, which holds a power of two of nodes. */
export function tableArrays(memory: SharedArrayBuffer): TableArrays {
  const nodes = memory.byteLength / nodeBytes;
  const bytes = nodes * 4;
  return {
    heads: new Int32Array(memory, 0, nodes),
    keyLow: new Uint32Array(memory, bytes, nodes),
    keyHigh: new Uint32Array(memory, bytes * 2, nodes),
    placeLow: new Uint32Array(memory, bytes * 3, nodes),
    extent: new Uint32Array(memory, bytes * 4, nodes),
    next: new Int32Array(memory, bytes * 5, nodes),
  };
}
