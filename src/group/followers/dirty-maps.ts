import { must } from '../../platform/assert.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import type { Disk } from '../../platform/disk.ts';
import { JnbdError, messageOf, refusedBySystem } from '../../platform/errors.ts';
import { slabBytes } from '../../platform/limits.ts';
import { type MapPosition, readDirtyMap, writeDirtyMap } from '../../volume/dirty-map.ts';
import { RegionSet } from '../../volume/region-set.ts';
import type { RegionAnswer, RegionFailure } from '../../volume/region-work.ts';
import { regionsChanged } from './changed-regions.ts';
import { dirtyMapOwner, type KeptMap } from '../catalog/dirty-map-files.ts';
import type { MappedGroup } from './follower-holds.ts';
import type { GroupFiles } from '../catalog/group-files.ts';
import { positionOf } from '../catalog/lineage.ts';
import { findPinned, scannedSegmentsMax, segmentsBehind } from '../apply/segments-behind.ts';

/** So often segments that cannot be read are tried; then all that they may have changed is taken as changed. */
const attemptsMax = 3;
const retryMilliseconds = 1000;
/** At once, where the journal is nearly full. */
const tightSegmentsMax = 2;

interface DirtyMapState extends KeptMap {
  /** The worker brings it forward. */
  isBusy: boolean;
  /** Its follower was told of it as it is, and will come back behind it: it stays until there is no room. */
  isPromised: boolean;
  failures: number;
  retry: Timer | undefined;
  readonly waiting: (() => void)[];
}

interface Dependencies {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly event: (code: string, message: string, fields: Record<string, unknown>) => void;
  /** There is no map for that system any more, and records that it does not have are let go of. */
  readonly lost: (systemId: number) => void;
}

/**
 * What changed since followers were left behind, so that they come back by the difference. Each map is a
 * file, which the apply worker brings forward whenever nothing else needs a whole segment any more; until
 * then the journal keeps what is not in it (SAFETY 13).
 */
export class DirtyMaps {
  readonly #deps: Dependencies;
  readonly #group: MappedGroup;
  readonly #files: GroupFiles;
  readonly #maps = new Map<number, DirtyMapState>();
  #isClosed = false;

  /** `kept`: as the files have them. */
  constructor(deps: Dependencies, group: MappedGroup, files: GroupFiles, kept: readonly KeptMap[]) {
    this.#deps = deps;
    this.#group = group;
    this.#files = files;
    for (const map of kept) this.#maps.set(map.systemId, stateOf(map));
  }

  find(systemId: number): KeptMap | undefined {
    return this.#maps.get(systemId);
  }

  /** Holds what is in no file yet. */
  hold(): void {
    const { retention } = this.#group;
    retention.drop(dirtyMapOwner);
    const reached = [...this.#maps.values()].map(({ through }) => through);
    if (reached.length > 0) retention.set(dirtyMapOwner, Math.min(...reached));
  }

  /**
   * Everything that changes behind `from` is noted from now on. False: that cannot be written, or volumes
   * store nothing here, or the group is closed, and then the follower comes back by a comparison only.
   */
  begin(systemId: number, from: number): boolean {
    const own = positionOf(this.#group.catalog.lineage, from);
    return this.replace(systemId, from, new RegionSet(), own, own);
  }

  /** As `begin`, with what is known already: everything up to `own`, which `through` stands for elsewhere. */
  replace(
    systemId: number,
    from: number,
    regions: RegionSet,
    through: MapPosition,
    own: MapPosition,
  ): boolean {
    this.#forget(systemId);
    const { catalog } = this.#group;
    if (this.#isClosed || this.#group.storing.size === 0) return false;
    try {
      const map = { groupId: catalog.groupId, systemId, from, through, own, regions };
      writeDirtyMap(this.#deps.disk, this.#files.dirtyMap(systemId), map);
    } catch (error) {
      this.#tellNotWritten(systemId, messageOf(error));
      return false;
    }
    const kept = { systemId, from, through: own.number, bytes: regions.bytes };
    this.#maps.set(systemId, stateOf(kept));
    this.hold();
    return true;
  }

  /**
   * Its follower comes back behind `through`, where the group's own journal is about to begin anew: what
   * `regions` and the group's own updates behind the map, or behind `reached` where there is none, change.
   * Of updates behind the fork it will have none: then it comes back from there.
   */
  async leap(
    systemId: number,
    reached: number,
    regions: RegionSet,
    through: MapPosition,
    fork: number,
  ): Promise<void> {
    const map = this.#maps.get(systemId);
    while (map?.isBusy) await new Promise<void>((resolve) => map.waiting.push(resolve));
    const { durable, released } = this.#group.watermarks;
    const isBeforeFork = (map?.from ?? reached) <= fork;
    if (!isBeforeFork && fork < released) {
      this.remove(systemId);
      return;
    }
    const from = isBeforeFork ? (map?.from ?? reached) : fork;
    const all = map && isBeforeFork ? this.#read(map) : new RegionSet();
    const known = map && isBeforeFork ? map.through : from;
    const changed = await this.#changedBehind(known, durable);
    if (!changed) {
      this.remove(systemId);
      return;
    }
    all.addAll(changed);
    all.addAll(regions);
    const own = positionOf(this.#group.catalog.lineage, durable);
    this.replace(systemId, from, all, through, own);
  }

  /** Undefined: the journal cannot be read. */
  async #changedBehind(from: number, through: number): Promise<RegionSet | undefined> {
    try {
      return await regionsChanged(this.#group, from, through);
    } catch (error) {
      if (error instanceof JnbdError && error.code === 'record_unreadable') return undefined;
      throw error;
    }
  }

  /** Its follower is back, or gone. */
  remove(systemId: number): void {
    if (!this.#forget(systemId)) return;
    this.#removeFile(systemId);
    this.hold();
  }

  /** Something is on its way, so that the journal has more room soon. */
  get isMoving(): boolean {
    return [...this.#maps.values()].some(({ isBusy }) => isBusy);
  }

  /** The journal is full: who was told to come back may find that more has changed. */
  forgetPromises(): void {
    for (const map of this.#maps.values()) map.isPromised = false;
    this.consider();
  }

  /** Brings maps forward over whole segments that a checkpoint covers and nobody else needs. */
  consider(): void {
    if (this.#isClosed || this.#maps.size === 0 || !this.#group.isReadable) return;
    const through = this.#wholeSegments();
    for (const map of this.#maps.values()) {
      const isAtRest = !map.isBusy && !map.isPromised && map.retry === undefined;
      if (isAtRest && through > map.through) this.#extend(map, through);
    }
  }

  /**
   * What changed behind `position`, and the number that this is true for, from which the follower goes on;
   * at least `behind`, which is applied. Undefined: it is not known. Rejects with JnbdError: record_unreadable,
   * write_failed, disk_full, state_refuses.
   */
  async regionsSince(
    systemId: number,
    position: number,
    behind: number,
  ): Promise<{ readonly through: number; readonly regions: RegionSet } | undefined> {
    const map = this.#maps.get(systemId);
    if (!map || map.from > position) return undefined;
    map.isPromised = true;
    while (map.isBusy || map.through < behind) {
      if (!map.isBusy) this.#extend(map, this.#group.watermarks.applied);
      const { failures } = map;
      await new Promise<void>((resolve) => map.waiting.push(resolve));
      if (this.#isClosed || this.#maps.get(systemId) !== map) {
        const text = `group ${this.#group.catalog.name} is being changed; ask again`;
        throw new JnbdError('shutting_down', text);
      }
      if (map.failures > failures) {
        const text = `what changed for follower ${systemId} cannot be brought up to ${behind}; ask again`;
        throw new JnbdError('record_unreadable', text);
      }
    }
    return { through: map.through, regions: this.#read(map) };
  }

  /** As the file has them; volumes that are gone, and what reaches behind their ends, left out. */
  #read({ systemId }: DirtyMapState): RegionSet {
    const path = this.#files.dirtyMap(systemId);
    try {
      const map = must(readDirtyMap(this.#deps.disk, path), `${path} was written`);
      return clipped(map.regions, this.#group);
    } catch (error) {
      throw refusedBySystem(error, 'read_failed', `cannot read ${path}`) ?? error;
    }
  }

  /**
   * What changed behind `position` of what the journal has not any more, and the number behind which it has
   * everything; undefined: no map reaches back so far. Throws JnbdError, system errors.
   */
  changedBehind(
    position: number,
  ): { readonly through: number; readonly regions: RegionSet } | undefined {
    const found = [...this.#maps.values()].find(
      ({ from, through }) => from <= position && position <= through,
    );
    const path = this.#files.dirtyMap(found?.systemId ?? 0);
    const map = found && readDirtyMap(this.#deps.disk, path);
    return found && map && { through: found.through, regions: map.regions };
  }

  close(): void {
    this.#isClosed = true;
    for (const map of this.#maps.values()) {
      map.retry?.cancel();
      wake(map);
    }
  }

  #wholeSegments(): number {
    const { chain, retention, driver } = this.#group;
    const { applied, sequence: kept } = driver.checkpoint;
    const limit = retention.releasable(applied, dirtyMapOwner);
    let through = 0;
    for (const { header, lastNumber } of chain.live()) {
      if (header.sequence >= kept || lastNumber > limit) break;
      through = lastNumber;
    }
    return through;
  }

  #extend(map: DirtyMapState, to: number): void {
    const { chain, catalog, driver } = this.#group;
    // Hosts that wait for room get some soon.
    const segmentsMax = chain.isTight ? tightSegmentsMax : scannedSegmentsMax;
    const segments = segmentsBehind(chain, map.through, to).slice(0, segmentsMax);
    const reached = Math.min(to, segments.at(-1)?.lastNumber ?? 0);
    map.isBusy = true;
    const work = {
      kind: 'extend_map',
      path: this.#files.dirtyMap(map.systemId),
      segments: segments.map(({ scanned }) => scanned),
      from: map.through,
      through: positionOf(catalog.lineage, Math.max(reached, map.through + 1)),
      whole: map.failures < attemptsMax ? undefined : wholeVolumes(this.#group),
    } as const;
    findPinned(driver, segments, work, (answer) => this.#extended(map, answer));
  }

  #extended(map: DirtyMapState, answer: RegionAnswer | undefined): void {
    map.isBusy = false;
    if (this.#isClosed || !answer) return;
    const { systemId } = map;
    if (this.#maps.get(systemId) !== map) {
      // It came back while its map was being written.
      if (!this.#maps.has(systemId)) this.#removeFile(systemId);
      return;
    }
    if (answer.kind === 'map_extended') {
      map.through = answer.through;
      map.bytes = answer.bytes;
      map.failures = 0;
      if (answer.isWhole) this.#tellWhole(map);
      this.hold();
      wake(map);
      this.#group.release();
      this.consider();
      return;
    }
    if (answer.kind === 'region_failure') this.#failed(map, answer.failure);
    wake(map);
  }

  #failed(map: DirtyMapState, { part, message }: RegionFailure): void {
    map.failures += 1;
    const { systemId } = map;
    this.#tellNotWritten(systemId, message);
    // Hosts do not wait for a file that cannot be written.
    const { state, chain } = this.#group;
    if (part === 'file' && (state !== 'normal' || chain.isFullFor(slabBytes))) {
      this.remove(systemId);
      this.#deps.lost(systemId);
      this.#group.release();
      return;
    }
    map.retry = this.#deps.clock.after(retryMilliseconds, () => {
      map.retry = undefined;
      this.consider();
    });
  }

  #forget(systemId: number): boolean {
    const map = this.#maps.get(systemId);
    if (!map) return false;
    this.#maps.delete(systemId);
    map.retry?.cancel();
    wake(map);
    return true;
  }

  /** What stays is removed at the next start. */
  #removeFile(systemId: number): void {
    const { disk } = this.#deps;
    const path = this.#files.dirtyMap(systemId);
    try {
      if (disk.existsSync(path)) disk.removeFileSync(path);
    } catch (error) {
      this.#tell('dirty_map_not_removed', systemId, `cannot remove ${path}: ${messageOf(error)}`);
    }
  }

  #tellNotWritten(systemId: number, why: string): void {
    const path = this.#files.dirtyMap(systemId);
    this.#tell('dirty_map_not_written', systemId, `what changed is not in ${path} yet: ${why}`);
  }

  #tellWhole({ systemId }: DirtyMapState): void {
    const text = `the journal cannot be read: for system ${systemId} all volumes count as changed`;
    this.#tell('dirty_map_whole', systemId, text);
  }

  #tell(code: string, systemId: number, message: string): void {
    this.#deps.event(code, message, { group: this.#group.catalog.name, systemId });
  }
}

function stateOf(map: KeptMap): DirtyMapState {
  return { ...map, isBusy: false, isPromised: false, failures: 0, retry: undefined, waiting: [] };
}

function wake({ waiting }: DirtyMapState): void {
  for (const resolve of waiting.splice(0)) resolve();
}

function wholeVolumes({ catalog }: MappedGroup): { id: number; sizeBytes: number }[] {
  return catalog.volumes.map(({ id, sizeBytes }) => ({ id, sizeBytes }));
}

/** Of volumes that there are, and that store anything. */
export function clipped(regions: RegionSet, { catalog }: Pick<MappedGroup, 'catalog'>): RegionSet {
  const volumes = new Map(catalog.volumes.map((volume) => [volume.id, volume]));
  for (const id of regions.volumes()) {
    const volume = volumes.get(id);
    if (!volume || volume.journalOnly) regions.forget(id);
    else regions.clip(id, volume.sizeBytes);
  }
  return regions;
}
