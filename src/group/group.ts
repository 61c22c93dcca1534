import type { Area, AreaFailure } from '../journal/area.ts';
import { Forecast } from '../journal/forecast.ts';
import { Journal } from '../journal/journal.ts';
import type { ReceiveSlabPool } from '../journal/receive-slab.ts';
import type { RecordHeader } from '../journal/record.ts';
import { recordHeaderBytes, recordType } from '../journal/record.ts';
import { RetainedRuns } from '../journal/retained-runs.ts';
import { Retention } from '../journal/retention.ts';
import type { LiveSegment, SegmentChain } from '../journal/segment-chain.ts';
import type { Watermarks } from '../journal/watermarks.ts';
import { must } from '../platform/assert.ts';
import type { Clock } from '../platform/clock.ts';
import type { Disk } from '../platform/disk.ts';
import { JnbdError } from '../platform/errors.ts';
import { blockBytes } from '../platform/limits.ts';
import type { Random } from '../platform/random.ts';
import type { WorkerPort } from '../platform/worker-port.ts';
import type { ApplyVolume, FromApply, ToApply } from '../volume/apply-messages.ts';
import type { BlockIndex } from '../volume/block-index.ts';
import { VolumeExtents } from '../volume/volume-extents.ts';
import { VolumeReader } from '../volume/volume-read.ts';
import { ApplyDriver } from './apply-driver.ts';
import type { Catalog, CatalogChange } from './catalog.ts';
import { CatalogChanges } from './catalog-changes.ts';
import type { Condition } from './conditions.ts';
import { Conditions } from './conditions.ts';
import { errno } from './export.ts';
import type { GroupFiles } from './group-files.ts';
import { SpaceGuard } from './space-guard.ts';
import type { GroupState } from './states.ts';
import { changeGroupState } from './states.ts';
import type { OpenSession, Volume } from './volume.ts';
import { WaitingHosts } from './waiting-hosts.ts';

/** What a group needs of the world; the simulation replaces all of it. */
export interface GroupDependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly pool: ReceiveSlabPool;
  readonly startApply: (failed: (error: Error) => void) => WorkerPort<ToApply, FromApply>;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
  /** A worker ended by itself: nothing can be promised any more. */
  readonly fatal: (error: Error) => void;
}

export interface GroupLimits {
  /** Nodes of one table of the index; a power of two up to 2^20. */
  readonly tableNodesMax: number;
  readonly unsyncedBytesMax: number;
}

const tickMilliseconds = 1000;
/** A sync that takes longer makes its area `slow` where there is another one. */
const areaSlowMilliseconds = 1500;
const slowAreaRestMilliseconds = 30_000;

/**
 * A consistency group: its volumes share one journal and one write order. Everything that changes it
 * is a numbered record. Opened by `openGroup`, which recovers it first.
 */
export class Group {
  readonly watermarks: Watermarks;
  readonly index: BlockIndex;
  readonly chain: SegmentChain;
  readonly retained: RetainedRuns;
  readonly reader: VolumeReader;
  readonly extents: VolumeExtents;
  readonly guard: SpaceGuard;
  readonly conditions: Conditions;
  readonly retention = new Retention();
  readonly volumes = new Map<string, Volume>();
  readonly areas: readonly Area[];
  readonly incarnation: number;
  readonly #deps: GroupDependencies;
  readonly #files: GroupFiles;
  readonly #forecast = new Forecast();
  readonly #limits: GroupLimits;
  readonly #changes: CatalogChanges;
  readonly #hosts: WaitingHosts;
  #state: GroupState = 'recovering';
  #failureText = '';
  #journal: Journal | undefined;
  #driver: ApplyDriver | undefined;
  #volumeChanges: Promise<void> = Promise.resolve();

  constructor(
    deps: GroupDependencies,
    limits: GroupLimits,
    files: GroupFiles,
    opened: {
      catalog: Catalog;
      areas: readonly Area[];
      watermarks: Watermarks;
      index: BlockIndex;
      chain: SegmentChain;
      incarnation: number;
    },
  ) {
    this.#deps = deps;
    this.#limits = limits;
    this.#files = files;
    this.#changes = new CatalogChanges(deps.disk, files.catalog, opened.catalog);
    this.#hosts = new WaitingHosts(deps.clock);
    this.areas = opened.areas;
    this.watermarks = opened.watermarks;
    this.index = opened.index;
    this.chain = opened.chain;
    this.incarnation = opened.incarnation;
    this.retained = new RetainedRuns(deps.pool);
    this.reader = new VolumeReader(this.index, this.chain);
    this.extents = new VolumeExtents(this.index);
    this.guard = new SpaceGuard(deps.disk, deps.clock, files.volumes);
    this.conditions = new Conditions((condition, raised) =>
      this.#conditionChanged(condition, raised),
    );
  }

  get name(): string {
    return this.catalog.name;
  }
  get catalog(): Catalog {
    return this.#changes.catalog;
  }
  get state(): GroupState {
    return this.#state;
  }
  get journal(): Journal {
    return must(this.#journal, 'a group that serves has a journal');
  }
  /** The sentence for hosts while `refusesWrites`. */
  get failureText(): string {
    return this.#failureText;
  }
  get refusesWrites(): boolean {
    return this.#state !== 'normal';
  }
  get applyState(): string {
    return this.#driver?.state ?? 'closed';
  }

  /** What apply has still to write, at most. */
  get unappliedBytes(): number {
    return this.index.entries * blockBytes;
  }

  minutesToFull(): number | null {
    return this.#forecast.minutesToFull(this.chain.capacityBytes);
  }

  /** The journal has no room for this record and nobody will make any: apply is not what is behind. */
  journalIsFullFor(bytes: number): boolean {
    if (!this.retention.isHeld || this.catalog.onFull === 'throttle') return false;
    return !this.chain.hasRoom(bytes) && !this.chain.standbyReady && this.chain.spareSegments === 0;
  }

  // --- opening and closing

  /** Volumes were found and the first segment is durable: hosts may be served. */
  serve(): void {
    const { clock } = this.#deps;
    this.#journal = new Journal(
      {
        clock,
        chain: this.chain,
        retained: this.retained,
        watermarks: this.watermarks,
        owner: {
          durableAdvanced: () => this.#durableAdvanced(),
          roomAppeared: () => this.#hosts.wake(),
          areaChanged: (area) => this.#areaChanged(area),
          recordMoved: (...record) => this.#recordMoved(...record),
          journalFailed: (failure) => this.#journalFailed(failure),
        },
      },
      {
        unsyncedBytesMax: this.#limits.unsyncedBytesMax,
        syncIntervalMilliseconds: this.catalog.syncIntervalMilliseconds,
      },
    );
    this.#become('normal');
    this.#tick();
    must(this.#driver, 'apply was started').consider();
  }

  startApply(checkpointSequence: number): ApplyDriver {
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
      checkpointSequence,
      owner: {
        volumes: () => this.#applyVolumes(),
        appliedAdvanced: () => this.#appliedAdvanced(),
        released: () => this.#released(),
        applyFailed: (failure) => this.#applyFailed(failure),
        applyRecovered: () => this.#applyRecovered(),
      },
    });
    return this.#driver;
  }

  /** The journal is damaged: nothing is served, nothing is written, until somebody decides. */
  refuse(text: string): void {
    this.#failureText = text;
    this.#become('abnormal');
    this.conditions.raise('', {
      code: 'journal_damaged',
      severity: 'error',
      message: text,
      nextCommand: `jnbd journal check ${this.#files.journal}`,
    });
  }

  /** Syncs what is owed, then ends. Sessions are told to go; what is not applied is applied next time. */
  async close(): Promise<void> {
    if (this.#state === 'closed' || this.#state === 'closing') return;
    const wasServing = this.#journal !== undefined;
    this.#become('closing');
    this.#failureText = `group ${this.name} is shutting down`;
    for (const session of this.#sessions()) session.client.revoke(this.#failureText);
    this.#hosts.wake();
    if (wasServing) {
      await new Promise<void>((resolve) => {
        this.journal.close((failure) => {
          if (failure) {
            this.#deps.event('close_failed', `group ${this.name}: ${failure.message}`, {
              group: this.name,
            });
          }
          resolve();
        });
      });
    }
    await this.#driver?.close();
    this.guard.close();
    for (const volume of this.volumes.values()) volume.file?.closeSync();
    for (const area of this.areas) area.close();
    this.#become('closed');
  }

  #become(state: GroupState): void {
    this.#state = changeGroupState(this.#state, state);
  }

  // --- hosts

  sessionClosed(session: OpenSession): void {
    this.#hosts.forget(session);
  }

  park(session: OpenSession): void {
    this.#hosts.park(session);
    this.#driver?.consider();
  }

  /** A run went into the journal. */
  appended(): void {
    this.#driver?.consider();
  }

  requestDurable(session: OpenSession): void {
    if (this.#state === 'abnormal' || this.journal.state !== 'open') {
      this.#deps.clock.soon(() => this.#failWaiting(session));
      return;
    }
    this.journal.requestDurable();
  }

  *#sessions(): Generator<OpenSession> {
    for (const volume of this.volumes.values()) yield* volume.sessions;
  }

  #durableAdvanced(): void {
    const { durable } = this.watermarks;
    this.#changes.durableAdvanced(durable);
    for (const volume of this.volumes.values()) {
      for (const session of volume.sessions) session.durableAdvanced(durable);
    }
    this.#driver?.consider();
  }

  #failWaiting(session: OpenSession): void {
    if (session.waitsFor <= this.watermarks.durable) return;
    session.waitsFor = 0;
    session.client.durableFailed(this.watermarks.durable + 1, errno.EIO, this.#failureText);
  }

  // --- apply

  #applyVolumes(): ApplyVolume[] {
    return [...this.volumes.values()]
      .filter((volume) => volume.file !== undefined)
      .map((volume) => ({ id: volume.catalog.id, path: volume.backingFile }));
  }

  #appliedAdvanced(): void {
    this.guard.look();
    this.#hosts.wake();
  }

  #released(): void {
    this.#journal?.segmentsFreed();
    this.#hosts.wake();
  }

  #applyFailed(failure: FromApply & { kind: 'failed' }): void {
    const volume = [...this.volumes.values()].find(({ catalog }) => catalog.id === failure.volume);
    const subject = volume ? `${this.name}/${volume.catalog.name}` : this.name;
    this.guard.look();
    if (failure.part === 'volume' && (failure.code === 'ENOSPC' || failure.code === 'EDQUOT')) {
      this.conditions.raise(subject, {
        code: 'volume_space',
        severity: 'error',
        message: `volume ${subject} cannot grow: ${failure.message}; its records stay in the journal and hosts are slowed`,
        nextCommand: `df ${this.#files.volumes}`,
      });
      return;
    }
    if (failure.part === 'sync' || failure.part === 'checkpoint') {
      // What was written since the last checkpoint may be lost below us, but it is in the journal:
      // the next start applies it again (SAFETY 4).
      if (volume) {
        volume.syncFailed = true;
        if (volume.state !== 'abnormal') volume.become('abnormal', failure.message);
      }
      this.conditions.raise(subject, {
        code: 'volume_failed',
        severity: 'error',
        message: `syncing ${subject} failed: ${failure.message}; its records stay in the journal, and a restart applies them again`,
        nextCommand: 'restart the daemon, after mending the disk',
      });
      return;
    }
    if (failure.part === 'volume' && volume && volume.state !== 'abnormal') {
      volume.become('abnormal', failure.message);
    }
    this.conditions.raise(subject, {
      code: failure.part === 'segment' ? 'journal_failed' : 'volume_failed',
      severity: 'error',
      message: `apply of ${subject} failed: ${failure.message}; nothing is lost, it is tried again every second`,
      nextCommand: `jnbd journal check ${this.#files.journal}`,
    });
  }

  #applyRecovered(): void {
    for (const volume of this.volumes.values()) {
      const subject = `${this.name}/${volume.catalog.name}`;
      this.conditions.clear(subject, 'volume_space');
      if (!volume.syncFailed) this.conditions.clear(subject, 'volume_failed');
      if (volume.state === 'abnormal' && volume.file && !volume.syncFailed) volume.become('normal');
    }
    this.conditions.clear(this.name, 'journal_failed');
    this.conditions.clear(this.name, 'volume_failed');
  }

  // --- journal

  /** Also in a frozen table: it is applied only when its last record is durable, which is later. */
  #recordMoved(
    header: RecordHeader,
    from: LiveSegment,
    fromOffset: number,
    to: LiveSegment,
    toOffset: number,
  ): void {
    const { volume, number, type } = header;
    const changesBlocks = type !== recordType.catalog && !this.#isJournalOnly(volume);
    this.index
      .tableOf(number)
      .relocate(
        header,
        changesBlocks,
        { sequence: from.header.sequence, offset: fromOffset },
        { sequence: to.header.sequence, offset: toOffset },
      );
  }

  #isJournalOnly(id: number): boolean {
    for (const { catalog } of this.volumes.values())
      if (catalog.id === id) return catalog.journalOnly;
    return true;
  }

  #areaChanged(area: Area): void {
    if (area.state === 'healthy') {
      this.conditions.clear(area.path, 'area_slow');
      return;
    }
    this.conditions.raise(area.path, {
      code: area.state === 'slow' ? 'area_slow' : 'area_failed',
      severity: area.state === 'slow' ? 'warning' : 'error',
      message: `${area.failure}; the journal of group ${this.name} goes on elsewhere where it can`,
      nextCommand: `jnbd group show ${this.name}`,
    });
    if (area.state === 'slow') {
      this.#deps.clock.after(slowAreaRestMilliseconds, () => {
        if (area.state !== 'slow') return;
        area.become('healthy', '');
        this.#areaChanged(area);
      });
    }
  }

  #journalFailed(failure: AreaFailure): void {
    const { durable, newest } = this.watermarks;
    this.#failureText = `the journal of group ${this.name} failed: ${failure.message}; updates ${durable + 1} to ${newest} are not durable, and nothing more is accepted until a restart`;
    if (this.#state === 'normal') this.#become('abnormal');
    this.conditions.raise(this.name, {
      code: 'journal_failed',
      severity: 'error',
      message: this.#failureText,
      nextCommand: `jnbd group show ${this.name}`,
    });
    this.#deps.clock.soon(() => {
      for (const session of this.#sessions()) this.#failWaiting(session);
      this.#hosts.wake();
      this.#changes.fail(new JnbdError('journal_failed', this.#failureText));
    });
  }

  #tick(): void {
    if (this.#state !== 'normal') return;
    this.#forecast.sample(this.#deps.clock.monotonicMilliseconds(), this.chain.usedBytes);
    const slow = this.journal.slowArea(areaSlowMilliseconds);
    if (slow && this.areas.some((area) => area !== slow && area.state === 'healthy')) {
      this.journal.leaveSlowArea(
        slow,
        `journal directory ${slow.path}: a sync takes over ${areaSlowMilliseconds} ms`,
      );
    }
    if (this.journalIsFullFor(recordHeaderBytes * 2)) {
      this.conditions.raise(this.name, {
        code: 'journal_full',
        severity: 'error',
        message: `the journal of group ${this.name} is full and nothing follows it: hosts get ENOSPC`,
        nextCommand: `jnbd follow ${this.name} --from URL   (on another system)`,
      });
    } else {
      this.conditions.clear(this.name, 'journal_full');
    }
    this.#deps.clock.after(tickMilliseconds, () => this.#tick());
  }

  #conditionChanged(condition: Condition, raised: boolean): void {
    this.#deps.event(raised ? condition.code : `${condition.code}_cleared`, condition.message, {
      group: this.name,
      nextCommand: condition.nextCommand,
    });
  }

  // --- catalog

  /** A numbered change of the catalog: in the journal, durable, then in the catalog file. */
  async change(change: CatalogChange): Promise<void> {
    if (this.#state !== 'normal') {
      throw new JnbdError(
        'state_refuses',
        `group ${this.name} is ${this.#state}: ${this.#failureText}`,
      );
    }
    const recordBytes = CatalogChanges.recordBytes(change);
    while (!this.#admitsChange(recordBytes)) {
      await new Promise<void>((resolve) => this.#deps.clock.after(5, resolve));
      if (this.refusesWrites) throw new JnbdError('state_refuses', this.#failureText);
    }
    await this.#changes.append(this.journal, this.index, change);
  }

  #admitsChange(recordBytes: number): boolean {
    const nextSequence = this.chain.current.header.sequence + 1;
    return this.journal.admits(recordBytes) && this.index.admits(1, nextSequence);
  }

  /** Changes of volumes one after the other: names and ids are looked at before and used after. */
  changeVolumes<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#volumeChanges.then(run);
    this.#volumeChanges = result.then(
      () => {},
      () => {},
    );
    return result;
  }

  addVolume(volume: Volume): void {
    this.volumes.set(volume.catalog.name, volume);
    if (volume.catalog.journalOnly && this.retention.get('journal-only') === undefined) {
      this.retention.set('journal-only', this.watermarks.released);
    }
  }

  /** For settings of this system alone, which are not in the journal. */
  replaceCatalog(catalog: Catalog): void {
    this.#changes.replace(catalog);
  }

  /** The volume's records are in no table any more, so its file may go. */
  async forgetVolume(volume: Volume): Promise<void> {
    this.volumes.delete(volume.catalog.name);
    const through = this.watermarks.newest;
    while (this.watermarks.applied < through && this.#state === 'normal') {
      this.#driver?.hurry();
      await new Promise<void>((resolve) => this.#deps.clock.after(5, resolve));
    }
    this.#driver?.forget(volume.catalog.id);
    volume.file?.closeSync();
    if (this.#deps.disk.existsSync(volume.backingFile))
      this.#deps.disk.removeFileSync(volume.backingFile);
  }

  hurryApply(): void {
    this.#driver?.hurry();
  }
}
