import type { Watermarks } from '../../journal/watermarks.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { messageOf, systemErrorCode } from '../../platform/errors.ts';
import type { Catalog, CatalogVolume } from '../catalog/catalog.ts';
import type { GroupWatcher } from './group-watcher.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { readSealedJson, writeSealedJson } from '../catalog/sealed-json.ts';
import type { ApplyDriver } from '../apply/apply-driver.ts';
import { Volume } from '../apply/volume.ts';
import type { Followers } from '../followers/followers.ts';

/** Where the catalog does not say (SAFETY 34). */
export const deleteDelayMillisecondsDefault = 10 * 60_000;

/** A volume that the group's source deleted, and whose file is still here. */
export interface KeptVolume {
  /** As it was last in the catalog. */
  readonly entry: CatalogVolume;
  /** Of the record that deleted it: what stands before that is in its file, or comes to it. */
  readonly number: number;
  /** Unix time. */
  readonly deletedAtMilliseconds: number;
  readonly removeAtMilliseconds: number;
}

interface KeptFile {
  readonly formatVersion: 1;
  readonly volumes: readonly KeptVolume[];
}

interface Dependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
}

/** What is asked of the group that the volumes were in. */
interface LosingGroup {
  readonly name: string;
  readonly catalog: Catalog;
  readonly watermarks: Watermarks;
  readonly driver: ApplyDriver;
  readonly followers: Followers;
  readonly volumes: Map<string, Volume>;
  readonly watchers: Set<GroupWatcher>;
}

const retryMilliseconds = 10_000;

/**
 * Volumes that a follower's source deleted: hosts get them no more, and their files stay for a while,
 * complete up to the record that deleted them. Which ones is in a file of its own, durable before the
 * catalog has lost them: what no catalog and not this file names is taken away at the next start.
 */
export class DeletedVolumes implements GroupWatcher {
  readonly #deps: Dependencies;
  readonly #files: GroupFiles;
  #kept: readonly KeptVolume[];
  /** Those whose files could be opened, by id. */
  readonly #open = new Map<number, Volume>();
  /** Of these, apply is told that they are gone when it has come behind their deletion. */
  readonly #applying = new Set<number>();
  #group: LosingGroup | undefined;
  #timer: Timer | undefined;

  /** Throws JnbdError: catalog_damaged, format_newer. */
  constructor(deps: Dependencies, files: GroupFiles) {
    this.#deps = deps;
    this.#files = files;
    this.#kept = readSealedJson<KeptFile>(deps.disk, files.deleted)?.volumes ?? [];
  }

  list(): readonly { readonly kept: KeptVolume; readonly volume: Volume | undefined }[] {
    return this.#kept.map((kept) => ({ kept, volume: this.#open.get(kept.entry.id) }));
  }

  has(id: number): boolean {
    return this.#kept.some(({ entry }) => entry.id === id);
  }

  /** What stands before their deletion is still to be applied to them. */
  *applying(): Generator<Volume> {
    for (const id of this.#applying) {
      const volume = this.#open.get(id);
      if (volume) yield volume;
    }
  }

  /**
   * Durable when it returns: the volume's file stays though the catalog loses it. False: a group of this
   * catalog keeps nothing. Throws system errors.
   */
  keep(catalog: Catalog, id: number, number: number): boolean {
    const entry = catalog.volumes.find((volume) => volume.id === id);
    const delay = catalog.deleteDelayMilliseconds ?? deleteDelayMillisecondsDefault;
    const isSecondary = (catalog.role ?? 'primary') !== 'primary';
    if (!entry || entry.journalOnly || entry.state === 'unused') return false;
    if (delay === 0 || !isSecondary || this.#isIncomplete(id)) return false;
    if (this.has(id)) return true;
    const now = this.#deps.clock.wallMilliseconds();
    const times = { deletedAtMilliseconds: now, removeAtMilliseconds: now + delay };
    this.#write([...this.#kept, { entry, number, ...times }]);
    return true;
  }

  /** As `keep`, for a volume that the catalog lost without a record, as a resync makes it. */
  keepGone(catalog: Catalog, entry: CatalogVolume, applied: number): boolean {
    const isKept = this.keep({ ...catalog, volumes: [entry] }, entry.id, applied);
    if (isKept) this.#arm();
    return isKept;
  }

  /** The catalog has lost the volume, which `keep` was called for. */
  hide(volume: Volume): void {
    const { id, name } = volume.catalog;
    this.#group?.volumes.delete(name);
    this.#group?.followers.journalOnlyChanged();
    this.#open.set(id, volume);
    if (volume.file) this.#applying.add(id);
    this.#tell(
      'volume_hidden',
      volume.catalog,
      'was deleted at its source; its file stays for now',
    );
    this.#arm();
  }

  /** There is a volume of that id again, as after a return to an earlier update, or a new one. */
  forget(id: number): void {
    if (!this.has(id)) return;
    this.#open.get(id)?.file?.closeSync();
    this.#open.delete(id);
    this.#applying.delete(id);
    this.#write(this.#kept.filter(({ entry }) => entry.id !== id));
  }

  /** The group has its volumes: what it names itself is not deleted, the rest is opened for apply. */
  start(group: LosingGroup): void {
    this.#group = group;
    group.watchers.add(this);
    const named = new Set(group.catalog.volumes.map(({ id }) => id));
    for (const { entry } of this.#kept) if (named.has(entry.id)) this.forget(entry.id);
    for (const { entry, number } of this.#kept) {
      const path = this.#files.volume(entry.id);
      try {
        const file = this.#deps.disk.openSync(path, 'read-write', 'volume');
        this.#open.set(entry.id, new Volume(entry, file, path));
      } catch (error) {
        if (systemErrorCode(error) === undefined) throw error;
        continue;
      }
      if (number > group.watermarks.applied) this.#applying.add(entry.id);
    }
    this.#arm();
  }

  durableAdvanced(): void {
    // What is hidden is told by `hide`.
  }

  appliedAdvanced(applied: number): void {
    if (this.#applying.size === 0) return;
    for (const { entry, number } of this.#kept) {
      if (number > applied || !this.#applying.delete(entry.id)) continue;
      this.#group?.driver.forget(entry.id);
    }
  }

  close(): void {
    this.#timer?.cancel();
    this.#group?.watchers.delete(this);
    for (const { file } of this.#open.values()) file?.closeSync();
    this.#open.clear();
    this.#applying.clear();
  }

  /** Its contents are being copied, or brought up to date: its file is of no use. */
  #isIncomplete(id: number): boolean {
    const volumes = [...(this.#group?.volumes.values() ?? [])];
    return volumes.some((volume) => volume.catalog.id === id && volume.state === 'unused');
  }

  #arm(): void {
    this.#timer?.cancel();
    if (this.#kept.length === 0) return;
    const now = this.#deps.clock.wallMilliseconds();
    const waits = this.#kept.map((kept) => {
      const left = kept.removeAtMilliseconds - now;
      // A clock that was set back keeps nothing for longer than it was to be kept.
      return Math.max(0, Math.min(left, kept.removeAtMilliseconds - kept.deletedAtMilliseconds));
    });
    this.#armAfter(Math.min(...waits));
  }

  #armAfter(milliseconds: number): void {
    this.#timer = this.#deps.clock.after(milliseconds, () => this.#removeDue());
  }

  #removeDue(): void {
    const now = this.#deps.clock.wallMilliseconds();
    const due = this.#kept.filter(({ entry, deletedAtMilliseconds, removeAtMilliseconds }) => {
      const isSetBack = now < deletedAtMilliseconds;
      return (isSetBack || removeAtMilliseconds <= now) && !this.#applying.has(entry.id);
    });
    try {
      for (const { entry } of due) this.#remove(entry);
    } catch (error) {
      this.#tell('volume_not_removed', due[0]?.entry, messageOf(error));
      this.#armAfter(retryMilliseconds);
      return;
    }
    const isWaiting = this.#applying.size > 0 && due.length === 0;
    if (isWaiting) this.#armAfter(retryMilliseconds);
    else this.#arm();
  }

  /** The file first: a crash behind that leaves an entry without one, which is removed again. */
  #remove(entry: CatalogVolume): void {
    const { disk } = this.#deps;
    const path = this.#files.volume(entry.id);
    this.#open.get(entry.id)?.file?.closeSync();
    this.#open.delete(entry.id);
    if (disk.existsSync(path)) disk.removeFileSync(path);
    this.#write(this.#kept.filter((kept) => kept.entry.id !== entry.id));
    this.#tell('volume_removed', entry, 'was deleted at its source, and its file is removed now');
  }

  #write(volumes: readonly KeptVolume[]): void {
    const { disk } = this.#deps;
    const file: KeptFile = { formatVersion: 1, volumes };
    writeSealedJson(disk, this.#files.deleted, file);
    this.#kept = volumes;
  }

  #tell(code: string, entry: CatalogVolume | undefined, what: string): void {
    const group = this.#group?.name ?? '';
    const name = `${group}/${entry?.name ?? ''}`;
    this.#deps.event(code, `volume ${name} ${what}`, { group, volume: name });
  }
}
