/** What a part of a block is: bytes in the journal, allocated zeroes, or a hole. Two bits of a node. */
export const nodeKind = { data: 0, zero: 1, hole: 2 } as const;
export type NodeKind = (typeof nodeKind)[keyof typeof nodeKind];
