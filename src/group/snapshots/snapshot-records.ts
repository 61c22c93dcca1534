import type { DiskFile } from '../../platform/disk.ts';
import { JnbdError } from '../../platform/errors.ts';
import { PreservedMap } from '../../history/preserved-map.ts';
import type { SnapshotBlocks, SnapshotPlace } from '../../history/snapshot-read.ts';
import { blockBytes } from '../../platform/limits.ts';
import type { BlockIndex } from '../../volume/block-index.ts';
import type { OpenSession, Volume } from '../apply/volume.ts';
import type { CatalogChange } from '../catalog/catalog.ts';
import {
  areaName,
  type CatalogSnapshot,
  chainOf,
  changeSnapshots,
  isHidden,
  livingSnapshots,
} from '../catalog/snapshots.ts';

/** What snapshots need of the group. */
export interface SnapshotGroup {
  readonly name: string;
  readonly index: BlockIndex;
  readonly volumes: ReadonlyMap<string, Volume>;
}

/** Blocks of a volume that are about to be overwritten belong here, from the newest snapshot's number on. */
export interface OpenArea {
  readonly area: number;
  readonly dataBytes: number;
  readonly file: DiskFile;
  /** Which blocks the area has. */
  readonly own: PreservedMap;
  /** Which blocks no snapshot needs: those, and, where the newest one is deleted, what earlier areas have. */
  readonly map: PreservedMap;
  /**
   * Where the newest snapshot is hidden: what is preserved goes here before, so that it is a link for nobody, and goes
   * without a trace. They have what it has.
   */
  readonly also: readonly OpenArea[];
}

/**
 * The snapshots of a group as its numbered, or received, records have them: a record behind one that makes a
 * snapshot belongs to its time, though that is not durable and the catalog does not have it yet.
 */
export class SnapshotRecords {
  readonly #group: SnapshotGroup;
  #list: readonly CatalogSnapshot[];
  /** By the id of its volume: areas of the newest snapshot that users made, and of hidden ones behind it. */
  readonly #open = new Map<number, number[]>();
  /** The same, with what is needed for each write; made when it is first asked for. */
  readonly #openAreas = new Map<number, OpenArea>();
  /** By area. */
  readonly #maps = new Map<number, PreservedMap>();
  /** Whether host writes may have to preserve. */
  isPreserving = false;

  constructor(group: SnapshotGroup, snapshots: readonly CatalogSnapshot[]) {
    this.#group = group;
    this.#list = snapshots;
    this.#findOpen();
  }

  get list(): readonly CatalogSnapshot[] {
    return this.#list;
  }

  get living(): readonly CatalogSnapshot[] {
    return livingSnapshots(this.#list);
  }

  /** Of maps that are in memory. */
  get mapBytes(): number {
    let bytes = 0;
    for (const map of this.#maps.values()) bytes += map.bytes;
    return bytes;
  }

  /** The change is numbered in this turn, or its record was received. */
  changed(number: number, change: CatalogChange): void {
    if (change.change !== 'snapshot_created' && change.change !== 'snapshot_deleted') return;
    this.#list = changeSnapshots(this.#list, change, number);
    if (change.change === 'snapshot_deleted')
      for (const area of change.areas) this.#maps.delete(area);
    this.#findOpen();
  }

  /** A record for that volume was received: if it is an area, it has these bytes now. */
  received(volume: number, offset: number, length: number): void {
    const first = Math.floor(offset / blockBytes);
    this.#maps.get(volume)?.set(first, Math.ceil((offset + length) / blockBytes));
  }

  /** Who reads that snapshot: its own areas have their sessions. */
  sessionsOf(number: number): OpenSession[] {
    const areas = this.#list.find((snapshot) => snapshot.number === number)?.areas ?? [];
    return areas.flatMap(({ area }) => [
      ...(this.#group.volumes.get(areaName(area))?.sessions ?? []),
    ]);
  }

  /** Undefined: nothing of that volume is to be preserved. Throws where its area cannot be read. */
  openArea(volume: number): OpenArea | undefined {
    const known = this.#openAreas.get(volume);
    if (known) return known;
    const areas = this.#open.get(volume)?.map((area) => this.#openOne(volume, area)) ?? [];
    const newest = areas.pop();
    if (!newest) return undefined;
    const open = { ...newest, also: areas };
    this.#openAreas.set(volume, open);
    return open;
  }

  #openOne(volume: number, area: number): OpenArea {
    const { file, dataBytes } = this.#fileOf(area);
    const own = this.#mapOf(area);
    return { area, dataBytes, file, own, map: this.#coveredFrom(volume, area, own), also: [] };
  }

  /** Which blocks that area has, and its file. Throws where it cannot be read. */
  areaOf(area: number): { readonly map: PreservedMap; readonly file: DiskFile } {
    return { map: this.#mapOf(area), file: this.#fileOf(area).file };
  }

  /**
   * Blocks [from, to) of that area of which its file and the journal do not say what is known of them. Undefined:
   * there are none, or nothing is known but what they say. Throws where it cannot be read.
   */
  mapDifference(area: number): { readonly from: number; readonly to: number } | undefined {
    const known = this.#maps.get(area);
    if (!known) return undefined;
    const { file, dataBytes } = this.#fileOf(area);
    return known.differenceTo(PreservedMap.load(file, area, dataBytes, this.#group.index));
  }

  /** `own` is of that area's snapshot; where that is deleted, blocks count that older ones have. */
  #coveredFrom(volume: number, area: number, own: PreservedMap): PreservedMap {
    const at = this.#list.findIndex(({ areas }) => areas.some((each) => each.area === area));
    const before = this.#list.slice(0, at + 1);
    const newest = livingSnapshots(before).at(-1);
    if (!newest || newest === before.at(-1)) return own;
    const covered = new PreservedMap(own.blocks * blockBytes);
    for (const link of chainOf(before, newest.number, volume) ?? [])
      covered.addAll(this.#mapOf(link));
    return covered;
  }

  /** Whether all files are there that the snapshot of that volume is read from. */
  isComplete(number: number, volume: number): boolean {
    const chain = chainOf(this.#list, number, volume);
    return chain?.every((area) => this.#group.volumes.has(areaName(area))) ?? true;
  }

  /** Where blocks of that snapshot of the volume are; `find` throws once it is deleted. */
  blocks(number: number, volume: Volume): SnapshotBlocks {
    let list = this.#list;
    let chain = chainOf(list, number, volume.catalog.id);
    const now = (): readonly number[] => {
      if (list !== this.#list) chain = chainOf(this.#list, number, volume.catalog.id);
      list = this.#list;
      if (!chain) throw new Error('the snapshot was deleted');
      return chain;
    };
    return {
      find: (block, end, place) => this.#find(now(), volume, block, end, place),
      findAgain: (block, end, place) => {
        const there = now().filter((area) => this.#group.volumes.has(areaName(area)));
        this.#find(there, volume, block, end, place);
      },
    };
  }

  /** Where nobody reads snapshots any more, what is not needed for writing is loaded again when it is. */
  sessionClosed(): void {
    if (this.living.some(({ number }) => this.sessionsOf(number).length > 0)) return;
    const open = new Set([...this.#open.values()].flat());
    for (const area of this.#maps.keys()) if (!open.has(area)) this.#maps.delete(area);
  }

  #findOpen(): void {
    this.#open.clear();
    this.#openAreas.clear();
    const newest = this.#list.findLastIndex((snapshot) => !isHidden(snapshot));
    for (const { areas } of this.#list.slice(Math.max(0, newest))) {
      for (const { volume, area } of areas) {
        // A volume that is younger than all that are not deleted is needed by none of them.
        if (!this.living.some((each) => each.areas.some((its) => its.volume === volume))) continue;
        this.#open.set(volume, [...(this.#open.get(volume) ?? []), area]);
      }
    }
    this.isPreserving = this.#open.size > 0;
  }

  #find(
    chain: readonly number[],
    live: Volume,
    block: number,
    end: number,
    place: SnapshotPlace,
  ): void {
    let stop = end;
    for (const area of chain) {
      const map = this.#mapOf(area);
      if (map.has(block)) {
        place.volume = area;
        place.file = this.#fileOf(area).file;
        place.isLive = false;
        place.end = map.next(false, block, stop);
        return;
      }
      // A later area, or the volume, has no say where this one has something.
      stop = map.next(true, block, stop);
    }
    place.volume = live.catalog.id;
    place.file = live.file;
    place.isLive = true;
    place.end = stop;
  }

  #mapOf(area: number): PreservedMap {
    const known = this.#maps.get(area);
    if (known) return known;
    const { file, dataBytes } = this.#fileOf(area);
    const map = PreservedMap.load(file, area, dataBytes, this.#group.index);
    this.#maps.set(area, map);
    return map;
  }

  #fileOf(area: number): { readonly file: DiskFile; readonly dataBytes: number } {
    const volume = this.#group.volumes.get(areaName(area));
    const dataBytes = volume?.catalog.preserves?.dataBytes;
    if (volume?.file && dataBytes !== undefined) return { file: volume.file, dataBytes };
    throw new JnbdError(
      'volume_abnormal',
      `group ${this.#group.name}: ${volume?.failure ?? `area ${area} of a snapshot is not there`}`,
    );
  }
}
