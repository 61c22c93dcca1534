import type { Clock } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, refusedBySystem } from '../../platform/errors.ts';
import type { RegionSet } from '../../volume/region-set.ts';
import { DirtyMaps } from './dirty-maps.ts';
import {
  type Acknowledgement,
  acknowledged,
  type FollowerCursor,
  heardCursor,
  isSamePlace,
  keptCursor,
  type KnownFollowers,
  newCursor,
  renewedCursor,
} from './follower-cursor.ts';
import type { FollowerPlace } from '../catalog/follower-file.ts';
import { FollowerChecksums } from './follower-checksums.ts';
import { FollowerHolds, type MappedGroup } from './follower-holds.ts';
import { clearBehind, raiseBehind, refuseReleased } from './follower-notices.ts';
import { FollowerRecord } from './follower-record.ts';
import { Floor } from './floor.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import type { Position } from '../catalog/lineage.ts';
import { type Member, Members } from '../catalog/members.ts';
import { changeFollowerState, type FollowerState } from '../catalog/states.ts';

interface Dependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly systemId: number;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

/**
 * The followers of a group: who they are, how far they are, and that nothing they need is released.
 *
 * A follower is in the file before it is told that it is registered, and out of it before its hold is
 * dropped. So a crash leaves at most a follower too many, which holds records until it is dropped.
 */
export class Followers {
  /** Of those that were left behind. */
  readonly maps: DirtyMaps;
  /** Followers and everybody else who has the group. */
  readonly members: Members;
  readonly checksums: FollowerChecksums;
  readonly #floor: Floor;
  readonly #deps: Dependencies;
  readonly #path: string;
  readonly #record: FollowerRecord;
  readonly #group: MappedGroup;
  readonly #holds: FollowerHolds;
  readonly #cursors = new Map<number, FollowerCursor>();
  #revision = 0;

  constructor(deps: Dependencies, group: MappedGroup, files: GroupFiles, known: KnownFollowers) {
    this.#deps = deps;
    this.#group = group;
    this.#holds = new FollowerHolds(group);
    this.#path = files.followers;
    const lost = (systemId: number): void => this.#mapLost(systemId);
    this.maps = new DirtyMaps({ ...deps, lost }, group, files, known.maps);
    const untold = (why: string): void => this.#tellNotWritten(why);
    const { groupId } = group.catalog;
    this.#record = new FollowerRecord(deps, this.#path, groupId, () => this.list(), untold);
    this.members = new Members(deps, files.members, known.members, () => this.list(), untold);
    this.checksums = new FollowerChecksums(group);
    this.#floor = new Floor(group, this.members, () => this.list());
    const { newest } = group.watermarks;
    for (const follower of known.kept) {
      this.#cursors.set(follower.systemId, keptCursor(deps.clock, follower, newest));
    }
  }

  /** Another number whenever there is another follower, or another state of one. */
  get revision(): number {
    return this.#revision;
  }

  list(): readonly FollowerCursor[] {
    return [...this.#cursors.values()];
  }

  get count(): number {
    return this.#cursors.size;
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
    this.maps.hold();
    this.#floor.update();
    this.journalOnlyChanged();
  }

  /** Something was released, or may be: what is kept for others than followers moves on. */
  consider(): void {
    if (this.#floor.update()) this.#group.release();
    this.maps.consider();
  }

  /** Who has the group, by the group's own source. */
  sourceTold(members: readonly Member[]): void {
    this.members.sourceTold(members);
    if (this.#floor.update()) this.#group.release();
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
    if (from < released) refuseReleased(this.#group.catalog.name, name, from, released);
    const before = this.#cursors.get(systemId);
    const isKnown = before?.name === name && before.state !== 'behind' && !before.isExpected;
    if (isKnown && from >= before.received && isSamePlace(before.listens, listens))
      return this.#welcome({ ...before, received: from, sent: Math.max(from, before.sent) });
    const made: FollowerCursor = {
      ...newCursor(this.#deps.clock, systemId, name, from, before?.applied ?? released),
      heardMilliseconds: this.#deps.clock.monotonicMilliseconds(),
      listens,
    };
    const cursor = before ? renewedCursor(before, made) : made;
    this.#replace(systemId, cursor);
    clearBehind(this.#group, cursor, 'was registered again');
    if (before) this.checksums.renamed(before, cursor);
    // Lower than before where it lost something: what is still there may be held again.
    this.#holds.drop(systemId);
    this.#holds.set(cursor);
    this.maps.remove(systemId);
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
    const reached = Math.max(from, released);
    const cursor: FollowerCursor = {
      ...newCursor(this.#deps.clock, systemId, name, reached, released),
      state: 'suspended',
      isExpected: true,
      listens,
    };
    this.#replace(systemId, cursor);
    this.#holds.set(cursor);
    this.journalOnlyChanged();
    this.#tell('follower_expected', cursor);
  }

  /** One that was away: the file knows it, and holds no more than it needs. */
  #welcome(cursor: FollowerCursor): FollowerCursor {
    this.#cursors.set(cursor.systemId, heardCursor(this.#deps.clock, cursor));
    this.#moved(cursor);
    return cursor;
  }

  /** It has more than before, or is in another state. */
  #moved(cursor: FollowerCursor): void {
    this.#record.writeLater();
    this.#holds.set(cursor);
    this.#group.release();
  }

  /** False: it was not registered. Throws write_failed, disk_full, and then it still is. */
  drop(systemId: number): boolean {
    const cursor = this.#cursors.get(systemId);
    if (!cursor) return false;
    this.#replace(systemId, undefined);
    clearBehind(this.#group, cursor, 'was dropped');
    this.checksums.forget(cursor, 'was dropped');
    this.maps.remove(systemId);
    this.members.followerGone(systemId);
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

  /** Whether replies to hosts are to wait for it. Throws follower_not_found, write_failed, disk_full. */
  setSynchronous(systemId: number, synchronous: boolean): void {
    const before = this.#known(systemId);
    if ((before.synchronous ?? false) === synchronous) return;
    const cursor = { ...before, synchronous };
    this.#replace(systemId, cursor);
    this.#tell(synchronous ? 'follower_synchronous' : 'follower_asynchronous', cursor);
  }

  /** Its records are kept no longer, so that others can go on (SAFETY 14); what they change is noted. */
  leaveBehind(systemId: number): void {
    const before = this.#cursors.get(systemId);
    if (before && before.state !== 'behind') {
      this.maps.begin(systemId, this.#holds.reachedBy(before));
    }
    const cursor = this.#changeOrForget(systemId);
    if (!cursor) return;
    this.#raiseBehind(cursor);
    this.#letGo(systemId);
    this.maps.consider();
    this.#group.changed();
  }

  /** A map goes with a follower that is behind only. */
  #changeOrForget(systemId: number): FollowerCursor | undefined {
    try {
      return this.#change(systemId, 'behind');
    } catch (error) {
      this.maps.remove(systemId);
      throw error;
    }
  }

  /**
   * The journal is about to begin anew behind `through`, of the source's history, which is the own one up to
   * `fork`, and where volumes are as all that is durable leaves them but for `regions`. Every follower is
   * behind then, and comes back by these and by what it has not received, or from the fork. Nothing is
   * appended meanwhile. Rejects with JnbdError: record_unreadable, write_failed, disk_full, state_refuses.
   */
  async leaveBehindWith(regions: RegionSet, through: Position, fork = Infinity): Promise<void> {
    for (const before of this.list()) {
      const { systemId } = before;
      if (before.state === 'behind' && !this.maps.find(systemId)) continue;
      await this.maps.leap(systemId, this.#holds.reachedBy(before), regions, through, fork);
      if (before.state === 'behind') continue;
      const cursor = this.#changeOrForget(systemId);
      if (cursor) this.#raiseBehind(cursor);
      this.#letGo(systemId);
    }
    this.#group.changed();
  }

  #mapLost(systemId: number): void {
    const cursor = this.#cursors.get(systemId);
    if (cursor) this.#raiseBehind(cursor);
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
    if (this.#group.chain.isFullFor(bytes)) {
      if (this.#floor.letGo()) this.#group.release();
      this.maps.forgetPromises();
    }
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
      this.#tellNotWritten(error.message);
      return false;
    }
  }

  /** The one that holds most back. */
  get furthestBehind(): FollowerCursor | undefined {
    return this.#holds.lowest(this.list());
  }

  /** What peers say is believed only where it can be true, and never takes anything back (SAFETY 2). */
  acknowledge(told: Acknowledgement): void {
    const before = this.#cursors.get(told.systemId);
    if (before && told.members) this.members.followerTold(told.systemId, told.members);
    // Somebody may be further behind than was known.
    if (told.members) this.#floor.update();
    if (before && told.checksums !== undefined) this.checksums.told(before, told.checksums);
    if (!before || before.state === 'suspended' || before.state === 'behind') return;
    const known = acknowledged(before, told, this.#group.watermarks.newest);
    const cursor = heardCursor(this.#deps.clock, known, told.dueMilliseconds);
    const { state, received, applied } = cursor;
    this.#cursors.set(told.systemId, cursor);
    this.#group.synchronous.heard(cursor);
    if (state !== before.state) {
      this.#revision += 1;
      this.#tell(`follower_${state}`, cursor);
    }
    if (received !== before.received || applied !== before.applied || state !== before.state)
      this.#moved(cursor);
  }

  /** Holds only move up: what a stricter rule would have kept is gone. */
  releaseRuleChanged(): void {
    this.#holds.setAll(this.list());
    this.#group.release();
  }

  /** Writes what is not in the file yet. What cannot be written is only older there. */
  close(): void {
    this.maps.close();
    this.members.close();
    this.#record.close();
  }

  #letGo(systemId: number): void {
    // First: with nobody left, a group whose volumes store nothing keeps what is still there.
    this.journalOnlyChanged();
    // What was kept for it may be what another one needs.
    this.#floor.update();
    this.#holds.drop(systemId);
    this.#group.release();
  }

  #known(systemId: number): FollowerCursor {
    const cursor = this.#cursors.get(systemId);
    if (cursor) return cursor;
    const text = `no system ${systemId} follows group ${this.#group.catalog.name}`;
    throw new JnbdError('follower_not_found', text);
  }

  /** Undefined: it is so already. Throws follower_not_found, write_failed, disk_full. */
  #change(systemId: number, state: FollowerState): FollowerCursor | undefined {
    const before = this.#known(systemId);
    if (before.state === state) return undefined;
    const cursor = { ...before, state: changeFollowerState(before.state, state) };
    this.#replace(systemId, cursor);
    return cursor;
  }

  #raiseBehind(cursor: FollowerCursor): void {
    raiseBehind(this.#group, cursor, this.maps.find(cursor.systemId));
  }

  /** In the file first, then in memory. Throws write_failed, disk_full. */
  #replace(systemId: number, cursor: FollowerCursor | undefined): void {
    const changed = new Map(this.#cursors);
    if (cursor) changed.set(systemId, cursor);
    else changed.delete(systemId);
    try {
      this.#record.write(changed.values());
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

  #tellNotWritten(why: string): void {
    this.#deps.event('followers_not_written', why, { group: this.#group.catalog.name });
  }
}
