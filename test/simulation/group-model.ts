import {
  type CatalogChange,
  type CatalogVolume,
  decodeChange,
} from '../../src/group/catalog/catalog.ts';
import { changeRollback, type RollbackChange } from '../../src/group/catalog/rollback.ts';
import { must } from '../../src/platform/assert.ts';
import { blockBytes } from '../../src/platform/limits.ts';
import { blocksOf } from '../../src/volume/area-layout.ts';
import type { SimulatedFile } from './simulated-file.ts';
import { markBlocks, preservingProblem, SnapshotImages } from './snapshot-images.ts';
import type { SyncTracker } from './sync-tracker.ts';

export type RecordKind = 'write' | 'zero' | 'hole' | 'catalog';

/** A record as it went into the journal. */
/** Where a record stands. */
export interface RecordPlace {
  path: string;
  /** Which use of that segment file. */
  use: number;
  /** That this use has. */
  salt: number;
  position: number;
  file: SimulatedFile;
  changeNumber: number;
  /** False: the write that carried it failed or was cut short by a death. */
  isWhole: boolean;
}

export interface ModelRecord extends RecordPlace {
  readonly number: number;
  readonly kind: RecordKind;
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  /** Of a write the bytes, of a catalog change its JSON. */
  readonly payload: Uint8Array | undefined;
  /** A failed area's records move: where it stood before. */
  readonly earlier: RecordPlace[];
}

export interface VolumeImage {
  catalog: CatalogVolume;
  /** Never changed once others share it. */
  contents: Buffer;
  /** Of each whole block, whether its space is to be there: `allocated`, `hole` or `either`. */
  space: Uint8Array;
  /** Others have `contents` and `space`, too. */
  isShared: boolean;
}

export const either = 0;
export const allocated = 1;
export const hole = 2;

/** What a group's volumes are after the records 1 to `number`. */
export class GroupImage {
  number = 0;
  readonly volumes = new Map<number, VolumeImage>();
  snapshots = new SnapshotImages();

  static copyOf(other: GroupImage): GroupImage {
    const copy = new GroupImage();
    copy.number = other.number;
    copy.snapshots = other.snapshots.copy();
    for (const [id, volume] of other.volumes) {
      volume.isShared = true;
      copy.volumes.set(id, { ...volume });
    }
    return copy;
  }

  apply(record: ModelRecord): void {
    this.number = record.number;
    if (record.kind === 'catalog') {
      this.#change(decodeChange(must(record.payload, 'a catalog record has a payload')));
      return;
    }
    const volume = this.volumes.get(record.volume);
    if (!volume || volume.catalog.journalOnly) return;
    own(volume);
    if (record.kind === 'write') {
      volume.contents.set(must(record.payload, 'a write has a payload'), record.offset);
    } else {
      volume.contents.fill(0, record.offset, record.offset + record.length);
    }
    noteSpace(volume.space, record);
    markBlocks(volume, record);
  }

  #change(change: CatalogChange): void {
    switch (change.change) {
      case 'volume_created':
        this.#create(change.volume);
        return;
      case 'snapshot_created':
        this.snapshots.change(this.volumes, change, this.number);
        for (const area of change.areas) this.#create(area);
        return;
      case 'snapshot_deleted':
        this.snapshots.change(this.volumes, change, this.number);
        for (const id of change.areas) this.volumes.delete(id);
        return;
      case 'snapshots_scheduled':
        return;
      case 'rollback_begun':
      case 'rollback_ended':
        this.#rollBack(change);
        return;
      case 'volume_changed': {
        const volume = must(this.volumes.get(change.volume.id), 'a changed volume is there');
        volume.catalog = change.volume;
        const { sizeBytes, journalOnly } = change.volume;
        if (!journalOnly && volume.contents.length !== sizeBytes) {
          const grown = Buffer.alloc(sizeBytes);
          volume.contents.copy(grown);
          volume.contents = grown;
          const space = new Uint8Array(Math.floor(sizeBytes / blockBytes)).fill(hole);
          space.set(volume.space);
          // What was the rest of the last block may have been written.
          space.fill(either, volume.space.length, volume.space.length + 1);
          volume.space = space;
          volume.isShared = false;
        }
        return;
      }
      case 'volume_deleted':
        this.volumes.delete(change.id);
        return;
      case 'protection_changed':
      case 'handed_over':
        throw new Error('nobody follows this group');
    }
  }

  #rollBack(change: RollbackChange): void {
    const entries = [...this.volumes.values()].map(({ catalog }) => catalog);
    for (const entry of changeRollback(entries, change, this.number))
      must(this.volumes.get(entry.id), 'it is one of them').catalog = entry;
  }

  #create(catalog: CatalogVolume): void {
    const { id, sizeBytes, journalOnly, preserves } = catalog;
    const space = new Uint8Array(Math.floor(sizeBytes / blockBytes)).fill(hole);
    // Apply writes the map, and no record says so.
    if (preserves) space.fill(either, blocksOf(preserves.dataBytes));
    const contents = emptyContents(journalOnly ? 0 : sizeBytes);
    this.volumes.set(id, { catalog, contents, space, isShared: true });
  }

  find(name: string): VolumeImage | undefined {
    return [...this.volumes.values()].find(({ catalog }) => catalog.name === name);
  }
}

const empty = new Map<number, Buffer>();

/** Most areas have little in them, and many nothing. */
function emptyContents(bytes: number): Buffer {
  const known = empty.get(bytes) ?? Buffer.alloc(bytes);
  empty.set(bytes, known);
  return known;
}

/** It is about to change. */
function own(volume: VolumeImage): void {
  if (!volume.isShared) return;
  volume.contents = Buffer.from(volume.contents);
  volume.space = Uint8Array.from(volume.space);
  volume.isShared = false;
}

/** A write that was refused. */
export interface Ghost {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  /** `undefined`: zeroes. */
  readonly payload: Uint8Array | undefined;
}

/** The numbered history of one group as its journal was seen to be written, and what follows from it. */
export class GroupModel {
  readonly groupId: string;
  name = '';
  /** The daemon forgot it when it was to delete it: what is left of its files nobody needs, unless it comes back. */
  isForgotten = false;
  /** Records from `base.number + 1` on. */
  #records: ModelRecord[] = [];
  base = new GroupImage();
  /** At `newest`, whatever is only partly written included. */
  current = new GroupImage();
  /** As far as apply was seen to go. */
  applied = new GroupImage();
  /** The highest number that a host was told is safe from power loss, by the answer to a FLUSH or FUA. */
  promised = 0;
  /** The highest number whose write was answered. */
  answered = 0;
  /** At the end of the last life. */
  newestAtEnd = 0;
  #provedDurable = 0;
  /** Until the next start each of their bytes may be seen, or not. */
  readonly ghosts: Ghost[] = [];
  readonly #syncs: SyncTracker;
  readonly #report: (text: string) => void;

  constructor(groupId: string, syncs: SyncTracker, report: (text: string) => void) {
    this.groupId = groupId;
    this.#syncs = syncs;
    this.#report = report;
  }

  /** The highest number appended, wholly or not. */
  get newest(): number {
    return this.base.number + this.#records.length;
  }

  /** Every record up to this was appended wholly. */
  get newestWhole(): number {
    for (let number = this.newest; number > this.base.number; number -= 1) {
      if (this.record(number)?.isWhole) return number;
    }
    return this.base.number;
  }

  /** Its journal is all there is of some volume: nothing of it is released. */
  get hasJournalOnly(): boolean {
    for (const { catalog } of this.current.volumes.values()) if (catalog.journalOnly) return true;
    return false;
  }

  record(number: number): ModelRecord | undefined {
    return this.#records[number - this.base.number - 1];
  }

  *recordsAfter(number: number): Generator<ModelRecord> {
    const from = Math.max(0, number - this.base.number);
    for (let at = from; at < this.#records.length; at += 1) {
      yield must(this.#records[at], 'within the records');
    }
  }

  append(record: ModelRecord): void {
    const problem = preservingProblem(this.current, record);
    if (problem !== undefined) this.#report(`group ${this.name}: ${problem}`);
    this.#records.push(record);
    this.current.apply(record);
  }

  /** After a crash: what comes behind `number` is void, and its numbers are used again. */
  rollBack(number: number): void {
    if (number < this.base.number) {
      this.#report(
        `group ${this.name}: ${number} is the newest record, but ${this.base.number} was released`,
      );
      return;
    }
    this.ghosts.length = 0;
    const isAllThere = number === this.newest;
    this.#records.length = number - this.base.number;
    if (!isAllThere) this.current = GroupImage.copyOf(this.base);
    for (const record of this.#records) {
      record.isWhole = true;
      // Recovery read it from the device: the sync that failed had got that far.
      if (this.#syncs.isGivenUp(record.file, record.changeNumber)) record.changeNumber = 0;
      if (!isAllThere) this.current.apply(record);
    }
    this.applied = GroupImage.copyOf(this.base);
    this.promised = Math.min(this.promised, number);
    this.answered = Math.min(this.answered, number);
    this.#provedDurable = Math.min(this.#provedDurable, number);
  }

  /** Nobody will ask for states before that number any more. */
  fold(number: number): void {
    const count = Math.min(number, this.applied.number) - this.base.number;
    if (count <= 0) return;
    for (const record of this.#records.splice(0, count)) this.base.apply(record);
  }

  /** The journal has been applied through that number. */
  applyThrough(number: number): void {
    for (const record of this.recordsAfter(this.applied.number)) {
      if (record.number > number) break;
      this.applied.apply(record);
    }
  }

  /** Every record up to that number is on the device. */
  proveDurable(number: number, why: string): void {
    for (const record of this.recordsAfter(this.#provedDurable)) {
      if (record.number > number) break;
      if (!record.isWhole || !this.#syncs.isDurable(record.file, record.changeNumber)) {
        this.#report(
          `group ${this.name}: ${why} update ${number}, but update ${record.number} (${record.path} at ${record.position}) is not on the device`,
        );
        return;
      }
      this.#provedDurable = record.number;
    }
  }

  /** The records that changed the byte at that offset. */
  numbersThatWrote(volume: number, offset: number): number[] {
    return this.#records
      .filter(
        (record) =>
          record.volume === volume &&
          record.kind !== 'catalog' &&
          record.offset <= offset &&
          offset < record.offset + record.length,
      )
      .map(({ number }) => number);
  }

  /** After the records 1 to `number`; undefined: what they left is not known any more. */
  imageAt(number: number): GroupImage | undefined {
    if (number < this.base.number || number > this.newest) return undefined;
    const image = GroupImage.copyOf(this.base);
    for (const record of this.#records) {
      if (record.number > number) break;
      image.apply(record);
    }
    return image;
  }

  /** Contents of a range after the records 1 to `number`. */
  contents(volume: number, number: number, offset: number, length: number): Buffer {
    const found = Buffer.alloc(length);
    const image = this.base.volumes.get(volume);
    const end = Math.min(offset + length, image?.contents.length ?? 0);
    if (image && offset < end) image.contents.copy(found, 0, offset, end);
    for (const record of this.#records) {
      if (record.number > number) break;
      overlay(found, offset, volume, record);
    }
    return found;
  }

  /**
   * Whether what was read may be what one sees who reads, piece by piece, while the records after
   * `from` up to `through` are written: each byte as of some number of these.
   */
  explains(volume: number, from: number, through: number, offset: number, bytes: Buffer): boolean {
    const image = this.current.volumes.get(volume);
    if (through === this.newest && image) {
      if (image.contents.subarray(offset, offset + bytes.length).equals(bytes)) return true;
    }
    const candidates = [this.contents(volume, from, offset, bytes.length)];
    for (const record of this.recordsAfter(from)) {
      if (record.number > through) break;
      if (record.volume !== volume || record.kind === 'catalog') continue;
      if (record.offset >= offset + bytes.length || record.offset + record.length <= offset)
        continue;
      const next = Buffer.from(must(candidates.at(-1), 'there is a first'));
      overlay(next, offset, volume, record);
      candidates.push(next);
    }
    if (candidates.some((candidate) => candidate.equals(bytes))) return true;
    const ghosts = this.ghosts.filter((ghost) => ghost.volume === volume);
    return bytes.every(
      (byte, at) =>
        candidates.some((candidate) => candidate[at] === byte) ||
        ghosts.some((ghost) => ghostByte(ghost, offset + at) === byte),
    );
  }
}

function ghostByte({ offset, length, payload }: Ghost, at: number): number | undefined {
  if (at < offset || at >= offset + length) return undefined;
  return payload ? payload[at - offset] : 0;
}

function overlay(bytes: Buffer, offset: number, volume: number, record: ModelRecord): void {
  if (record.volume !== volume || record.kind === 'catalog') return;
  const start = Math.max(offset, record.offset);
  const end = Math.min(offset + bytes.length, record.offset + record.length);
  if (start >= end) return;
  if (record.kind === 'write') {
    const payload = must(record.payload, 'a write has a payload');
    bytes.set(payload.subarray(start - record.offset, end - record.offset), start - offset);
  } else {
    bytes.fill(0, start - offset, end - offset);
  }
}

function noteSpace(space: Uint8Array, { kind, offset, length }: ModelRecord): void {
  const end = offset + length;
  const firstTouched = Math.floor(offset / blockBytes);
  const firstWhole = Math.ceil(offset / blockBytes);
  const endWhole = Math.floor(end / blockBytes);
  const endTouched = Math.ceil(end / blockBytes);
  for (let block = firstTouched; block < Math.min(endTouched, space.length); block += 1) {
    const isWhole = block >= firstWhole && block < endWhole;
    if (kind === 'write' || (kind === 'zero' && isWhole)) space[block] = allocated;
    else if (kind === 'hole' && isWhole) space[block] = hole;
    else space[block] = either;
  }
}
