import type { Disk } from '../../platform/disk.ts';
import { messageOf, systemErrorCode } from '../../platform/errors.ts';
import { must } from '../../platform/assert.ts';
import { MiB } from '../../platform/limits.ts';
import { type Region, RegionSet } from '../../volume/region-set.ts';
import type { CopiedPiece, WantedContents } from './copied-contents.ts';
import { isSameShown, partedContents, type ShownContents } from './shown-contents.ts';
import type { CatalogVolume } from '../catalog/catalog.ts';
import type { FollowState } from '../catalog/follow-file.ts';
import type { Group } from '../order/group.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import type { GroupWatcher } from '../order/group-watcher.ts';
import { volumesToApply } from '../apply/volume.ts';
import { readRegions, writeRegions } from '../catalog/resync-files.ts';
import { keepsFile } from '../catalog/resync-state.ts';

export interface ResyncOwner {
  /** There are regions to ask for now. */
  askable(): void;
  /** All volumes are of one instant again. */
  resynced(): void;
}

/** Regions that one journal read names. */
export const askedRegionsMax = 256;
/** So much is preserved ahead of what is asked for: two syncs for all of it. */
const preserveBytes = 32 * MiB;
const retryMilliseconds = 5000;

/**
 * The regions whose contents a resync has still to bring, in order. Those that are asked for were preserved
 * before, many at a time. They are taken off the list once their contents are on the device; the resync is
 * over when none is left and the journal is applied as far as any contents show.
 */
export class ResyncedRegions implements WantedContents, GroupWatcher {
  readonly #group: Group;
  readonly #disk: Disk;
  readonly #files: GroupFiles;
  readonly #owner: ResyncOwner;
  /** As the file has them. */
  #durable: readonly Region[];
  /** What is not written; before `#head` everything is. One of length 0 is written, too. */
  #left: Region[] = [];
  #head = 0;
  /** Before this index all are preserved. */
  #preserved = 0;
  #leftBytes = 0;
  #isPreserving = false;
  #hasNews = false;
  #isOver = false;
  #isClosed = false;
  /** How often the list was begun again. */
  #begun = 0;

  /** False: nobody knows any more what was to come, so all of the volumes is. */
  readonly isKnown: boolean;

  /** Throws JnbdError: format_newer. */
  constructor(group: Group, disk: Disk, files: GroupFiles, owner: ResyncOwner) {
    this.#group = group;
    this.#disk = disk;
    this.#files = files;
    this.#owner = owner;
    const { regions, isKnown } = readRegions(disk, files, group.catalog.volumes);
    this.#durable = [...regions.ranges()];
    this.isKnown = isKnown;
    this.startAgain();
    group.watchers.add(this);
    group.clock.soon(() => this.#considerEnd());
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Contents that are still to come. */
  get missingBytes(): number {
    return this.#leftBytes;
  }

  missingBytesOf(volume: number): number {
    let bytes = 0;
    for (let at = this.#head; at < this.#left.length; at += 1) {
      const region = this.#left[at];
      if (region?.volume === volume) bytes += region.length;
    }
    return bytes;
  }

  /** What to ask for; undefined: `askable` follows. Empty: nothing more, or nothing for now. */
  ask(): readonly Region[] | undefined {
    this.#forgetDeleted();
    this.#preserveAhead();
    const end = Math.min(this.#preserved, this.#head + askedRegionsMax);
    const asked = this.#left.slice(this.#head, end).filter(({ length }) => length > 0);
    return asked.length === 0 && this.#isPreserving ? undefined : asked;
  }

  startAgain(): void {
    this.#left = [...this.#durable];
    this.#head = 0;
    this.#preserved = 0;
    this.#begun += 1;
    this.#isPreserving = false;
    this.#hasNews = false;
    this.#leftBytes = this.#left.reduce((bytes, { length }) => bytes + length, 0);
  }

  refusal(piece: CopiedPiece): string | undefined {
    return this.#indexOf(piece) === undefined ? 'it was not asked for' : undefined;
  }

  written(piece: CopiedPiece): void {
    const at = must(this.#indexOf(piece), 'the piece was asked for');
    const { volume, offset, length } = must(this.#left[at], 'the region is there');
    this.#left[at] = { volume, offset: offset + piece.length, length: length - piece.length };
    this.#leftBytes -= piece.length;
    this.#hasNews = true;
    while (this.#left[this.#head]?.length === 0) this.#head += 1;
    this.#preserveAhead();
  }

  get hasNews(): boolean {
    return this.#hasNews;
  }

  get isWritten(): boolean {
    return this.#head >= this.#left.length;
  }

  /** The end is told by `resynced`. */
  cover(contents: ShownContents): () => boolean {
    const left = this.#left.slice(this.#head).filter(({ length }) => length > 0);
    this.#hasNews = false;
    return () => {
      const { follow } = this.#group;
      const state = this.#state;
      // First: contents that nobody asks for any more must not be forgotten to show so much.
      if (!isSameShown(contents, state)) follow.write({ ...state, ...contents });
      writeRegions(this.#disk, this.#files, RegionSet.of(left));
      this.#durable = left;
      this.#considerEnd();
      return false;
    };
  }

  durableAdvanced(): void {
    // Applied is what counts.
  }

  appliedAdvanced(): void {
    this.#considerEnd();
  }

  close(): void {
    this.#isClosed = true;
    this.#group.watchers.delete(this);
  }

  get #state(): FollowState {
    return must(this.#group.follow.state, 'a group that is resynced follows');
  }

  /** The answer has a part of what was asked, in order; it may leave out what cannot be read there. */
  #indexOf({ volume, offset, length }: CopiedPiece): number | undefined {
    const end = Math.min(this.#preserved, this.#head + askedRegionsMax);
    for (let at = this.#head; at < end; at += 1) {
      const region = this.#left[at];
      if (region?.volume !== volume || region.offset !== offset) continue;
      if (length > 0 && length <= region.length) return at;
    }
    return undefined;
  }

  #forgetDeleted(): void {
    const there = new Set(this.#group.catalog.volumes.map(({ id }) => id));
    const isThere = ({ volume }: Region): boolean => there.has(volume);
    if (this.#left.slice(this.#head, this.#head + askedRegionsMax).every(isThere)) return;
    this.#left = this.#left.slice(this.#head).filter(isThere);
    this.#head = 0;
    this.#preserved = 0;
    this.#begun += 1;
    this.#isPreserving = false;
    this.#hasNews = true;
    this.#leftBytes = this.#left.reduce((bytes, { length }) => bytes + length, 0);
  }

  #preserveAhead(): void {
    if (this.#isPreserving || this.#isClosed) return;
    if (this.#state.resync?.consistentAt === null) {
      this.#preserved = this.#left.length;
      return;
    }
    if (this.#isFarAhead() || this.#preserved >= this.#left.length) return;
    this.#preserve(this.#cutNext());
  }

  /** Half of what is preserved at once is there, or half of what one read asks for. */
  #isFarAhead(): boolean {
    let bytes = 0;
    for (let at = this.#head; at < this.#preserved; at += 1) {
      bytes += this.#left[at]?.length ?? 0;
      if (bytes >= preserveBytes / 2) return true;
    }
    return this.#preserved - this.#head >= askedRegionsMax;
  }

  /** The next regions that are to be preserved, one cut in two where it is large. */
  #cutNext(): readonly Region[] {
    const next: Region[] = [];
    let bytes = 0;
    for (let at = this.#preserved; next.length < askedRegionsMax * 4; at += 1) {
      const region = this.#left[at];
      if (!region || bytes >= preserveBytes) break;
      const { volume, offset, length } = region;
      const fitting = preserveBytes - bytes;
      const isKept = keepsFile(this.#state, volume);
      if (isKept && length > fitting) {
        const rest = { volume, offset: offset + fitting, length: length - fitting };
        this.#left.splice(at, 1, { volume, offset, length: fitting }, rest);
      }
      const taken = must(this.#left[at], 'the region is there');
      if (isKept) bytes += taken.length;
      next.push(taken);
    }
    return next;
  }

  #preserve(regions: readonly Region[]): void {
    const { driver, volumes, clock, name, conditions } = this.#group;
    const begun = this.#begun;
    this.#isPreserving = true;
    driver.requests.preserve(regions, volumesToApply(volumes.values()), (failure) => {
      if (this.#isClosed || begun !== this.#begun) return;
      if (failure) {
        conditions.raise(name, {
          code: 'resync_waits',
          severity: 'error',
          message: `the resync of group ${name} waits: what it would overwrite cannot be saved before: ${failure.message}; it is tried again every ${retryMilliseconds / 1000} seconds`,
          nextCommand: `df ${this.#files.directory}`,
        });
        clock.after(retryMilliseconds, () => {
          if (this.#isClosed || begun !== this.#begun) return;
          this.#isPreserving = false;
          this.#preserveAhead();
        });
        return;
      }
      this.#isPreserving = false;
      this.#preserved += regions.length;
      conditions.clear(name, 'resync_waits', `the resync of group ${name} goes on`);
      this.#owner.askable();
    });
  }

  #considerEnd(): void {
    const { watermarks, follow, name, conditions, clock } = this.#group;
    if (this.#isOver || this.#isClosed || this.#durable.length > 0) return;
    const state = this.#state;
    if (watermarks.applied < state.shows || partedContents(this.#group)) return;
    let removed: readonly CatalogVolume[];
    try {
      removed = this.#gone(state).filter((volume) => !this.#keep(volume));
      follow.write({ ...state, resync: undefined });
    } catch (error) {
      conditions.raise(name, {
        code: 'resync_waits',
        severity: 'error',
        message: `the resync of group ${name} cannot be ended: ${messageOf(error)}; it is tried again every ${retryMilliseconds / 1000} seconds`,
        nextCommand: `df ${this.#files.directory}`,
      });
      clock.after(retryMilliseconds, () => this.#considerEnd());
      return;
    }
    this.#isOver = true;
    this.#end(removed);
  }

  /** Their files were kept in case that the resync is taken back. */
  #gone({ resync }: FollowState): readonly CatalogVolume[] {
    const there = new Set(this.#group.catalog.volumes.map(({ id }) => id));
    const volumes = resync?.consistentAt?.volumes ?? [];
    return volumes.filter(({ id, journalOnly }) => !journalOnly && !there.has(id));
  }

  /** For a while, as what a record deletes. Throws system errors. */
  #keep(volume: CatalogVolume): boolean {
    const { deleted, catalog, watermarks } = this.#group;
    return deleted.keepGone(catalog, volume, watermarks.applied);
  }

  /** A crash in it leaves files that the next start removes. */
  #end(removed: readonly CatalogVolume[]): void {
    const { volumes, driver, name, conditions } = this.#group;
    conditions.clear(name, 'resync_waits', `the resync of group ${name} is over`);
    for (const volume of volumes.values()) {
      const isHidden = volume.state === 'unused' && volume.catalog.state === 'normal';
      if (isHidden) volume.become('normal');
    }
    driver.requests.dropPreserved();
    for (const { id } of removed) this.#remove(this.#files.volume(id));
    this.#remove(this.#files.resyncRegions);
    this.#group.changed();
    this.#owner.resynced();
  }

  #remove(path: string): void {
    try {
      if (this.#disk.existsSync(path)) this.#disk.removeFileSync(path);
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
    }
  }
}
