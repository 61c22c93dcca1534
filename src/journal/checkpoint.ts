import { crc32 } from '../platform/checksum.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { JnbdError, messageOf } from '../platform/errors.ts';

/**
 * How far a group's volumes are: written after they were synced, so that recovery starts behind it.
 * Two slots of 4 KiB, written in turn; the one with the higher counter and a good checksum counts. A
 * crash in the middle of one leaves the other. Byte table in FORMAT.md.
 */
export interface Checkpoint {
  readonly groupId: string;
  readonly applied: number;
  readonly released: number;
  /** Where the record after `applied` stands, or would. */
  readonly sequence: number;
  readonly offset: number;
}

const magic = 'jnbdCKP1';
const formatVersion = 1;
const slotBytes = 4096;
const contentBytes = 80;

function encode(checkpoint: Checkpoint, counter: number): Uint8Array {
  const slot = Buffer.alloc(slotBytes);
  slot.write(magic, 0, 'latin1');
  slot.writeUInt16LE(formatVersion, 8);
  Buffer.from(checkpoint.groupId, 'hex').copy(slot, 16, 0, 16);
  slot.writeUIntLE(counter, 32, 6);
  slot.writeUIntLE(checkpoint.applied, 40, 6);
  slot.writeUIntLE(checkpoint.released, 48, 6);
  slot.writeUIntLE(checkpoint.sequence, 56, 6);
  slot.writeUInt32LE(checkpoint.offset, 64);
  slot.writeUInt32LE(crc32(slot.subarray(0, contentBytes - 4)), contentBytes - 4);
  return slot;
}

type Slot = { readonly counter: number; readonly checkpoint: Checkpoint } | undefined;

function decode(slot: Buffer, path: string): Slot {
  if (slot.toString('latin1', 0, 8) !== magic) return undefined;
  // First, so that a flipped bit in the version is damage and not a newer format.
  if (slot.readUInt32LE(contentBytes - 4) !== crc32(slot.subarray(0, contentBytes - 4)))
    return undefined;
  const version = slot.readUInt16LE(8);
  if (version > formatVersion) {
    throw new JnbdError(
      'format_newer',
      `${path} has format ${version}; this jnbd reads up to ${formatVersion}`,
    );
  }
  return {
    counter: slot.readUIntLE(32, 6),
    checkpoint: {
      groupId: slot.toString('hex', 16, 32),
      applied: slot.readUIntLE(40, 6),
      released: slot.readUIntLE(48, 6),
      sequence: slot.readUIntLE(56, 6),
      offset: slot.readUInt32LE(64),
    },
  };
}

function readFromDevice(disk: Disk, file: DiskFile): Buffer {
  try {
    file.dataSyncSync();
  } catch (cause) {
    throw new JnbdError('sync_failed', `cannot sync ${file.path}: ${messageOf(cause)}`, { cause });
  }
  const bytes = disk.allocateAligned(slotBytes * 2);
  file.readDirectSync(bytes, 0, bytes.length, 0);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** The file of one group's checkpoint. One owner writes it: apply. */
export class CheckpointFile {
  readonly #file: DiskFile;
  #counter: number;

  private constructor(file: DiskFile, counter: number) {
    this.#file = file;
    this.#counter = counter;
  }

  /** Makes the file with both slots, synced with its directory entry. */
  static create(disk: Disk, path: string, checkpoint: Checkpoint): void {
    disk.replaceFileSync(
      path,
      Buffer.concat([encode(checkpoint, 1), Buffer.alloc(slotBytes)]),
      'checkpoint',
    );
  }

  /**
   * The checkpoint as the device holds it: one that a crash or a failed sync left in the page cache
   * alone must release nothing (SAFETY 4, 6). Throws checkpoint_damaged when neither slot can be read,
   * and sync_failed.
   */
  static open(
    disk: Disk,
    path: string,
    groupId: string,
  ): { file: CheckpointFile; checkpoint: Checkpoint } {
    const file = disk.openSync(path, 'read-write', 'checkpoint');
    let slots: Slot[];
    try {
      const bytes = readFromDevice(disk, file);
      slots = [decode(bytes.subarray(0, slotBytes), path), decode(bytes.subarray(slotBytes), path)];
    } catch (error) {
      file.closeSync();
      throw error;
    }
    const newest = slots
      .filter((slot) => slot?.checkpoint.groupId === groupId)
      .sort((a, b) => (b?.counter ?? 0) - (a?.counter ?? 0))[0];
    if (!newest) {
      file.closeSync();
      throw new JnbdError(
        'checkpoint_damaged',
        `${path} has no readable checkpoint of group ${groupId}`,
      );
    }
    return { file: new CheckpointFile(file, newest.counter), checkpoint: newest.checkpoint };
  }

  /** Everything up to `applied` is in the volumes, synced. Durable when it returns. */
  writeSync(checkpoint: Checkpoint): void {
    const counter = this.#counter + 1;
    this.#file.writeSync(
      encode(checkpoint, counter),
      0,
      slotBytes,
      ((counter - 1) % 2) * slotBytes,
    );
    this.#file.dataSyncSync();
    this.#counter = counter;
  }

  close(): void {
    this.#file.closeSync();
  }
}
