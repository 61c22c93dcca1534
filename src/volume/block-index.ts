import { assert, must } from '../platform/assert.ts';
import { blockBytes, recordPayloadBytesMax } from '../platform/limits.ts';
import type { PieceVisitor } from './block-table.ts';
import { BlockTable } from './block-table.ts';
import { Uncovered } from './uncovered.ts';

/** One is filled, one applied, and one may wait: more would only be more places to look. */
export const indexTablesMax = 3;

/**
 * The index of a group's unapplied records: one table that is filled, and frozen ones, oldest first,
 * that wait for apply or are being applied. A read looks through them newest first and finds in the
 * backing file what none has (invariant 3).
 */
export class BlockIndex {
  readonly #tableNodesMax: number;
  readonly #spare: BlockTable[] = [];
  readonly #frozen: BlockTable[] = [];
  #active: BlockTable;
  #created = 1;
  /** The oldest table is the beginning of the one behind it. */
  #isDivided = false;
  readonly #uncovered = new Uncovered();

  constructor(tableNodesMax: number) {
    this.#tableNodesMax = tableNodesMax;
    this.#active = new BlockTable(tableNodesMax);
  }

  get active(): BlockTable {
    return this.#active;
  }

  get frozenCount(): number {
    return this.#frozen.length;
  }

  /** The one that stands before all others. */
  get oldest(): BlockTable {
    return this.#frozen[0] ?? this.#active;
  }

  /** The table that is to be applied next. */
  get oldestFrozen(): BlockTable | undefined {
    return this.#frozen[0];
  }

  /** More tables were needed than there are to be. */
  get isPastBound(): boolean {
    return this.#created > indexTablesMax;
  }

  get isEmpty(): boolean {
    return this.#frozen.length === 0 && this.#active.isEmpty;
  }

  get entries(): number {
    let entries = this.#active.count;
    for (const table of this.#frozen) entries += table.count;
    return entries;
  }

  /** Blocks that applying may allocate, at most. */
  get owedBlocks(): number {
    let blocks = this.#active.owedBlocks;
    for (const table of this.#frozen) blocks += table.owedBlocks;
    return blocks;
  }

  /**
   * The volume was deleted: nothing of it will be allocated any more, but by who has `inUse` already.
   */
  forget(volume: number, inUse?: BlockTable): void {
    for (const table of [this.#active, ...this.#frozen]) {
      if (table !== inUse) table.forget(volume);
    }
  }

  /** Visits the blocks of the volume that have anything unapplied, in no order. */
  visitBlocks(volume: number, visit: (start: number, end: number) => void): void {
    this.#active.visitBlocks(volume, visit);
    for (const table of this.#frozen) table.visitBlocks(volume, visit);
  }

  /** Makes room for a record in the active table; false: wait until a table was applied. */
  admits(nodes: number, sequence: number): boolean {
    if (this.#active.hasRoom(nodes, sequence)) return true;
    if (this.#spare.length === 0 && this.#created >= indexTablesMax) return false;
    this.freeze();
    return true;
  }

  /** Room for a record that cannot wait (recovery, a failed area), past the bound if need be. */
  makeRoom(length: number, sequence: number): void {
    const nodes = BlockTable.nodesFor(Math.min(length, recordPayloadBytesMax), true);
    if (this.#active.hasRoom(nodes, sequence)) return;
    if (this.#spare.length === 0) {
      this.#spare.push(this.emptyTable());
      this.#created += 1;
    }
    this.freeze();
  }

  /** The table that the record is in: tables hold records in order of their numbers. */
  tableOf(number: number): BlockTable {
    return this.#frozen.find((table) => table.lastNumber >= number) ?? this.#active;
  }

  /** There is a table that takes the place of the active one. */
  get canFreeze(): boolean {
    return this.#spare.length > 0 || this.#created < indexTablesMax;
  }

  /** What the active table holds is one batch of apply from now on. */
  freeze(): boolean {
    if (this.#active.isEmpty) return false;
    let next = this.#spare.pop();
    if (!next) {
      if (this.#created >= indexTablesMax) return false;
      this.#created += 1;
      next = this.emptyTable();
    }
    this.#frozen.push(this.#active);
    this.#active = next;
    return true;
  }

  emptyTable(): BlockTable {
    return new BlockTable(this.#tableNodesMax);
  }

  /** `beginning` has the oldest table's records up to one of them: it is applied first, and what is left behind it. */
  divide(beginning: BlockTable): void {
    assert(!this.#isDivided, 'one beginning at a time');
    this.#frozen.unshift(beginning);
    this.#created += 1;
    this.#isDivided = true;
  }

  /** The oldest frozen table is in the backing files, durably. */
  applied(): void {
    const table = must(this.#frozen.shift(), 'a frozen table was applied');
    if (this.#isDivided) {
      this.oldest.dropThrough({ sequence: table.endSequence, offset: table.endOffset });
      this.#isDivided = false;
    }
    if (this.#created > indexTablesMax) {
      this.#created -= 1;
      return;
    }
    table.clear();
    this.#spare.push(table);
  }

  /**
   * Visits the pieces of [offset, offset + length) that are not applied, block by block in order;
   * what no table has goes to `missing(start, end)`.
   */
  search(
    volume: number,
    offset: number,
    length: number,
    visitor: PieceVisitor & { missing(start: number, end: number): void },
  ): void {
    const end = offset + length;
    if (this.isEmpty) {
      visitor.missing(offset, end);
      return;
    }
    const uncovered = this.#uncovered;
    for (let at = offset; at < end; ) {
      const block = Math.floor(at / blockBytes);
      const base = block * blockBytes;
      const stop = Math.min(end, base + blockBytes);
      uncovered.reset(at - base, stop - base);
      this.#active.search(volume, block, uncovered, visitor);
      for (let i = this.#frozen.length - 1; i >= 0 && uncovered.count > 0; i -= 1) {
        this.#frozen[i]?.search(volume, block, uncovered, visitor);
      }
      for (let i = 0; i < uncovered.count; i += 1) {
        visitor.missing(base + (uncovered.starts[i] ?? 0), base + (uncovered.ends[i] ?? 0));
      }
      at = stop;
    }
  }
}
