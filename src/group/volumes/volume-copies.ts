import { JnbdError, messageOf } from '../../platform/errors.ts';
import { MiB } from '../../platform/limits.ts';
import type { CopiedPiece, WantedContents } from './copied-contents.ts';
import { addShown, type ShownContents, stillShown } from './shown-contents.ts';
import type { Group } from '../order/group.ts';
import type { GroupWatcher } from '../order/group-watcher.ts';

export interface VolumeCopiesOwner {
  /** What `take` refused may be given again. */
  roomAppeared(): void;
  /** It goes on from what is durable, once the cause is gone. */
  failed(error: JnbdError): void;
  /** Everything that is wanted is there. */
  completed(): void;
}

const inFlightBytesMax = 8 * MiB;
/** Progress is made durable after so much: what a crash costs is copied again. */
const syncBytes = 64 * MiB;
const syncMilliseconds = 1000;
const settleMilliseconds = 10;

/**
 * Contents of volumes that a follower gets from its source. They are written past the journal, and only
 * while everything that the journal has is applied: so a piece never hides a newer record, and the records
 * behind it come again on top of it. A crash leaves part of a piece, which is copied again.
 */
export class VolumeCopies implements GroupWatcher {
  readonly #group: Group;
  readonly #wanted: WantedContents;
  readonly #owner: VolumeCopiesOwner;
  #contents: ShownContents;
  #inFlightBytes = 0;
  #unsyncedBytes = 0;
  #syncedAt: number;
  #syncing = false;
  #isWaiting = false;
  #isClosed = false;

  constructor(group: Group, wanted: WantedContents, owner: VolumeCopiesOwner) {
    this.#group = group;
    this.#wanted = wanted;
    this.#owner = owner;
    this.#contents = stillShown(group.follow.state ?? { shows: 0 }, group);
    this.#syncedAt = group.clock.monotonicMilliseconds();
    group.watchers.add(this);
    group.clock.soon(() => this.#considerSync());
  }

  /** Takes no notice of what was written and is not durable: the source sends it again. */
  startAgain(): void {
    this.#wanted.startAgain();
  }

  /** Resolves when nothing is on its way to the device; nothing more is taken meanwhile. */
  async settled(): Promise<void> {
    while (this.#syncing || this.#inFlightBytes > 0) {
      await new Promise<void>((resolve) => this.#group.clock.after(settleMilliseconds, resolve));
    }
  }

  /**
   * Writes the piece; `contents` are all of their memory, and given away. False: not now, and nothing was
   * taken; `roomAppeared` follows. Throws JnbdError (protocol_violated) where it is not the next piece of
   * a volume that is being copied.
   */
  take(piece: CopiedPiece, contents: Uint8Array<ArrayBuffer> | undefined): boolean {
    const path = this.#check(piece);
    if (!this.isReady(piece.length)) return false;
    const { offset, length } = piece;
    const inFlight = contents?.length ?? 0;
    this.#wanted.written(piece);
    this.#contents = addShown(this.#contents, piece.shows);
    this.#inFlightBytes += inFlight;
    this.#unsyncedBytes += inFlight;
    this.#group.driver.copy({ id: piece.volume, path }, offset, length, contents, (failure) => {
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
    // A volume may be gone whose contents were still to come.
    this.#considerSync();
  }

  appliedAdvanced(): void {
    this.#wake();
  }

  close(): void {
    this.#isClosed = true;
    this.#group.watchers.delete(this);
  }

  /** The path of its volume. */
  #check(piece: CopiedPiece): string {
    const { volume: id, offset, length } = piece;
    const volume = [...this.#group.volumes.values()].find(({ catalog }) => catalog.id === id);
    const refusal = this.#wanted.refusal(piece);
    if (volume && refusal === undefined) return volume.backingFile;
    throw new JnbdError(
      'protocol_violated',
      `the source of group ${this.#group.name} sent ${length} bytes at ${offset} of volume ${id}; ${refusal ?? 'it is not there'}`,
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
    if ((!isDue && !this.#wanted.isWritten) || !this.#wanted.hasNews) return;
    this.#syncing = true;
    this.#unsyncedBytes = 0;
    this.#syncedAt = now;
    this.#contents = stillShown(this.#contents, this.#group);
    const keep = this.#wanted.cover(this.#contents);
    this.#group.driver.sync((failure) => {
      this.#syncing = false;
      if (this.#isClosed) return;
      if (failure !== undefined) this.#fail(new JnbdError('sync_failed', failure));
      else this.#synced(keep);
    });
  }

  #synced(keep: () => boolean): void {
    try {
      if (keep()) this.#owner.completed();
      else this.#considerSync();
    } catch (error) {
      this.#fail(new JnbdError('write_failed', messageOf(error), { cause: error }));
    }
  }

  #fail(error: JnbdError): void {
    this.startAgain();
    this.#owner.failed(error);
  }
}
