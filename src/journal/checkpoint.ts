import type { Disk } from '../platform/disk.ts';
import { type SlotCodec, slotFieldsAt, TwoSlotFile } from './two-slot-file.ts';

/**
 * How far a group's volumes are: written after they were synced, so that recovery starts behind it.
 * One owner writes it: apply.
 */
export interface Checkpoint {
  readonly groupId: string;
  readonly applied: number;
  readonly released: number;
  /** Where the record after `applied` stands, or would. */
  readonly sequence: number;
  readonly offset: number;
  /** The checksums of the volumes' blocks were kept, and synced, with all that was applied. */
  readonly hasChecksums?: boolean;
}

export const checkpointCodec: SlotCodec<Checkpoint> = {
  magic: 'jnbdCKP1',
  name: 'checkpoint',
  damaged: 'checkpoint_damaged',
  write(slot, checkpoint) {
    slot.writeUIntLE(checkpoint.applied, slotFieldsAt, 6);
    slot.writeUIntLE(checkpoint.released, slotFieldsAt + 8, 6);
    slot.writeUIntLE(checkpoint.sequence, slotFieldsAt + 16, 6);
    slot.writeUInt32LE(checkpoint.offset, slotFieldsAt + 24);
    slot.writeUInt8(checkpoint.hasChecksums === true ? 1 : 0, slotFieldsAt + 30);
  },
  read: (slot, groupId) => ({
    groupId,
    applied: slot.readUIntLE(slotFieldsAt, 6),
    released: slot.readUIntLE(slotFieldsAt + 8, 6),
    sequence: slot.readUIntLE(slotFieldsAt + 16, 6),
    offset: slot.readUInt32LE(slotFieldsAt + 24),
    hasChecksums: slot.readUInt8(slotFieldsAt + 30) === 1,
  }),
};

/** The file of one group's checkpoint. */
export class CheckpointFile {
  readonly #slots: TwoSlotFile<Checkpoint>;

  private constructor(slots: TwoSlotFile<Checkpoint>) {
    this.#slots = slots;
  }

  static create(disk: Disk, path: string, checkpoint: Checkpoint): void {
    TwoSlotFile.create(disk, path, checkpointCodec, checkpoint);
  }

  /** Throws checkpoint_damaged when neither slot can be read, and sync_failed. */
  static open(
    disk: Disk,
    path: string,
    groupId: string,
  ): { file: CheckpointFile; checkpoint: Checkpoint } {
    const { file, value } = TwoSlotFile.open(disk, path, checkpointCodec, groupId);
    return { file: new CheckpointFile(file), checkpoint: value };
  }

  /** Everything up to `applied` is in the volumes, synced. Durable when it returns. */
  writeSync(checkpoint: Checkpoint): void {
    this.#slots.writeSync(checkpoint);
  }

  close(): void {
    this.#slots.close();
  }
}
