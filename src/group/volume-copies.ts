import { must } from '../platform/assert.ts';
import { JnbdError, messageOf } from '../platform/errors.ts';
import { MiB } from '../platform/limits.ts';
import type { CopyProgress } from './follow-file.ts';
import type { Group, GroupWatcher } from './group.ts';
import type { Volume } from './volume.ts';

/** A piece of a volume as the source read it, behind the record that this system has appended last. */
export interface CopiedPiece {
  readonly volume: number;
  readonly isHole: boolean;
  readonly offset: number;
  readonly length: number;
  /** Nothing in it was written by a record above this number. */
  readonly shows: number;
}

export interface VolumeCopiesOwner {
  /** What `take` refused may be given again. */
  roomAppeared(): void;
  /** It goes on from what is durable, once the cause is gone. */
  failed(error: JnbdError): void;
  /** Every volume has its contents. */
  completed(): void;
}

const inFlightBytesMax = 8 * MiB;
/** Progress is made durable after so much: what a crash costs is copied again. */
const syncBytes = 64 * MiB;
const syncMilliseconds = 1000;

/**
 * Contents of volumes that a follower gets from its source (K12). They are written past the journal, and
 * only while everything that the journal has is applied: so a piece never hides a newer record, and the
 * records behind it come again on top of it. A crash leaves part of a piece, which is copied again.
 */
export class VolumeCopies implements GroupWatcher {
  readonly #group: Group;
  readonly #owner: VolumeCopiesOwner;
  /** How far each volume is written; not yet durable from its progress in the follow file on. */
  readonly #written = new Map<number, number>();
  #shows: number;
  #inFlightBytes = 0;
  #unsyncedBytes = 0;
  #syncedAt: number;
  #syncing = false;
  #isWaiting = false;
  #isClosed = false;

  constructor(group: Group, owner: VolumeCopiesOwner) {
    this.#group = group;
    this.#owner = owner;
    this.#shows = group.follow.state?.shows ?? 0;
    this.#syncedAt = group.clock.monotonicMilliseconds();
    this.startAgain();
    group.watchers.add(this);
  }

  /** What is durable of volumes that are not complete. */
  progress(): readonly CopyProgress[] {
    return this.#group.follow.state?.copies ?? [];
  }

  /** Takes no notice of what was written and is not durable: the source sends it again. */
  startAgain(): void {
    this.#written.clear();
    for (const { volume, address } of this.progress()) this.#written.set(volume, address);
  }

  /**
   * Writes the piece; `contents` is copied. False: not now, `roomAppeared` follows. Throws JnbdError
   * (protocol_violated) where it is not the next piece of a volume that is being copied.
   */
  take(piece: CopiedPiece, contents: Uint8Array | undefined): boolean {
    const volume = this.#check(piece);
    if (!this.isReady(piece.length)) return false;
    const { offset, length } = piece;
    const bytes = contents ? Uint8Array.from(contents) : undefined;
    const inFlight = bytes?.length ?? 0;
    this.#written.set(piece.volume, offset + length);
    this.#shows = Math.max(this.#shows, piece.shows);
    this.#inFlightBytes += inFlight;
    this.#unsyncedBytes += inFlight;
    const place = { id: piece.volume, path: volume.backingFile };
    this.#group.driver.copy(place, offset, length, bytes, (failure) => {
      this.#inFlightBytes -= inFlight;
      if (this.#isClosed) return;
      if (failure !== undefined) this.#fail(new JnbdError('write_failed', failure));
      this.#considerSync();
      this.#wake();
    });
    return true;
  }

  /** Nothing more of this answer comes: what there is becomes durable soon. */
  answerEnded(): void {
    this.#considerSync();
  }

  durableAdvanced(): void {
    if (this.#isWaiting) this.#group.driver.applyNow();
  }

  appliedAdvanced(): void {
    this.#wake();
  }

  close(): void {
    this.#isClosed = true;
    this.#group.watchers.delete(this);
  }

  #check({ volume: id, offset, length }: CopiedPiece): Volume {
    const next = this.#written.get(id);
    const volume = [...this.#group.volumes.values()].find(({ catalog }) => catalog.id === id);
    if (next !== undefined && volume && offset === next) {
      if (length > 0 && offset + length <= volume.catalog.sizeBytes) return volume;
    }
    throw new JnbdError(
      'protocol_violated',
      `the source of group ${this.#group.name} sent ${length} bytes at ${offset} of volume ${id}; ${next === undefined ? 'it is not being copied' : `${next} is next`}`,
    );
  }

  /** Whether so much may be written now. False: `roomAppeared` follows. */
  isReady(length: number): boolean {
    this.#isWaiting = true;
    if (this.#inFlightBytes > 0 && this.#inFlightBytes + length > inFlightBytesMax) return false;
    const { driver, watermarks, journal } = this.#group;
    if (!driver.isDone || watermarks.applied < watermarks.newest) {
      if (watermarks.durable < watermarks.newest) journal.requestDurable();
      driver.applyNow();
      return false;
    }
    this.#isWaiting = false;
    return true;
  }

  #wake(): void {
    if (!this.#isWaiting || this.#isClosed) return;
    this.#isWaiting = false;
    this.#owner.roomAppeared();
  }

  #considerSync(): void {
    if (this.#syncing || this.#isClosed || this.#inFlightBytes > 0) return;
    const now = this.#group.clock.monotonicMilliseconds();
    const isDue = this.#unsyncedBytes >= syncBytes || now - this.#syncedAt >= syncMilliseconds;
    if (!isDue && !this.#isComplete()) return;
    if (![...this.#written].some(([id, address]) => address > this.#durableAddress(id))) return;
    this.#syncing = true;
    this.#unsyncedBytes = 0;
    this.#syncedAt = now;
    const covered = new Map(this.#written);
    const shows = this.#shows;
    this.#group.driver.sync((failure) => {
      this.#syncing = false;
      if (this.#isClosed) return;
      if (failure !== undefined) this.#fail(new JnbdError('sync_failed', failure));
      else this.#synced(covered, shows);
    });
  }

  #isComplete(): boolean {
    return [...this.#written].every(([id, address]) => address >= this.#sizeOf(id));
  }

  #durableAddress(id: number): number {
    return this.progress().find(({ volume }) => volume === id)?.address ?? 0;
  }

  /** A volume that was deleted meanwhile has nothing left to copy. */
  #sizeOf(id: number): number {
    return this.#group.catalog.volumes.find((volume) => volume.id === id)?.sizeBytes ?? 0;
  }

  #synced(covered: ReadonlyMap<number, number>, shows: number): void {
    const { follow } = this.#group;
    const state = must(follow.state, 'a group that copies follows');
    const copies = [...covered]
      .map(([volume, address]) => ({ volume, address }))
      .filter(({ volume, address }) => address < this.#sizeOf(volume));
    try {
      follow.write({ ...state, copies, shows });
    } catch (error) {
      this.#fail(new JnbdError('write_failed', messageOf(error), { cause: error }));
      return;
    }
    for (const [id, address] of covered) {
      if (address >= this.#sizeOf(id)) this.#finish(id);
    }
    if (copies.length === 0) this.#owner.completed();
    else this.#considerSync();
  }

  #finish(id: number): void {
    this.#written.delete(id);
    const volume = [...this.#group.volumes.values()].find(({ catalog }) => catalog.id === id);
    if (volume?.state === 'unused') volume.become(volume.catalog.state);
  }

  #fail(error: JnbdError): void {
    this.startAgain();
    this.#owner.failed(error);
  }
}
