import { PrivateStore } from '../../history/private-store.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, messageOf, refusedBySystem, systemErrorCode } from '../../platform/errors.ts';
import type { ExportClient, ExportSession } from '../apply/export.ts';
import type { OpenSession, Volume } from '../apply/volume.ts';
import { CountedVolumeMetrics } from '../apply/volume-metrics.ts';
import type { Conditions } from '../catalog/conditions.ts';
import { areaName, type CatalogSnapshot } from '../catalog/snapshots.ts';
import { copyUnderlying } from './clone-copy.ts';
import { type CloneEntry, CloneFiles, type CloneVolumeEntry } from './clone-files.ts';
import { type OverlayGroup, OverlaySession, type OverlayVolume } from './overlay-session.ts';
import {
  type SnapshotOfVolume,
  type SnapshotReadGroup,
  SnapshotSession,
} from './snapshot-session.ts';

export interface ClonedGroup extends SnapshotReadGroup, OverlayGroup {
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly conditions: Conditions;
}

/**
 * `normal`: over its snapshot. `independent`: all of it is its own. `lost`: its snapshot went without it, as when
 * volumes were put back to before it. `failed`: its files cannot be used.
 */
export type CloneState = 'normal' | 'independent' | 'lost' | 'failed';

/** One volume of a clone while its group is open. */
export class CloneVolume {
  readonly entry: CloneVolumeEntry;
  readonly store: PrivateStore | undefined;
  readonly metrics = new CountedVolumeMetrics();
  readonly sessions = new Set<OverlaySession>();

  constructor(entry: CloneVolumeEntry, store: PrivateStore | undefined) {
    this.entry = entry;
    this.store = store;
  }
}

/** All volumes of a snapshot, to be written to on this system alone. */
export class Clone {
  entry: CloneEntry;
  readonly volumes: readonly CloneVolume[];
  readonly #failure: string;
  /** Its snapshot went, and what it had of it was not its own. */
  isLost = false;
  /** It takes what it needs of its snapshot. */
  copying: Promise<void> | undefined;

  constructor(entry: CloneEntry, volumes: readonly CloneVolume[], failure: string) {
    this.entry = entry;
    this.volumes = volumes;
    this.#failure = failure;
  }

  get name(): string {
    return this.entry.name;
  }

  /** It needs its snapshot. */
  get isDependent(): boolean {
    return this.entry.isWhole !== true && !this.isLost;
  }

  get state(): CloneState {
    if (this.failure !== '') return this.isLost ? 'lost' : 'failed';
    return this.entry.isWhole === true ? 'independent' : 'normal';
  }

  /** Why it cannot be used; empty: it can. */
  get failure(): string {
    if (this.isLost) return `snapshot ${this.entry.snapshot.name}, which it is of, is gone`;
    const failed = this.volumes.find(({ store }) => store && store.failure !== '');
    return this.#failure || (failed?.store?.failure ?? '');
  }

  get allocatedBytes(): number {
    return this.volumes.reduce((sum, { store }) => sum + (store?.allocatedBytes ?? 0), 0);
  }
}

/** The writable clones of a group on this system. */
export class Clones {
  readonly #group: ClonedGroup;
  readonly #clones = new Map<string, Clone>();
  #disk: Disk | undefined;
  #files: CloneFiles | undefined;
  #isClosed = false;

  constructor(group: ClonedGroup) {
    this.#group = group;
  }

  /** Once the volumes are open. Throws JnbdError catalog_damaged. */
  open(disk: Disk, directory: string): void {
    this.#disk = disk;
    this.#files = new CloneFiles(disk, directory);
    for (const entry of this.#files.list()) {
      const clone = this.#openStores(disk, this.#files, entry);
      clone.isLost = entry.isWhole !== true && !this.#snapshotOf(entry);
      if (clone.failure !== '') this.#raise(clone);
    }
  }

  get list(): readonly Clone[] {
    return [...this.#clones.values()];
  }

  find(name: string): Clone | undefined {
    return this.#clones.get(name);
  }

  *sessions(): Generator<OpenSession> {
    for (const { volumes } of this.#clones.values())
      for (const { sessions } of volumes) yield* sessions;
  }

  /** Those that need that snapshot. */
  of(number: number): Clone[] {
    return this.list.filter(
      ({ isDependent, entry }) => isDependent && entry.snapshot.number === number,
    );
  }

  /** Names are the caller's to check. Throws system errors, and then there is none. */
  create(name: string, snapshot: CatalogSnapshot, createdAtMilliseconds: number): Clone {
    const { number, name: snapshotName, atMilliseconds } = snapshot;
    const volumes = this.#volumesOf(snapshot).map(({ volume, area }) => ({
      id: volume.catalog.id,
      name: volume.catalog.name,
      dataBytes: area.catalog.preserves?.dataBytes ?? 0,
    }));
    const entry: CloneEntry = {
      formatVersion: 1,
      name,
      snapshot: { number, name: snapshotName, atMilliseconds },
      createdAtMilliseconds,
      volumes,
    };
    const [disk, files] = this.#opened();
    files.make(entry);
    return this.#openStores(disk, files, entry);
  }

  /** Nobody has it open. What was written to it is gone. */
  async remove(clone: Clone): Promise<void> {
    this.#clones.delete(clone.name);
    await clone.copying?.catch(() => undefined);
    for (const { store } of clone.volumes) await store?.close();
    this.#opened()[1].remove(clone.name);
    this.#group.conditions.clear(
      `${this.#group.name}@${clone.name}`,
      'clone_unusable',
      `clone ${this.#group.name}@${clone.name} was deleted`,
    );
  }

  /** One connection to a volume of a clone. */
  openSession(clone: Clone, volume: CloneVolume, client: ExportClient): ExportSession {
    const overlay = this.#overlayOf(clone, volume);
    const session = new OverlaySession(this.#group, overlay, client, (inner) =>
      this.#openUnderlying(clone, volume, inner),
    );
    volume.sessions.add(session);
    return session;
  }

  /**
   * Sees to it that the record which deletes a snapshot may be received here: what clones need of it is theirs
   * before (SAFETY 29). Throws clone_needs_snapshot while that goes on.
   */
  checkDeletable(number: number): void {
    const [clone] = this.of(number);
    if (!clone) return;
    const { name } = this.#group;
    void this.#copy(clone).catch((error: unknown) => {
      // It is begun anew when the record comes again.
      if (!(error instanceof JnbdError) && systemErrorCode(error) === undefined) throw error;
    });
    const why = clone.failure === '' ? '' : ` (which fails: ${clone.failure})`;
    throw new JnbdError(
      'clone_needs_snapshot',
      `snapshot ${name}@${clone.entry.snapshot.name} was deleted there, and clone ${name}@${clone.name} copies what it needs of it first${why}`,
    );
  }

  /** The same for all clones of snapshots that `stays` does not have; rejects with JnbdError and system errors. */
  async keep(stays: (snapshot: CloneEntry['snapshot']) => boolean): Promise<void> {
    for (const clone of this.list) {
      if (!clone.isDependent || clone.failure !== '' || stays(clone.entry.snapshot)) continue;
      try {
        await this.#copy(clone);
      } catch (error) {
        const what = `clone ${this.#group.name}@${clone.name} cannot take what it needs`;
        throw refusedBySystem(error, 'write_failed', what) ?? error;
      }
    }
  }

  /** Syncs what is owed. Sessions were told to go. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#clones.values()];
    await Promise.allSettled(all.flatMap(({ copying }) => copying ?? []));
    const stores = all.flatMap(({ volumes }) => volumes.flatMap(({ store }) => store ?? []));
    await Promise.all(stores.map((store) => store.close()));
  }

  #copy(clone: Clone): Promise<void> {
    clone.copying ??= this.#copyAll(clone).finally(() => {
      clone.copying = undefined;
    });
    return clone.copying;
  }

  async #copyAll(clone: Clone): Promise<void> {
    const { clock, name, snapshots } = this.#group;
    const isClosed = (): boolean => this.#isClosed || this.find(clone.name) !== clone;
    for (const volume of clone.volumes) {
      const { store } = volume;
      if (!store) throw new JnbdError('volume_abnormal', `${name}@${clone.name}: ${clone.failure}`);
      const open = (client: ExportClient) => this.#openUnderlying(clone, volume, client);
      // It was shown when the clone was made: whatever hosts wait for now does not concern it.
      const isReadable = (): boolean =>
        snapshots.isComplete(clone.entry.snapshot.number, volume.entry.id);
      await copyUnderlying(clock, store, this.#nameOf(clone, volume), open, isClosed, isReadable);
    }
    if (isClosed()) return;
    const entry: CloneEntry = { ...clone.entry, isWhole: true };
    this.#opened()[1].write(entry);
    clone.entry = entry;
    for (const { sessions } of clone.volumes) for (const session of sessions) session.becameWhole();
  }

  #openStores(disk: Disk, files: CloneFiles, entry: CloneEntry): Clone {
    let failure = '';
    const volumes = entry.volumes.map((volume) => {
      const path = files.store(entry.name, volume.id);
      try {
        const { clock } = this.#group;
        return new CloneVolume(volume, PrivateStore.open(disk, clock, path, volume.dataBytes));
      } catch (error) {
        if (systemErrorCode(error) === undefined) throw error;
        failure = `${path} cannot be opened: ${messageOf(error)}`;
        return new CloneVolume(volume, undefined);
      }
    });
    const clone = new Clone(entry, volumes, failure);
    this.#clones.set(entry.name, clone);
    return clone;
  }

  #openUnderlying(clone: Clone, volume: CloneVolume, client: ExportClient): ExportSession {
    const { name } = this.#group;
    const snapshot = this.#snapshotOf(clone.entry);
    const all = snapshot ? this.#volumesOf(snapshot) : [];
    const of = all.find((each) => each.volume.catalog.id === volume.entry.id);
    if (!of)
      throw new JnbdError(
        'volume_abnormal',
        `${name}@${clone.name}: snapshot ${clone.entry.snapshot.name} is gone`,
      );
    const session = new SnapshotSession(this.#group, of, client);
    of.area.sessions.add(session);
    return session;
  }

  #overlayOf(clone: Clone, volume: CloneVolume): OverlayVolume {
    const { store, metrics, sessions } = volume;
    const name = this.#nameOf(clone, volume);
    if (!store) throw new JnbdError('volume_abnormal', `${name}: ${clone.failure}`);
    return {
      name,
      store,
      metrics,
      sessions,
      get isWhole() {
        return clone.entry.isWhole === true;
      },
    };
  }

  #nameOf(clone: Clone, { entry }: CloneVolume): string {
    return `${this.#group.name}/${entry.name}@${clone.name}`;
  }

  #snapshotOf({ snapshot: { number, atMilliseconds, name } }: CloneEntry) {
    return this.#group.snapshots.living.find(
      (each) =>
        each.number === number && each.atMilliseconds === atMilliseconds && each.name === name,
    );
  }

  #volumesOf({ number, name, areas }: CatalogSnapshot): SnapshotOfVolume[] {
    const { volumes } = this.#group;
    const byId = new Map([...volumes.values()].map((volume) => [volume.catalog.id, volume]));
    return areas.flatMap(({ volume: id, area: areaId }) => {
      const volume = byId.get(id);
      const area = volumes.get(areaName(areaId));
      return volume && area ? [{ number, name, volume, area }] : [];
    });
  }

  #raise(clone: Clone): void {
    const name = `${this.#group.name}@${clone.name}`;
    this.#group.conditions.raise(name, {
      code: 'clone_unusable',
      severity: 'error',
      message: `clone ${name} cannot be used: ${clone.failure}`,
      nextCommand: `jnbd snapshot delete ${name} --force`,
    });
  }

  #opened(): readonly [Disk, CloneFiles] {
    if (this.#disk && this.#files) return [this.#disk, this.#files];
    throw new JnbdError('group_state', `group ${this.#group.name} is not open yet`);
  }
}
