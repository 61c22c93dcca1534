import type { Clock, Timer } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { messageOf } from '../../platform/errors.ts';
import { closedGroup } from '../catalog/closed-group.ts';
import type { FollowerCursor } from './follower-cursor.ts';
import { type KeptFollower, writeFollowers } from '../catalog/follower-file.ts';

/** Positions that only moved are written this long after the first move: they may be too low on disk. */
const writeAfterMilliseconds = 30_000;

/** The file that keeps who follows a group: replaced at once where somebody comes or goes, else now and then. */
export class FollowerRecord {
  readonly #deps: { readonly disk: Disk; readonly clock: Clock };
  readonly #path: string;
  readonly #groupId: string;
  readonly #present: () => Iterable<FollowerCursor>;
  readonly #failed: (why: string) => void;
  #timer: Timer | undefined;
  #isClosed = false;

  /** `failed`: what only moved could not be written, and is tried again. */
  constructor(
    deps: { readonly disk: Disk; readonly clock: Clock },
    path: string,
    groupId: string,
    present: () => Iterable<FollowerCursor>,
    failed: (why: string) => void,
  ) {
    this.#deps = deps;
    this.#path = path;
    this.#groupId = groupId;
    this.#present = present;
    this.#failed = failed;
  }

  /** Throws group_state, system errors, and then the file is as it was. */
  write(followers: Iterable<FollowerCursor>): void {
    if (this.#isClosed) throw closedGroup(this.#path);
    this.#put(followers);
  }

  #put(followers: Iterable<FollowerCursor>): void {
    const kept = [...followers].map(
      ({
        sent: _,
        copied: _copied,
        heardMilliseconds: _heard,
        dueMilliseconds: _due,
        ...kept
      }): KeptFollower => kept,
    );
    writeFollowers(this.#deps.disk, this.#path, this.#groupId, kept);
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  writeLater(): void {
    if (this.#isClosed) return;
    this.#timer ??= this.#deps.clock.after(writeAfterMilliseconds, () => this.#writeNow());
  }

  /** Writes what is not in the file yet. What cannot be written is only older there. */
  close(): void {
    this.#isClosed = true;
    if (this.#timer) this.#writeNow();
  }

  #writeNow(): void {
    try {
      this.#put(this.#present());
    } catch (error) {
      this.#timer?.cancel();
      this.#timer = undefined;
      this.#failed(`${this.#path}: ${messageOf(error)}`);
      this.writeLater();
    }
  }
}
