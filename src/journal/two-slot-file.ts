import { crc32 } from '../platform/checksum.ts';
import type { Disk, DiskFile } from '../platform/disk.ts';
import { type ErrorCode, JnbdError, messageOf } from '../platform/errors.ts';

export const slotBytes = 4096;
const formatVersion = 1;
const contentBytes = 80;
/** Where what the codec writes begins. */
export const slotFieldsAt = 40;

/** What is kept in a file of two slots. */
export interface SlotCodec<T extends { readonly groupId: string }> {
  /** Eight characters. */
  readonly magic: string;
  /** For messages, as in "has no readable checkpoint". */
  readonly name: string;
  readonly damaged: ErrorCode;
  /** Writes the fields, from `slotFieldsAt` up to byte 76. */
  write(slot: Buffer, value: T): void;
  read(slot: Buffer, groupId: string): T;
}

export type SlotResult<T> =
  | { readonly kind: 'value'; readonly counter: number; readonly value: T }
  /** Never written: nothing but zeroes. */
  | { readonly kind: 'blank' }
  | { readonly kind: 'newer'; readonly formatVersion: number }
  | { readonly kind: 'bad' };

/** Reads one slot of 4 KiB. */
export function decodeSlot<T extends { readonly groupId: string }>(
  bytes: Uint8Array,
  codec: SlotCodec<T>,
): SlotResult<T> {
  const slot = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (slot.every((byte) => byte === 0)) return { kind: 'blank' };
  if (slot.length < contentBytes || slot.toString('latin1', 0, 8) !== codec.magic)
    return { kind: 'bad' };
  // Before the version, so that a flipped bit in it is damage and not a newer format.
  if (slot.readUInt32LE(contentBytes - 4) !== crc32(slot.subarray(0, contentBytes - 4)))
    return { kind: 'bad' };
  const version = slot.readUInt16LE(8);
  if (version > formatVersion) return { kind: 'newer', formatVersion: version };
  const value = codec.read(slot, slot.toString('hex', 16, 32));
  return { kind: 'value', counter: slot.readUIntLE(32, 6), value };
}

function encodeSlot<T extends { readonly groupId: string }>(
  codec: SlotCodec<T>,
  value: T,
  counter: number,
): Uint8Array {
  const slot = Buffer.alloc(slotBytes);
  slot.write(codec.magic, 0, 'latin1');
  slot.writeUInt16LE(formatVersion, 8);
  Buffer.from(value.groupId, 'hex').copy(slot, 16, 0, 16);
  slot.writeUIntLE(counter, 32, 6);
  codec.write(slot, value);
  slot.writeUInt32LE(crc32(slot.subarray(0, contentBytes - 4)), contentBytes - 4);
  return slot;
}

/** Past the page cache. */
function readFromDevice(disk: Disk, file: DiskFile): Uint8Array {
  const bytes = disk.allocateAligned(slotBytes * 2);
  file.readDirectSync(bytes, 0, bytes.length, 0);
  return bytes;
}

function syncAndRead(disk: Disk, file: DiskFile): Uint8Array {
  try {
    file.dataSyncSync();
  } catch (cause) {
    throw new JnbdError('sync_failed', `cannot sync ${file.path}: ${messageOf(cause)}`, { cause });
  }
  return readFromDevice(disk, file);
}

/**
 * A small truth that is replaced in place: two slots, preallocated and written in turn; the one with
 * the higher counter and a good checksum counts. A crash in the middle of one leaves the other. Byte
 * table in FORMAT.md.
 */
export class TwoSlotFile<T extends { readonly groupId: string }> {
  readonly #disk: Disk;
  readonly #file: DiskFile;
  readonly #codec: SlotCodec<T>;
  #counter: number;
  /** The last attempt did not end well: what the page cache has of it may never reach the device. */
  #isDoubtful = false;

  private constructor(disk: Disk, file: DiskFile, codec: SlotCodec<T>, counter: number) {
    this.#disk = disk;
    this.#file = file;
    this.#codec = codec;
    this.#counter = counter;
  }

  /** Makes the file with both slots, synced with its directory entry. */
  static create<T extends { readonly groupId: string }>(
    disk: Disk,
    path: string,
    codec: SlotCodec<T>,
    value: T,
  ): void {
    const bytes = Buffer.concat([encodeSlot(codec, value, 1), Buffer.alloc(slotBytes)]);
    disk.replaceFileSync(path, bytes, 'checkpoint');
  }

  /**
   * What the device holds: a slot that a crash or a failed sync left in the page cache alone must not
   * be believed (SAFETY 4, 6). Throws format_newer, sync_failed, and the codec's `damaged` when neither
   * slot can be read.
   */
  static open<T extends { readonly groupId: string }>(
    disk: Disk,
    path: string,
    codec: SlotCodec<T>,
    groupId: string,
  ): { file: TwoSlotFile<T>; value: T } {
    if (!disk.existsSync(path)) {
      throw new JnbdError(
        codec.damaged,
        `${path}, the ${codec.name} of group ${groupId}, is missing; restore it from a copy`,
      );
    }
    const file = disk.openSync(path, 'read-write', 'checkpoint');
    try {
      const bytes = syncAndRead(disk, file);
      let newest: { counter: number; value: T } | undefined;
      for (const at of [0, slotBytes]) {
        const slot = decodeSlot(bytes.subarray(at, at + slotBytes), codec);
        if (slot.kind === 'newer') {
          throw new JnbdError(
            'format_newer',
            `${path} has format ${slot.formatVersion}; this jnbd reads up to ${formatVersion}`,
          );
        }
        if (slot.kind !== 'value' || slot.value.groupId !== groupId) continue;
        if (!newest || slot.counter > newest.counter) newest = slot;
      }
      if (newest) {
        const { counter, value } = newest;
        return { file: new TwoSlotFile(disk, file, codec, counter), value };
      }
      throw new JnbdError(
        codec.damaged,
        `${path} has no readable ${codec.name} of group ${groupId}`,
      );
    } catch (error) {
      file.closeSync();
      throw error;
    }
  }

  /**
   * Durable when it returns. Where it throws the slot before counts, and it may be called again: all
   * of the slot is written again then, and believed only as the device gives it back (SAFETY 4).
   */
  writeSync(value: T): void {
    const counter = this.#counter + 1;
    const slot = encodeSlot(this.#codec, value, counter);
    const position = ((counter - 1) % 2) * slotBytes;
    const wasDoubtful = this.#isDoubtful;
    this.#isDoubtful = true;
    this.#file.writeSync(slot, 0, slotBytes, position);
    this.#file.dataSyncSync();
    if (wasDoubtful) this.#prove(slot, position);
    this.#isDoubtful = false;
    this.#counter = counter;
  }

  #prove(slot: Uint8Array, position: number): void {
    const found = readFromDevice(this.#disk, this.#file).subarray(position, position + slotBytes);
    if (Buffer.compare(found, slot) === 0) return;
    throw new Error(`${this.#file.path} does not give back what was written to it`);
  }

  close(): void {
    this.#file.closeSync();
  }
}
