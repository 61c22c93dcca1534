import { must } from '../../src/platform/assert.ts';
import { sectorBytes } from './update-contents.ts';

/** What a volume is after the records 1 to n of its group, and which of them each sector is from. */
export class VolumeModel {
  readonly id: number;
  readonly name: string;
  /** The load's own number of it: volumes of different groups have different ones. */
  readonly key: number;
  #contents: Buffer;
  #updates: Float64Array;

  constructor(id: number, name: string, key: number, sizeBytes: number) {
    this.id = id;
    this.name = name;
    this.key = key;
    this.#contents = Buffer.alloc(sizeBytes);
    this.#updates = new Float64Array(sizeBytes / sectorBytes);
  }

  get sizeBytes(): number {
    return this.#contents.length;
  }

  get contents(): Buffer {
    return this.#contents;
  }

  /** The last update that touched that sector; 0: none. */
  updateAt(sector: number): number {
    return must(this.#updates[sector], 'the sector is in the volume');
  }

  /** The last updates of these sectors, as they are now. */
  updatesOf(offset: number, length: number): Float64Array {
    return this.#updates.slice(offset / sectorBytes, (offset + length) / sectorBytes);
  }

  resize(sizeBytes: number): void {
    const contents = Buffer.alloc(sizeBytes);
    this.#contents.copy(contents);
    this.#contents = contents;
    const updates = new Float64Array(sizeBytes / sectorBytes);
    updates.set(this.#updates);
    this.#updates = updates;
  }

  write(number: number, offset: number, payload: Uint8Array): void {
    this.#contents.set(payload, offset);
    this.#touch(number, offset, payload.length);
  }

  zero(number: number, offset: number, length: number): void {
    this.#contents.fill(0, offset, offset + length);
    this.#touch(number, offset, length);
  }

  #touch(number: number, offset: number, length: number): void {
    const end = Math.ceil((offset + length) / sectorBytes);
    this.#updates.fill(number, Math.floor(offset / sectorBytes), end);
  }
}
