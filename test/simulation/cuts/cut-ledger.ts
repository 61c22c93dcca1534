/** A write of a host on one of the systems, and those that it was issued because of. */
export interface LedgerWrite {
  readonly system: number;
  readonly number: number;
  /** What it wrote: no two writes wrote the same. */
  readonly token: number;
  readonly offset: number;
  /** What whoever issued it had seen, on another system. */
  readonly because: LedgerWrite | undefined;
  /** The power went before it was durable: nobody has it, whatever was issued because of it. */
  isLost: boolean;
}

/** One update number for each system: what of its journal is in the cut. */
export type CutNumbers = readonly number[];

/** Every write of every host, in the order of each system. */
export class CutLedger {
  readonly #writes: LedgerWrite[][];
  /** The newest that was found consistent: what stands before it has what it was issued because of. */
  #consistent: CutNumbers;

  constructor(systems: number) {
    this.#writes = Array.from({ length: systems }, () => []);
    this.#consistent = this.#writes.map(() => 0);
  }

  add(write: LedgerWrite): void {
    this.#writes[write.system]?.push(write);
  }

  /** The system was started again, and this is all that it has. */
  restarted(system: number, newest: number): void {
    const writes = this.#writes[system] ?? [];
    for (const write of writes) if (write.number > newest) write.isLost = true;
    this.#writes[system] = writes.filter(({ isLost }) => !isLost);
  }

  /** What is in the cut without what it was issued because of; undefined: nothing is. */
  inconsistency(numbers: CutNumbers): string | undefined {
    const isAhead = this.#consistent.every((number, system) => number <= (numbers[system] ?? 0));
    for (const [system, writes] of this.#writes.entries()) {
      const through = numbers[system] ?? 0;
      const from = isAhead ? (this.#consistent[system] ?? 0) : 0;
      for (let at = writes.length - 1; at >= 0; at -= 1) {
        const write = writes[at];
        const because = write?.because;
        if (write && write.number <= from) break;
        if (!write || write.number > through || !because || because.isLost) continue;
        if (because.number <= (numbers[because.system] ?? 0)) continue;
        return `write ${write.token}, update ${write.number} of system ${system}, is in the cut ${numbers.join(', ')}, and write ${because.token}, update ${because.number} of system ${because.system}, which was seen before it was issued, is not`;
      }
    }
    if (isAhead) this.#consistent = numbers.slice();
    return undefined;
  }

  /** What the volume of the system holds after that update. */
  contents(system: number, number: number, sizeBytes: number): Buffer {
    const contents = Buffer.alloc(sizeBytes);
    for (const write of this.#writes[system] ?? []) {
      if (write.number <= number) contents.set(blockOf(write.token), write.offset);
    }
    return contents;
  }
}

export const cutBlockBytes = 512;

export function blockOf(token: number): Buffer {
  const block = Buffer.alloc(cutBlockBytes);
  for (let at = 0; at < cutBlockBytes; at += 8) block.writeDoubleLE(token, at);
  return block;
}
