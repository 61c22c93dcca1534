import type { Area } from '../../journal/area.ts';
import type { HeadFile } from '../../journal/head.ts';
import { closeJournal, type Journal } from '../../journal/journal.ts';
import type { SlabBudget } from '../../journal/receive-slab.ts';
import { RetainedRuns } from '../../journal/retained-runs.ts';
import { Retention } from '../../journal/retention.ts';
import type { SegmentChain } from '../../journal/segment-chain.ts';
import { notDurableText } from '../../journal/update-text.ts';
import type { Watermarks } from '../../journal/watermarks.ts';
import { must } from '../../platform/assert.ts';
import type { Clock } from '../../platform/clock.ts';
import { JnbdError } from '../../platform/errors.ts';
import { blockBytes, slabBytes } from '../../platform/limits.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import { VolumeExtents } from '../../volume/volume-extents.ts';
import { VolumeReader } from '../../volume/volume-read.ts';
import { ApplyDriver } from '../apply/apply-driver.ts';
import { ChecksumPoints } from '../apply/checksum-points.ts';
import { ApplyTroubles } from '../apply/apply-troubles.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { CatalogChanges } from './catalog-changes.ts';
import { type Condition, Conditions } from '../catalog/conditions.ts';
import { GroupCuts } from '../cuts/group-cuts.ts';
import type { DeletedVolumes } from './deleted-volumes.ts';
import { errno } from '../apply/export.ts';
import type { FollowFile } from '../catalog/follow-file.ts';
import type { GroupDependencies, GroupLimits } from './group-dependencies.ts';
import { Followers } from '../followers/followers.ts';
import { SynchronousFollowers } from '../followers/synchronous-followers.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import type { GroupWatcher } from './group-watcher.ts';
import { HostReplies } from './host-replies.ts';
import { JournalWatch } from './journal-watch.ts';
import type { OpenedGroup } from './opened-group.ts';
import { recordProtection } from './numbered-change.ts';
import { openJournal } from './open-journal.ts';
import { keepsFile, preservingOf } from '../catalog/resync-state.ts';
import { GroupSnapshots } from '../snapshots/group-snapshots.ts';
import { GroupViews } from '../views/group-views.ts';
import { SpaceGuard } from './space-guard.ts';
import { roleText } from '../catalog/taken-over.ts';
import { changeGroupState, type GroupRole, type GroupState } from '../catalog/states.ts';
import { dropFile, type OpenSession, type Volume, volumesToApply } from '../apply/volume.ts';
import { type Parked, WaitingHosts } from './waiting-hosts.ts';

/**
 * A consistency group: its volumes share one journal and one write order. Everything that changes it
 * is a numbered record. Opened by `openGroup`, which recovers it first.
 */
export class Group {
  readonly watermarks: Watermarks;
  readonly index: BlockIndex;
  readonly chain: SegmentChain;
  readonly slabs: SlabBudget;
  readonly retained: RetainedRuns;
  readonly reader: VolumeReader;
  readonly extents: VolumeExtents;
  readonly guard: SpaceGuard;
  readonly conditions: Conditions;
  readonly changes: CatalogChanges;
  readonly followers: Followers;
  readonly synchronous: SynchronousFollowers;
  readonly retention = new Retention();
  readonly volumes = new Map<string, Volume>();
  /** Ids of volumes whose records change blocks here; of one that is being created, before it is there. */
  readonly storing = new Set<number>();
  /** Told of watermarks, after hosts. */
  readonly watchers = new Set<GroupWatcher>();
  readonly hosts: WaitingHosts;
  readonly replies: HostReplies;
  readonly cuts: GroupCuts;
  readonly snapshots: GroupSnapshots;
  readonly views: GroupViews;
  readonly checksums: ChecksumPoints;
  readonly areas: readonly Area[];
  readonly follow: FollowFile;
  readonly deleted: DeletedVolumes;
  readonly incarnation: number;
  readonly #deps: GroupDependencies;
  readonly #files: GroupFiles;
  readonly #troubles: ApplyTroubles;
  readonly #watch: JournalWatch;
  readonly #limits: GroupLimits;
  readonly #head: HeadFile;
  #state: GroupState = 'recovering';
  #failureText = '';
  #journal: Journal | undefined;
  #driver: ApplyDriver | undefined;

  constructor(
    deps: GroupDependencies,
    limits: GroupLimits,
    files: GroupFiles,
    opened: OpenedGroup,
  ) {
    this.#deps = deps;
    this.#limits = limits;
    this.#files = files;
    const { catalog } = opened;
    const { name } = catalog;
    this.conditions = new Conditions((code, message, fields) => {
      deps.event(code, message, { group: name, ...fields });
    });
    for (const { id, journalOnly } of opened.catalog.volumes)
      if (!journalOnly) this.storing.add(id);
    this.changes = new CatalogChanges(deps, this.conditions, files.catalog, catalog, {
      changed: () => this.changed(),
      settled: () => this.#driver?.consider(),
    });
    this.hosts = new WaitingHosts(deps.clock);
    this.replies = new HostReplies(opened.watermarks.durable, this);
    this.areas = opened.areas;
    this.follow = opened.follow;
    this.deleted = opened.deleted;
    this.watermarks = opened.watermarks;
    this.index = opened.index;
    this.chain = opened.chain;
    this.#head = opened.head;
    this.incarnation = opened.incarnation;
    this.slabs = deps.pool.budget();
    this.retained = new RetainedRuns(this.slabs);
    this.reader = new VolumeReader(this.index, this.chain);
    this.extents = new VolumeExtents(this.index);
    this.guard = new SpaceGuard(deps.disk, deps.clock, files.volumes, {
      owedBytes: () => this.index.owedBlocks * blockBytes,
      spaceChanged: (isShort) => this.#troubles.spaceChanged(isShort),
    });
    this.followers = new Followers(deps, this, files, opened.followers);
    this.synchronous = new SynchronousFollowers(deps, this, recordProtection(this));
    this.snapshots = new GroupSnapshots(this, catalog.snapshots ?? []);
    this.cuts = new GroupCuts(deps, this, opened.cuts);
    this.views = new GroupViews(deps, this, files, opened.past);
    this.checksums = new ChecksumPoints(this, files, limits);
    this.#troubles = new ApplyTroubles(this.conditions, files, this.name, this.volumes);
    this.#watch = new JournalWatch(deps.clock, this);
    this.synchronous.start();
  }

  get name(): string {
    return this.catalog.name;
  }
  get catalog(): Catalog {
    return this.changes.catalog;
  }
  get state(): GroupState {
    return this.#state;
  }
  get journal(): Journal {
    return must(this.#journal, 'a group that serves has a journal');
  }
  /** Its journal was recovered: what is durable in it may be read by followers, in any state. */
  get isReadable(): boolean {
    return this.#driver !== undefined;
  }
  /** The sentence for hosts while `refusesWrites`. */
  get failureText(): string {
    if (this.#state !== 'normal') return this.#failureText;
    return this.role === 'primary'
      ? this.hosts.closedText
      : roleText(this.catalog, this.watermarks.newest);
  }
  get refusesWrites(): boolean {
    return this.#state !== 'normal' || this.role !== 'primary' || this.hosts.closedText !== '';
  }
  get role(): GroupRole {
    return this.catalog.role ?? 'primary';
  }
  get clock(): Clock {
    return this.#deps.clock;
  }
  get driver(): ApplyDriver {
    return must(this.#driver, 'apply was started');
  }
  get applyState(): string {
    return this.#driver?.state ?? 'closed';
  }
  get unappliedBytes(): number {
    return this.index.entries * blockBytes;
  }
  minutesToFull(): number | null {
    return this.#watch.minutesToFull();
  }

  /** The journal has no room for this record and nobody will make any: apply is not what is behind. */
  journalIsFullFor(bytes: number): boolean {
    if (!this.retention.isHeld || this.catalog.onFull === 'throttle') return false;
    return this.followers.keepJournalFull(bytes) && !this.followers.mayBeLeftBehind;
  }

  /** Volumes were found and the first segment is durable: hosts may be served. */
  serve(): void {
    this.#journal = openJournal(this, this.#head, this.#limits, {
      durableAdvanced: () => this.#durableAdvanced(),
      areaChanged: (area) => this.#watch.areaChanged(area),
      journalFailed: (failure) => this.#journalFailed(failure),
    });
    this.#become('normal');
    this.#watch.start(this.journal, () => {
      if (!this.chain.isFullFor(slabBytes) || !this.views.history.giveWay())
        this.followers.makeRoom(slabBytes);
      return this.journalIsFullFor(slabBytes);
    });
    this.driver.consider();
    this.views.start();
    this.snapshots.space.begin();
  }

  startApply(found: { readonly sequence: number; readonly hasChecksums: boolean }): ApplyDriver {
    const { clock, startApply, fatal } = this.#deps;
    this.#driver = new ApplyDriver({
      clock,
      port: startApply(fatal),
      index: this.index,
      chain: this.chain,
      watermarks: this.watermarks,
      retention: this.retention,
      groupId: this.catalog.groupId,
      checkpointPath: this.#files.checkpoint,
      checkpointSequence: found.sequence,
      preserving: preservingOf(this.#files, this.follow.state),
      points: this.checksums,
      base: this.views.history.preserving,
      owner: {
        volumes: () => volumesToApply([...this.volumes.values(), ...this.deleted.applying()]),
        appliedAdvanced: () => this.#appliedAdvanced(),
        mayApplyThrough: () => this.changes.settledThrough(this.replies.applicable),
        heldBehind: () => this.cuts.applyLimit,
        baseComesFirst: () => this.views.history.comesFirst(),
        unreadThrough: () => this.views.history.aloneThrough(),
        mayCheckpoint: () => this.cuts.areKeptThrough(this.watermarks.applied),
        released: () => this.#released(),
        applyFailed: (failure) => {
          this.guard.look();
          if (failure.part === 'history') this.views.history.failed(failure);
          else this.#troubles.failed(failure);
        },
        applyRecovered: (part) => this.#troubles.recovered(part),
      },
    });
    this.checksums.start(found.hasChecksums);
    // Segments with nothing but marks behind the checkpoint, as a life without writes leaves them.
    this.#driver.releaseSegments();
    return this.#driver;
  }

  /** Nothing is served, nothing is written: until somebody decides, or `serve` is called after all. */
  refuse(condition: Condition): void {
    this.#failureText = condition.message;
    this.#become('abnormal');
    this.conditions.raise(this.name, condition);
  }

  /** Syncs what is owed, then ends. Sessions are told to go; what is not applied is applied next time. */
  async close(): Promise<void> {
    if (this.#state === 'closed' || this.#state === 'closing') return;
    const wasServing = this.#journal !== undefined;
    this.#become('closing');
    this.changes.close();
    this.#failureText = `group ${this.name} is shutting down`;
    for (const session of this.sessions()) session.client.revoke(this.#failureText);
    this.hosts.wake();
    const failure = wasServing ? await closeJournal(this.journal) : null;
    if (failure) {
      const text = `group ${this.name}: ${failure.message}`;
      this.#deps.event('close_failed', text, { group: this.name });
    }
    this.#watch.stop();
    this.changes.stop();
    this.cuts.close(this.#failureText);
    this.synchronous.close();
    this.followers.close();
    await Promise.all([this.views.close(), this.#driver?.close()]);
    await this.snapshots.close();
    this.follow.close();
    this.#head.close();
    this.guard.close();
    this.deleted.close();
    this.slabs.close();
    for (const volume of this.volumes.values()) volume.file?.closeSync();
    for (const area of this.areas) area.close();
    this.#become('closed');
  }

  #become(state: GroupState): void {
    this.#state = changeGroupState(this.#state, state);
    this.changed();
  }

  changed(): void {
    this.synchronous.considerSoon();
    for (const watcher of this.watchers) watcher.changed?.();
  }

  sessionClosed(session: Parked): void {
    this.hosts.forget(session);
  }

  park(session: Parked): void {
    this.hosts.park(session);
    this.#driver?.consider();
  }

  appended(): void {
    if (this.replies.gate.isActive) for (const watcher of this.watchers) watcher.appended?.();
    this.#driver?.consider();
  }

  requestDurable(session: OpenSession): void {
    if (this.#state === 'abnormal' || this.journal.state !== 'open') {
      this.#deps.clock.soon(() => this.replies.fail(session, errno.EIO, this.#failureText));
      return;
    }
    this.journal.requestDurable();
  }

  sessions(): Generator<OpenSession> {
    return this.snapshots.sessions();
  }

  #durableAdvanced(): void {
    const { durable } = this.watermarks;
    this.changes.durableAdvanced(durable);
    this.replies.setDurable(durable);
    this.cuts.durableAdvanced(durable);
    this.maySendMore();
    this.#driver?.consider();
  }

  /** More is answerable, for another reason than that it is durable. */
  mayShowMore(): void {
    this.hosts.wake();
    this.#driver?.consider();
  }

  maySendMore(): void {
    for (const watcher of this.watchers) watcher.durableAdvanced(this.watermarks.durable);
  }

  #appliedAdvanced(): void {
    this.guard.look();
    this.hosts.wake();
    this.views.history.considered();
    for (const watcher of this.watchers) watcher.appliedAdvanced(this.watermarks.applied);
  }

  /** A hold moved or is gone: what nobody needs any more is free. */
  release(): void {
    this.#driver?.releaseSegments();
    this.#released();
  }

  #released(): void {
    this.followers.consider();
    this.views.history.considered();
    this.#journal?.segmentsFreed();
    this.hosts.wake();
    this.changed();
  }

  #journalFailed(failure: Error): void {
    const { durable, newest } = this.watermarks;
    this.#failureText = `the journal of group ${this.name} failed: ${failure.message}; ${notDurableText(durable, newest)}, and nothing more is accepted until a restart`;
    if (this.#state === 'normal') this.#become('abnormal');
    this.#watch.failed(this.#failureText);
    this.#deps.clock.soon(() => {
      this.replies.failWaiting(errno.EIO, this.#failureText);
      this.hosts.wake();
      this.changes.fail(new JnbdError('journal_failed', this.#failureText));
      this.cuts.fail(new JnbdError('journal_failed', this.#failureText));
    });
  }

  addVolume(volume: Volume): void {
    this.deleted.forget(volume.catalog.id);
    this.volumes.set(volume.catalog.name, volume);
    if (!volume.catalog.journalOnly) this.storing.add(volume.catalog.id);
    this.followers.journalOnlyChanged();
    this.changed();
  }

  /**
   * Removes a volume that is gone from the catalog. Apply skips it from the next table on; the one
   * under way may still write to the unlinked file.
   */
  forgetVolume(volume: Volume): void {
    this.volumes.delete(volume.catalog.name);
    this.#driver?.forget(volume.catalog.id);
    this.followers.journalOnlyChanged();
    if (volume.catalog.journalOnly) this.release();
    this.changed();
    dropFile(this.#deps.disk, volume, keepsFile(this.follow.state, volume.catalog.id));
  }

  /** Applies and makes a checkpoint at once; false: there is nothing that this could release. */
  hurryApply(): boolean {
    if (!this.#driver?.hasMoreToCheckpoint) return false;
    this.#driver.hurry();
    return true;
  }
}
