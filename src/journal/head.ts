import type { Disk } from '../platform/disk.ts';
import { type SlotCodec, slotFieldsAt, TwoSlotFile } from './two-slot-file.ts';

/**
 * The latest segment that no record leads to, because an incarnation or a takeover began there, and a
 * number that was durable when that was noted. It stands beside the journal, so that an area that is
 * not there, or a header that cannot be read, is missed (SAFETY 3).
 */
export interface JournalHead {
  readonly groupId: string;
  /** 0: nothing was ever durable. */
  readonly sequence: number;
  readonly firstNumber: number;
  readonly incarnation: number;
  /** At least `firstNumber`. */
  readonly durable: number;
  /** No segment has a higher sequence, also where its area is not there. */
  readonly reserved: number;
}

/** So many sequences are reserved at a time that no journal uses them up between two openings. */
const reservedAhead = 2 ** 30;

export const headCodec: SlotCodec<JournalHead> = {
  magic: 'jnbdHED1',
  name: 'head',
  damaged: 'journal_damaged',
  write(slot, head) {
    slot.writeUIntLE(head.sequence, slotFieldsAt, 6);
    slot.writeUIntLE(head.firstNumber, slotFieldsAt + 8, 6);
    slot.writeUIntLE(head.incarnation, slotFieldsAt + 16, 6);
    slot.writeUIntLE(head.durable, slotFieldsAt + 24, 6);
    slot.writeUIntLE(head.reserved, slotFieldsAt + 30, 6);
  },
  read: (slot, groupId) => ({
    groupId,
    sequence: slot.readUIntLE(slotFieldsAt, 6),
    firstNumber: slot.readUIntLE(slotFieldsAt + 8, 6),
    incarnation: slot.readUIntLE(slotFieldsAt + 16, 6),
    durable: slot.readUIntLE(slotFieldsAt + 24, 6),
    reserved: slot.readUIntLE(slotFieldsAt + 30, 6),
  }),
};

/** The file of one group's journal head. One owner writes it: the journal. */
export class HeadFile {
  readonly #slots: TwoSlotFile<JournalHead>;
  #head: JournalHead;

  private constructor(slots: TwoSlotFile<JournalHead>, head: JournalHead) {
    this.#slots = slots;
    this.#head = head;
  }

  /** The head of a journal that holds nothing; its first segment has that sequence or a higher one. */
  static create(disk: Disk, path: string, groupId: string, sequence = 1): void {
    const nothing = { sequence: 0, firstNumber: 0, incarnation: 0, durable: 0 };
    const head = { groupId, ...nothing, reserved: sequence - 1 + reservedAhead };
    TwoSlotFile.create(disk, path, headCodec, head);
  }

  /** Throws journal_damaged when neither slot can be read. */
  static open(disk: Disk, path: string, groupId: string): { file: HeadFile; head: JournalHead } {
    const { file, value } = TwoSlotFile.open(disk, path, headCodec, groupId);
    return { file: new HeadFile(file, value), head: value };
  }

  /** Durable when it returns. */
  writeSync(head: Omit<JournalHead, 'reserved'>): void {
    this.#write({ ...head, reserved: this.#head.reserved });
  }

  /**
   * The next sequence that may be given. Where `isWhole`, every segment was seen and `next` is right;
   * else one that is not there may have any up to what was reserved before. Throws sync_failed.
   */
  reserveSync(next: number, isWhole: boolean): number {
    const first = isWhole ? next : Math.max(next, this.#head.reserved + 1);
    if (first + reservedAhead / 2 > this.#head.reserved) {
      this.#write({ ...this.#head, reserved: first + reservedAhead });
    }
    return first;
  }

  #write(head: JournalHead): void {
    this.#slots.writeSync(head);
    this.#head = head;
  }

  close(): void {
    this.#slots.close();
  }
}
