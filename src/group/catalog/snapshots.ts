import type { ScheduleRule } from '../../platform/schedule-text.ts';
import { areaBytes } from '../../volume/area-layout.ts';
import type { VolumeState } from './states.ts';

/** An area as a volume of the catalog: `CatalogVolume` says what its members are. */
export interface AreaEntry {
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: number;
  readonly journalOnly: boolean;
  readonly state: VolumeState;
  readonly maxHosts: number;
  readonly preserves: { readonly volume: number; readonly dataBytes: number };
}

/** Where blocks of one volume are kept for a snapshot. */
export interface SnapshotArea {
  readonly volume: number;
  /** The id of a volume, too: what `CatalogVolume.preserves` tells of. */
  readonly area: number;
}

/**
 * All volumes of a group at one instant. Of a block it has what its own area has, or the first later one
 * that has it, or the volume. `number` is that of its record, and its name in records.
 */
export interface CatalogSnapshot {
  readonly number: number;
  readonly name: string;
  /** When it was made, by its primary's clock. */
  readonly atMilliseconds: number;
  readonly areas: readonly SnapshotArea[];
  /** It can be read no more; its areas are there for older ones. */
  readonly isDeleted?: boolean | undefined;
}

/** What a snapshot is called that is made to compare systems, and deleted behind that: no user can call one so. */
export const hiddenNamePattern = /^\.verify-\d{1,15}$/;

export function hiddenName(number: number): string {
  return `.verify-${number}`;
}

/** No user is shown it. */
export function isHidden({ name }: { readonly name: string }): boolean {
  return name.startsWith('.');
}

export interface NewSnapshot {
  readonly name: string;
  readonly atMilliseconds: number;
}

export type SnapshotChange =
  | {
      readonly change: 'snapshot_created';
      readonly snapshot: NewSnapshot;
      readonly areas: readonly AreaEntry[];
    }
  | {
      readonly change: 'snapshot_deleted';
      readonly number: number;
      /** Ids of areas that nobody needs any more. */
      readonly areas: readonly number[];
    };

/** The rules that snapshots are made by are others. */
export interface ScheduleChange {
  readonly change: 'snapshots_scheduled';
  readonly rules: readonly ScheduleRule[];
}

/** What the list is behind record `number`, which is that change. */
export function changeSnapshots(
  snapshots: readonly CatalogSnapshot[],
  change: SnapshotChange,
  number: number,
): readonly CatalogSnapshot[] {
  if (change.change === 'snapshot_created') {
    const areas = change.areas.map(({ id, preserves }) => ({ volume: preserves.volume, area: id }));
    return [...snapshots, { number, ...change.snapshot, areas }];
  }
  const freed = new Set(change.areas);
  return snapshots
    .map((snapshot) => ({
      ...snapshot,
      ...(snapshot.number === change.number ? { isDeleted: true } : {}),
      areas: snapshot.areas.filter(({ area }) => !freed.has(area)),
    }))
    .filter(({ isDeleted, areas }) => isDeleted !== true || areas.length > 0);
}

/**
 * Ids of the areas that nobody needs once that snapshot is deleted: those before the oldest that is left, and its own
 * where it is hidden.
 */
export function areasFreedBy(
  snapshots: readonly CatalogSnapshot[],
  number: number,
): readonly number[] {
  const gone = snapshots.find((snapshot) => snapshot.number === number);
  // What such a one has, the one before has, too.
  const own = gone && isHidden(gone) ? gone.areas.map(({ area }) => area) : [];
  const left = livingSnapshots(snapshots).filter((snapshot) => snapshot.number !== number);
  const oldest = left[0]?.number ?? Number.POSITIVE_INFINITY;
  const links = snapshots
    .filter((snapshot) => snapshot.number < oldest)
    .flatMap(({ areas }) => areas.map(({ area }) => area));
  return [...new Set([...links, ...own])];
}

export function livingSnapshots(snapshots: readonly CatalogSnapshot[]): readonly CatalogSnapshot[] {
  return snapshots.filter(({ isDeleted }) => isDeleted !== true);
}

/**
 * Ids of the areas in which blocks of a snapshot of that volume are looked for, in this order. Undefined:
 * there is no such snapshot any more, or it does not have the volume.
 */
export function chainOf(
  snapshots: readonly CatalogSnapshot[],
  number: number,
  volume: number,
): readonly number[] | undefined {
  const first = livingSnapshots(snapshots).find((snapshot) => snapshot.number === number);
  if (!first?.areas.some((area) => area.volume === volume)) return undefined;
  return snapshots
    .filter((snapshot) => snapshot.number >= number)
    .flatMap(({ areas }) => areas.filter((area) => area.volume === volume))
    .map(({ area }) => area);
}

/** The area of a volume for a snapshot that is about to be made. */
export function areaEntry(
  id: number,
  { id: preserved, sizeBytes }: { readonly id: number; readonly sizeBytes: number },
): AreaEntry {
  return {
    id,
    name: areaName(id),
    sizeBytes: areaBytes(sizeBytes),
    journalOnly: false,
    state: 'normal',
    maxHosts: 0,
    preserves: { volume: preserved, dataBytes: sizeBytes },
  };
}

/** No volume of a user can be called so. */
export function areaName(id: number): string {
  return `@${id}`;
}
