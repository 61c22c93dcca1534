import type { Clock, Timer } from '../platform/clock.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError, messageOf, refusedBySystem } from '../platform/errors.ts';
import { type FollowerPlace, type KeptFollower, writeFollowers } from './follower-file.ts';
import { type FollowedGroup, FollowerHolds } from './follower-holds.ts';
import { changeFollowerState, type FollowerState } from './states.ts';

/** Positions that only moved are written this long after the first move: they may be too low on disk. */
const writeAfterMilliseconds = 30_000;

/** What a source knows of one follower. */
export interface FollowerCursor extends KeptFollower {
  /** The last number that was put into an answer for it. */
  readonly sent: number;
  /** How much of each volume it has, while it copies. */
  readonly copied: readonly { readonly volume: number; readonly address: number }[];
  /** When it was last heard of, on the monotonic clock; undefined: not since the start. */
  readonly heardMilliseconds: number | undefined;
}

/** What a follower said with a journal read. */
export interface Acknowledgement {
  readonly systemId: number;
  readonly received: number;
  readonly applied: number;
  readonly sent: number;
  readonly copied: FollowerCursor['copied'];
}

interface Dependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

/**
 * The followers of a group: who they are, how far they are, and that nothing they need is released.
 *
 * A follower is in the file before it is told that it is registered, and out of it before its hold is
 * dropped. So a crash leaves at most a follower too many, which holds records until it is dropped.
 */
export class Followers {
  readonly #deps: Dependencies;
  readonly #path: string;
  readonly #group: FollowedGroup;
  readonly #holds: FollowerHolds;
  readonly #cursors = new Map<number, FollowerCursor>();
  #timer: Timer | undefined;
  #isClosed = false;
  #revision = 0;

  /** `kept`: as the file at `path` has them. */
  constructor(
    deps: Dependencies,
    group: FollowedGroup,
    path: string,
    kept: readonly KeptFollower[],
  ) {
    this.#deps = deps;
    this.#group = group;
    this.#holds = new FollowerHolds(group);
    this.#path = path;
    for (const follower of kept) {
      const { systemId, received } = follower;
      this.#cursors.set(systemId, {
        ...follower,
        sent: received,
        copied: [],
        heardMilliseconds: undefined,
      });
    }
  }

  /** Another number whenever there is another follower, or another state of one. */
  get revision(): number {
    return this.#revision;
  }

  list(): readonly FollowerCursor[] {
    return [...this.#cursors.values()];
  }

  find(systemId: number): FollowerCursor | undefined {
    return this.#cursors.get(systemId);
  }

  /** Takes the holds of everybody known, when the group starts. */
  hold(): void {
    for (const cursor of this.#cursors.values()) {
      if (cursor.state === 'behind') this.#raiseBehind(cursor);
      else this.#holds.set(cursor);
    }
    this.journalOnlyChanged();
  }

  /** Volumes that store nothing came or went. */
  journalOnlyChanged(): void {
    const isFollowed = [...this.#cursors.values()].some(({ state }) => state !== 'behind');
    this.#holds.keepAll(isFollowed);
  }

  /**
   * Keeps every record after `from` for a follower from now on. One that is suspended stays so. Throws
   * position_released, write_failed, disk_full.
   */
  register(systemId: number, name: string, from: number, listens?: FollowerPlace): FollowerCursor {
    const { released } = this.#group.watermarks;
    if (from < released) {
      throw new JnbdError(
        'position_released',
        `group ${this.#group.catalog.name} has released updates up to ${released}; follower ${name} needs them from ${from + 1} on and has to copy the volumes`,
      );
    }
    const before = this.#cursors.get(systemId);
    const isKnown = before?.name === name && before.state !== 'behind' && !before.isExpected;
    if (isKnown && from >= before.received && isSamePlace(before.listens, listens))
      return this.#welcome({ ...before, received: from, sent: Math.max(from, before.sent) });
    const isStopped = before?.state === 'suspended' && !before.isExpected;
    const state = isStopped ? 'suspended' : 'registered';
    const cursor: FollowerCursor = {
      systemId,
      name,
      state: before ? changeFollowerState(before.state, state) : state,
      received: from,
      // It says with its first read how far it is; until then nothing is let go of by it.
      applied: Math.min(from, before?.applied ?? released),
      sent: from,
      copied: [],
      registeredAtMilliseconds:
        before?.registeredAtMilliseconds ?? this.#deps.clock.wallMilliseconds(),
      heardMilliseconds: this.#deps.clock.monotonicMilliseconds(),
      listens: listens ?? before?.listens,
    };
    this.#replace(systemId, cursor);
    this.#clearBehind(cursor, 'was registered again');
    // Lower than before where it lost something: what is still there may be held again.
    this.#holds.drop(systemId);
    this.#holds.set(cursor);
    this.journalOnlyChanged();
    this.#tell(before ? 'follower_registered_again' : 'follower_registered', cursor);
    return cursor;
  }

  /**
   * Keeps every record after `from` for a system that may come to follow, and is not asked for anything
   * until then (SAFETY 18). One that follows already is left as it is. Throws write_failed, disk_full.
   */
  expect(systemId: number, name: string, from: number, listens: FollowerPlace | undefined): void {
    if (this.#cursors.has(systemId)) return;
    const { released } = this.#group.watermarks;
    const cursor: FollowerCursor = {
      systemId,
      name,
      state: 'suspended',
      isExpected: true,
      received: Math.max(from, released),
      applied: released,
      sent: from,
      copied: [],
      registeredAtMilliseconds: this.#deps.clock.wallMilliseconds(),
      heardMilliseconds: undefined,
      listens,
    };
    this.#replace(systemId, cursor);
    this.#holds.set(cursor);
    this.journalOnlyChanged();
    this.#tell('follower_expected', cursor);
  }

  /** One that was away: the file knows it, and holds no more than it needs. */
  #welcome(cursor: FollowerCursor): FollowerCursor {
    const heardMilliseconds = this.#deps.clock.monotonicMilliseconds();
    this.#cursors.set(cursor.systemId, { ...cursor, heardMilliseconds });
    this.#writeLater();
    this.#holds.set(cursor);
    this.#group.release();
    return cursor;
  }

  /** False: it was not registered. Throws write_failed, disk_full, and then it still is. */
  drop(systemId: number): boolean {
    const cursor = this.#cursors.get(systemId);
    if (!cursor) return false;
    this.#replace(systemId, undefined);
    this.#clearBehind(cursor, 'was dropped');
    this.#letGo(systemId);
    this.#tell('follower_dropped', cursor);
    return true;
  }

  /** What it needs stays, and it is given nothing until `resume`. */
  suspend(systemId: number): void {
    const cursor = this.#change(systemId, 'suspended');
    if (cursor) this.#tell('follower_suspended', cursor);
  }

  resume(systemId: number): void {
    if (this.#cursors.get(systemId)?.state !== 'suspended') return;
    const cursor = this.#change(systemId, 'registered');
    if (cursor) this.#tell('follower_resumed', cursor);
  }

  /** Its records are kept no longer, so that others can go on (SAFETY 14). */
  leaveBehind(systemId: number): void {
    const cursor = this.#change(systemId, 'behind');
    if (!cursor) return;
    this.#raiseBehind(cursor);
    this.#letGo(systemId);
    this.#group.changed();
  }

  /** The journal has no room for a record of `bytes`, and nobody but those who hold it can make any. */
  keepJournalFull(bytes: number): boolean {
    return this.#holds.keepJournalFull(bytes);
  }

  /** By the policy of the group a follower is left behind before hosts are refused. */
  get mayBeLeftBehind(): boolean {
    return this.#group.catalog.onFull === 'suspend' && this.furthestBehind !== undefined;
  }

  /** Leaves the one behind that holds most back, where that is what a record of `bytes` waits for. */
  makeRoom(bytes: number): void {
    if (this.#holds.keepJournalFull(bytes)) this.leaveFurthestBehind();
  }

  /** False: the policy is another, there is nobody, or the file cannot be written. */
  leaveFurthestBehind(): boolean {
    const follower = this.mayBeLeftBehind ? this.furthestBehind : undefined;
    if (!follower) return false;
    try {
      this.leaveBehind(follower.systemId);
      return true;
    } catch (error) {
      if (!(error instanceof JnbdError)) throw error;
      this.#tellNotWritten(error);
      return false;
    }
  }

  /** The one that holds most back. */
  get furthestBehind(): FollowerCursor | undefined {
    const holding = this.list().filter(({ state }) => state !== 'behind');
    const rule = this.#holds.rule;
    return holding.reduce<FollowerCursor | undefined>(
      (lowest, cursor) => (lowest && lowest[rule] <= cursor[rule] ? lowest : cursor),
      undefined,
    );
  }

  /** What peers say is believed only where it can be true, and never takes anything back (SAFETY 2). */
  acknowledge(told: Acknowledgement): void {
    const before = this.#cursors.get(told.systemId);
    if (!before || before.state === 'suspended' || before.state === 'behind') return;
    const received = Math.max(
      before.received,
      Math.min(told.received, this.#group.watermarks.durable),
    );
    const applied = Math.max(before.applied, Math.min(told.applied, received));
    const state = changeFollowerState(
      before.state,
      told.copied.length > 0 ? 'copying' : 'following',
    );
    const cursor: FollowerCursor = {
      ...before,
      state,
      received,
      applied,
      sent: Math.max(told.sent, received),
      copied: told.copied,
      heardMilliseconds: this.#deps.clock.monotonicMilliseconds(),
    };
    this.#cursors.set(told.systemId, cursor);
    if (state !== before.state) {
      this.#revision += 1;
      this.#tell(`follower_${state}`, cursor);
    }
    if (received === before.received && applied === before.applied && state === before.state)
      return;
    this.#writeLater();
    this.#holds.set(cursor);
    this.#group.release();
  }

  /** Holds only move up: what a stricter rule would have kept is gone. */
  releaseRuleChanged(): void {
    for (const cursor of this.#cursors.values()) {
      if (cursor.state !== 'behind') this.#holds.set(cursor);
    }
    this.#group.release();
  }

  /** Writes what is not in the file yet. What cannot be written is only older there. */
  close(): void {
    this.#isClosed = true;
    if (this.#timer) this.#writeNow();
  }

  #letGo(systemId: number): void {
    // First: with nobody left, a group whose volumes store nothing keeps what is still there.
    this.journalOnlyChanged();
    this.#holds.drop(systemId);
    this.#group.release();
  }

  /** Undefined: it is so already. Throws follower_not_found, write_failed, disk_full. */
  #change(systemId: number, state: FollowerState): FollowerCursor | undefined {
    const before = this.#cursors.get(systemId);
    if (!before) {
      throw new JnbdError(
        'follower_not_found',
        `no system ${systemId} follows group ${this.#group.catalog.name}`,
      );
    }
    if (before.state === state) return undefined;
    const cursor = { ...before, state: changeFollowerState(before.state, state) };
    this.#replace(systemId, cursor);
    return cursor;
  }

  #raiseBehind({ name, received }: FollowerCursor): void {
    const { catalog, conditions } = this.#group;
    conditions.raise(`${catalog.name} ${name}`, {
      code: 'follower_behind',
      severity: 'error',
      message: `the journal of group ${catalog.name} was full: what follower ${name} needs, which has updates up to ${received}, is kept no longer`,
      nextCommand: `jnbd group show ${catalog.name}`,
    });
  }

  #clearBehind({ name }: FollowerCursor, what: string): void {
    const { catalog, conditions } = this.#group;
    const text = `follower ${name} of group ${catalog.name} ${what}`;
    conditions.clear(`${catalog.name} ${name}`, 'follower_behind', text);
  }

  /** In the file first, then in memory. Throws write_failed, disk_full. */
  #replace(systemId: number, cursor: FollowerCursor | undefined): void {
    const changed = new Map(this.#cursors);
    if (cursor) changed.set(systemId, cursor);
    else changed.delete(systemId);
    try {
      this.#write(changed);
    } catch (error) {
      const what = `cannot replace ${this.#path}`;
      throw refusedBySystem(error, 'write_failed', what) ?? error;
    }
    if (cursor) this.#cursors.set(systemId, cursor);
    else this.#cursors.delete(systemId);
    this.#revision += 1;
  }

  #tell(code: string, cursor: FollowerCursor): void {
    const { systemId, name, received } = cursor;
    const group = this.#group.catalog.name;
    this.#deps.event(code, `follower ${name} of group ${group}, which has ${received}`, {
      group,
      systemId,
      follower: name,
    });
    this.#group.changed();
  }

  #writeLater(): void {
    if (this.#isClosed) return;
    this.#timer ??= this.#deps.clock.after(writeAfterMilliseconds, () => this.#writeNow());
  }

  #writeNow(): void {
    try {
      this.#write(this.#cursors);
    } catch (error) {
      this.#timer?.cancel();
      this.#timer = undefined;
      this.#tellNotWritten(error);
      this.#writeLater();
    }
  }

  #tellNotWritten(error: unknown): void {
    const group = this.#group.catalog.name;
    this.#deps.event('followers_not_written', `${this.#path}: ${messageOf(error)}`, { group });
  }

  #write(cursors: ReadonlyMap<number, FollowerCursor>): void {
    const kept = [...cursors.values()].map(
      ({ sent: _, copied: _copied, heardMilliseconds: _heard, ...kept }): KeptFollower => kept,
    );
    writeFollowers(this.#deps.disk, this.#path, this.#group.catalog.groupId, kept);
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}

function isSamePlace(before: FollowerPlace | undefined, now: FollowerPlace | undefined): boolean {
  return now === undefined || (now.url === before?.url && now.groupName === before.groupName);
}
