import type { Group } from '../../group/order/group.ts';
import type { GroupWatcher } from '../../group/order/group-watcher.ts';
import { partedContents } from '../../group/volumes/shown-contents.ts';
import type { Volume } from '../../group/apply/volume.ts';
import { synchronousDefaults } from '../../group/catalog/protection.ts';
import type { FollowerCursor } from '../../group/followers/follower-cursor.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { updateNumberMax } from '../../platform/limits.ts';
import { pathThrough } from '../peers/follow-ring.ts';
import { durableCell, sharedCells, stretchCell } from './source-journal.ts';
import type {
  GroupPicture,
  JournalProgress,
  SourceSegmentPlace,
  SourceVolume,
  ToldAcknowledgement,
  ToSource,
} from './source-messages.ts';

/** What nobody waits for is told together. */
const laterMilliseconds = 5;

/**
 * Tells the source worker of one group, on the thread that serves hosts: what changes rarely at once,
 * watermarks and segments only when the worker asked, once in a turn, however often they moved; and, while
 * replies to hosts wait for followers, what was appended, before its own sync begins.
 */
export class SourceFeed implements GroupWatcher {
  readonly #group: Group;
  readonly #systemId: number;
  readonly #clock: Clock;
  readonly #post: (message: ToSource) => void;
  readonly #shared = new SharedArrayBuffer(sharedCells * 8);
  readonly #durable = new BigInt64Array(this.#shared);
  readonly #segments = new Set<number>();
  /** Of the chain, as it was told of last. */
  #revision = -1;
  #told: JournalProgress | undefined;
  /** The worker may send records up to here, or up to what is servable. */
  #announced = 0;
  /** What the last picture was made of. */
  #pictured: readonly unknown[] = [];
  /** Of those who follow: the newest acknowledgement that was told to the group. */
  readonly #heard = new Map<number, number>();
  #isHeardNews = false;
  #isAsked = false;
  #isWatched = false;
  #isScheduled = false;
  #later: Timer | undefined;
  #isClosed = false;

  /** `systemId`: of this system. */
  constructor(group: Group, systemId: number, clock: Clock, post: (message: ToSource) => void) {
    this.#group = group;
    this.#systemId = systemId;
    this.#clock = clock;
    this.#post = post;
    this.#share(this.#sendable);
    group.watchers.add(this);
    this.#postNews();
  }

  get group(): Group {
    return this.#group;
  }

  durableAdvanced(): void {
    const durable = this.#sendable;
    this.#share(durable);
    if (this.#isWatched && durable > this.#announced) this.#postNews();
    else if (this.#isAsked || this.#isWatched || this.#group.catalog !== this.#pictured[0])
      this.#moved();
  }

  /** Followers take it while it is synced here. */
  appended(): void {
    if (!this.#isWatched || this.#isClosed) return;
    const ahead = this.#ahead();
    if (ahead <= this.#announced) return;
    this.#postPicture();
    const { chain, watermarks, catalog } = this.#group;
    if (!this.#told || chain.revision !== this.#revision) {
      this.#postNews();
      return;
    }
    this.#announced = ahead;
    const { sequence, offset } = chain.tail;
    const servable = this.#servable();
    const { groupId } = catalog;
    const { newest } = watermarks;
    this.#post({ kind: 'appended', groupId, ahead, servable, newest, sequence, offset });
  }

  appliedAdvanced(): void {
    this.#moved();
  }

  changed(): void {
    this.#moved();
  }

  asked(isUrgent: boolean): void {
    this.#isAsked = true;
    if (isUrgent) this.#schedule();
    else this.#moved();
  }

  /** Whether somebody is sent what becomes durable as soon as it is. */
  watch(isOn: boolean): void {
    this.#isWatched = isOn;
    if (isOn) this.#schedule();
  }

  /** What a follower said counts from here on. One that says nothing new wants to know whether it is heard. */
  acknowledged({ serial, ...told }: Omit<ToldAcknowledgement, 'groupId'>): void {
    const { followers } = this.#group;
    const before = followers.find(told.systemId);
    followers.acknowledge(told);
    if (serial === undefined || !this.#group.synchronous.confirms(told.systemId)) return;
    this.#heard.set(told.systemId, serial);
    this.#isHeardNews = true;
    const isNews = before?.received !== told.received || before.applied !== told.applied;
    if (!this.#isWatched) return;
    if (isNews) this.#scheduleLater();
    else this.#schedule();
  }

  /** `isOpening`: the group comes back. */
  close(isOpening: boolean): void {
    this.#isClosed = true;
    this.#later?.cancel();
    this.#group.watchers.delete(this);
    this.#post({ kind: 'group_gone', groupId: this.#group.catalog.groupId, isOpening });
  }

  #moved(): void {
    if (this.#isClosed) return;
    // At once: whoever was just registered is known to the worker before it is told so.
    this.#postPicture();
    if (this.#isAsked && this.#isProgressOld()) this.#schedule();
    else if (this.#isWatched) this.#scheduleLater();
  }

  #scheduleLater(): void {
    this.#later ??= this.#clock.after(laterMilliseconds, () => {
      this.#later = undefined;
      if (!this.#isClosed && this.#isWatched && this.#isProgressOld()) this.#postNews();
    });
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    this.#clock.soon(() => {
      this.#isScheduled = false;
      if (!this.#isClosed) this.#postNews();
    });
  }

  #isProgressOld(): boolean {
    const told = this.#told;
    if (!told || this.#isHeardNews) return true;
    const { released, applied, newest } = this.#group.watermarks;
    const { watermarks } = told;
    return (
      this.#sendable !== watermarks.durable ||
      newest !== watermarks.newest ||
      applied !== watermarks.applied ||
      released !== watermarks.released ||
      this.#servable() > told.servable ||
      this.#group.chain.revision !== this.#revision
    );
  }

  /**
   * What is durable, but for what a cut holds, which could be read elsewhere before it is answered here, and for
   * what the own source does not have durably, which may be lost there (SAFETY 22).
   */
  get #sendable(): number {
    const { watermarks, replies } = this.#group;
    return Math.max(watermarks.applied, replies.gate.sendable);
  }

  /** The picture first: whoever is given a number knows its stretch. */
  #postNews(): void {
    this.#postPicture();
    const isWanted = this.#isAsked || this.#isWatched || !this.#told;
    if (!isWanted || !this.#group.isReadable) return;
    this.#isAsked = false;
    this.#isHeardNews = false;
    const progress = this.#progress();
    this.#told = progress;
    this.#announced = progress.ahead;
    this.#post({ kind: 'progress', groupId: this.#group.catalog.groupId, progress });
  }

  /** The stretch first: whoever reads a number can tell whether it knows the stretch that the number is of. */
  #share(durable: number): void {
    const begins = this.#group.catalog.lineage.at(-1)?.firstNumber ?? 0;
    Atomics.store(this.#durable, stretchCell, BigInt(begins));
    Atomics.store(this.#durable, durableCell, BigInt(durable));
  }

  #postPicture(): void {
    const parts = this.#pictureParts();
    if (parts.every((part, at) => part === this.#pictured[at])) return;
    this.#pictured = parts;
    this.#post({ kind: 'group', picture: this.#picture(), durable: this.#shared });
  }

  #pictureParts(): readonly unknown[] {
    const group = this.#group;
    return [
      group.catalog,
      group.state,
      group.isReadable,
      group.followers.revision,
      contentsFrom(group),
      group.follow.state === undefined,
      group.follow.sourcePath,
      volumeStates(group),
    ];
  }

  #picture(): GroupPicture {
    const group = this.#group;
    const { groupId, name, lineage, number, copyBytesPerSecond } = group.catalog;
    return {
      groupId,
      name,
      role: group.role,
      state: group.state,
      stateText: group.state === 'normal' ? '' : group.failureText,
      isReadable: group.isReadable,
      lineage,
      volumes: [...group.volumes.values()].map((volume) => sourceVolume(volume, group)),
      catalogNumber: number,
      contentsFrom: contentsFrom(group),
      followers: group.followers.list().map((cursor) => ({
        systemId: cursor.systemId,
        name: cursor.name,
        state: cursor.state,
        timeoutMilliseconds: timeoutOf(group, cursor),
      })),
      path: pathThrough(group, this.#systemId),
      copyBytesPerSecond,
    };
  }

  #progress(): JournalProgress {
    const { chain, watermarks } = this.#group;
    const { released, applied, newest } = watermarks;
    const servable = Math.max(this.#told?.servable ?? 0, this.#servable());
    return {
      ...this.#segmentChanges(),
      tail: chain.tail,
      watermarks: { released, applied, durable: this.#sendable, newest },
      servable,
      ahead: Math.max(servable, this.#ahead()),
      usedBytes: chain.usedBytes,
      capacityBytes: chain.capacityBytes,
      members: this.#group.followers.members.list(),
      heard: [...this.#heard].map(([systemId, serial]) => ({ systemId, serial })),
    };
  }

  /** A number whose stretch is not in the catalog on disk may be given another one after a crash. */
  #servable(): number {
    const { changes, catalog } = this.#group;
    const durable = this.#sendable;
    const last = catalog.lineage.at(-1);
    if (!changes.isFileBehind || !last) return durable;
    return Math.min(durable, last.firstNumber - 1);
  }

  /**
   * Up to where followers may be sent what is not durable yet: nothing of a stretch in which nothing is, nor a
   * change of the catalog or a marker, which count there once they are durable there, nor what stands behind one.
   */
  #ahead(): number {
    const { changes, cuts, catalog, retained, replies, role, state } = this.#group;
    const durable = this.#sendable;
    const last = catalog.lineage.at(-1);
    const mayBe = role === 'primary' && state === 'normal' && replies.gate.waitsForFollowers;
    if (!mayBe || changes.isFileBehind || !last || last.firstNumber > durable) return 0;
    const appended = Math.min(replies.gate.heldBehind, Math.max(durable, retained.lastNumber));
    return cuts.unmarkedThrough(changes.unchangedThrough(appended));
  }

  #segmentChanges(): Pick<JournalProgress, 'added' | 'removed'> {
    const { chain } = this.#group;
    if (chain.revision === this.#revision) return { added: [], removed: [] };
    this.#revision = chain.revision;
    const added: SourceSegmentPlace[] = [];
    const removed = new Set(this.#segments);
    for (const { header, file, beginsAt } of chain.live()) {
      const { sequence, salt, timeBaseMilliseconds } = header;
      if (removed.delete(sequence)) continue;
      this.#segments.add(sequence);
      added.push({ sequence, path: file.path, salt, timeBaseMilliseconds, beginsAt });
    }
    for (const sequence of removed) this.#segments.delete(sequence);
    return { added, removed: [...removed] };
  }
}

/** Only a primary has hosts whose replies wait. Where two limits hold, the shorter one says how often to speak. */
function timeoutOf({ role, catalog }: Group, { synchronous = false }: FollowerCursor): number {
  if (role !== 'primary' || !synchronous) return 0;
  const { protection } = catalog;
  const { timeoutMilliseconds } = catalog.synchronous ?? synchronousDefaults;
  return protection?.state === 'protected'
    ? Math.min(protection.timeoutMilliseconds, timeoutMilliseconds)
    : timeoutMilliseconds;
}

/** Another number whenever the state of a volume is another, or there is one more. */
function volumeStates({ volumes }: Group): number {
  let revision = 0;
  for (const volume of volumes.values()) revision += 1 + volume.revision;
  return revision;
}

/** Its contents are not copied where it has none, and where what it shows may not be what was applied. */
function sourceVolume(
  { catalog, backingFile, file, state }: Volume,
  { role }: Group,
): SourceVolume {
  const { id, sizeBytes } = catalog;
  const isIncomplete = role === 'secondary' && state === 'unused';
  const isReadable = file !== undefined && state !== 'abnormal' && !isIncomplete;
  return { id, path: isReadable ? backingFile : '', sizeBytes };
}

/** Which record has to be applied before what volumes hold is of any instant. */
function contentsFrom(group: Group): number {
  return partedContents(group) ? updateNumberMax : (group.follow.state?.shows ?? 0);
}
