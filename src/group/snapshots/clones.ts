import type { Disk } from '../../platform/disk.ts';
import { JnbdError, refusedBySystem, systemErrorCode } from '../../platform/errors.ts';
import type { ExportClient, ExportSession } from '../apply/export.ts';
import type { OpenSession, Volume } from '../apply/volume.ts';
import type { Conditions } from '../catalog/conditions.ts';
import { areaName, type CatalogSnapshot } from '../catalog/snapshots.ts';
import type { Overlay, OverlayVolume } from '../overlays/overlay.ts';
import { OverlayDirectory, type OverlayEntry } from '../overlays/overlay-directory.ts';
import { type OverlayGroup, OverlaySession } from '../overlays/overlay-session.ts';
import { copyUnderlying } from './clone-copy.ts';
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

/** In the directory of a clone. */
export interface CloneEntry extends OverlayEntry {
  /** Numbers are used again behind a fork; time and name are not. */
  readonly snapshot: {
    readonly number: number;
    readonly name: string;
    readonly atMilliseconds: number;
  };
  readonly createdAtMilliseconds: number;
  /** Its stores have all blocks: the snapshot may be gone. */
  readonly isWhole?: true;
}

/** Where the clones of a group are. */
export function cloneDirectory(disk: Disk, files: { readonly clones: string }) {
  return new OverlayDirectory<CloneEntry>(disk, files.clones, 'clone');
}

/** All volumes of a snapshot, to be written to on this system alone. */
export class Clone {
  entry: CloneEntry;
  readonly overlay: Overlay;
  /** Its snapshot went, and what it had of it was not its own. */
  isLost = false;
  /** It takes what it needs of its snapshot. */
  copying: Promise<void> | undefined;

  constructor(entry: CloneEntry, overlay: Overlay) {
    this.entry = entry;
    this.overlay = overlay;
    overlay.isWhole = entry.isWhole === true;
  }

  get name(): string {
    return this.entry.name;
  }

  get volumes(): readonly OverlayVolume[] {
    return this.overlay.volumes;
  }

  /** It needs its snapshot. */
  get isDependent(): boolean {
    return !this.overlay.isWhole && !this.isLost;
  }

  get state(): CloneState {
    if (this.failure !== '') return this.isLost ? 'lost' : 'failed';
    return this.overlay.isWhole ? 'independent' : 'normal';
  }

  /** Why it cannot be used; empty: it can. */
  get failure(): string {
    if (this.isLost) return `snapshot ${this.entry.snapshot.name}, which it is of, is gone`;
    return this.overlay.failure;
  }
}

/** The writable clones of a group on this system. */
export class Clones {
  readonly #group: ClonedGroup;
  readonly #clones = new Map<string, Clone>();
  #directory: OverlayDirectory<CloneEntry> | undefined;
  #isClosed = false;

  constructor(group: ClonedGroup) {
    this.#group = group;
  }

  /** Once the volumes are open. Throws JnbdError catalog_damaged. */
  open(directory: OverlayDirectory<CloneEntry>): void {
    this.#directory = directory;
    for (const entry of directory.entries()) {
      const clone = this.#add(entry, directory.open(entry, this.#group.clock));
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
    for (const { overlay } of this.#clones.values()) yield* overlay.sessions();
  }

  /** Those that need that snapshot. */
  of(number: number): Clone[] {
    return this.list.filter(
      ({ isDependent, entry }) => isDependent && entry.snapshot.number === number,
    );
  }

  /** One of that name was deleted, and is not gone yet. */
  isLeaving(name: string): boolean {
    return this.#directory?.isLeaving(name) ?? false;
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
    return this.#add(entry, this.#opened().make(entry, this.#group.clock));
  }

  #add(entry: CloneEntry, overlay: Overlay): Clone {
    const clone = new Clone(entry, overlay);
    this.#clones.set(entry.name, clone);
    return clone;
  }

  /** Nobody has it open. What was written to it is gone. */
  async remove(clone: Clone): Promise<void> {
    this.#clones.delete(clone.name);
    const { copying } = clone;
    await this.#opened().remove(
      clone.overlay,
      copying?.catch(() => undefined),
    );
    this.#group.conditions.clear(
      `${this.#group.name}@${clone.name}`,
      'clone_unusable',
      `clone ${this.#group.name}@${clone.name} was deleted`,
    );
  }

  /** One connection to a volume of a clone. */
  openSession(clone: Clone, volume: OverlayVolume, client: ExportClient): ExportSession {
    return new OverlaySession(this.#group, clone.overlay, volume, client, (inner) =>
      this.#openUnderlying(clone, volume, inner),
    );
  }

  /**
   * Sees to it that the record which deletes a snapshot may be received here: what clones need of it is theirs
   * before (SAFETY 29). Throws clone_needs_snapshot while that goes on.
   */
  checkDeletable(number: number): void {
    const [clone] = this.of(number);
    if (!clone) return;
    const { name } = this.#group;
    // Not in this turn: what was received in it is in the index, and not in memory or the file that it says.
    this.#group.clock.soon(() => {
      if (this.#isClosed) return;
      void this.#copy(clone).catch((error: unknown) => {
        // It is begun anew when the record comes again.
        if (!(error instanceof JnbdError) && systemErrorCode(error) === undefined) throw error;
      });
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
    await Promise.all(all.map(({ overlay }) => overlay.close()));
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
    this.#opened().write(entry);
    clone.entry = entry;
    clone.overlay.isWhole = true;
    for (const session of clone.overlay.sessions()) session.becameWhole();
  }

  #openUnderlying(clone: Clone, volume: OverlayVolume, client: ExportClient): ExportSession {
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

  #nameOf(clone: Clone, { entry }: OverlayVolume): string {
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

  #opened(): OverlayDirectory<CloneEntry> {
    if (this.#directory) return this.#directory;
    throw new JnbdError('group_state', `group ${this.#group.name} is not open yet`);
  }
}
