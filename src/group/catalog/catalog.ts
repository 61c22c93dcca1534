import type { AreaRole } from '../../journal/area.ts';
import type { HistoryLimit } from '../../history/bases.ts';
import type { AreaLayout } from '../../journal/segment-chain.ts';
import type { ScheduleRule } from '../../platform/schedule-text.ts';
import { assert } from '../../platform/assert.ts';
import type { Disk } from '../../platform/disk.ts';
import type { CatalogMarker } from './catalog-markers.ts';
import type { Lineage } from './lineage.ts';
import type { Protection, ProtectionChange, SynchronousSettings } from './protection.ts';
import { changeRollback, type RollbackChange, type VolumeRollback } from './rollback.ts';
import { readSealedJson, writeSealedJson } from './sealed-json.ts';
import {
  type CatalogSnapshot,
  changeSnapshots,
  type ScheduleChange,
  type SnapshotChange,
} from './snapshots.ts';
import type { GroupRole, VolumeState } from './states.ts';

/** What a full journal means for hosts, when it is not apply that is behind. */
export type OnFull = 'suspend' | 'throttle' | 'fail';

/** Which of a follower's positions lets go of records: durable there, or in its volumes too (K9). */
export type ReleaseRule = 'received' | 'applied';

/** A secondary's volumes move under whoever reads them: they can be hidden from hosts altogether. */
export type SecondaryExports = 'read-only' | 'hidden';

export interface CatalogVolume {
  /** Never used twice in a group. */
  readonly id: number;
  readonly name: string;
  readonly sizeBytes: number;
  readonly journalOnly: boolean;
  readonly state: VolumeState;
  /** More connections than from this many different hosts are refused; 0: no limit. */
  readonly maxHosts: number;
  /** It is no volume of a user, but the area of a snapshot of that volume, which had so many bytes then. */
  readonly preserves?: { readonly volume: number; readonly dataBytes: number } | undefined;
  /** Its contents are being put back. */
  readonly rollback?: VolumeRollback | undefined;
}

/** Another history of the group that is newer than the own one, and who told of it. */
export interface TakeOver {
  readonly generation: number;
  /** Up to this number both are the same, as far as was known when it was told. */
  readonly fork: number;
  readonly systemId: number;
  readonly name: string;
  /** Where that system listens for followers; null: it did not say. */
  readonly url: string | null;
  readonly groupName: string;
}

export interface CatalogArea {
  readonly areaId: string;
  /** Absolute, or relative to the group's directory. */
  readonly path: string;
  /** Where it does not say, `journal`. */
  readonly role?: AreaRole;
}

/**
 * What a group is, besides its journal and volumes: one file, replaced whole. `number` is the last
 * change that came through the journal and is in here; later ones are found there by recovery.
 */
export interface Catalog {
  readonly formatVersion: 1;
  readonly groupId: string;
  readonly name: string;
  /** On this system. Where it does not say, `primary`. */
  readonly role?: GroupRole;
  /** Names of systems that may follow from other machines. */
  readonly allowedFollowers?: readonly string[];
  /** Which system may be primary, after a handoff to it, until its generation has begun. */
  readonly handedOver?: { readonly to: number; readonly name: string } | undefined;
  /** Who began a newer generation elsewhere, while the role is `diverged`. */
  readonly takenOver?: TakeOver | undefined;
  /** This system keeps the journal alone (K27): every volume is journal-only here. */
  readonly journalOnly?: boolean;
  /** Empty until the group was opened once. */
  readonly lineage: Lineage;
  readonly number: number;
  readonly nextVolumeId: number;
  /** With the areas of snapshots. */
  readonly volumes: readonly CatalogVolume[];
  /** In the order of their numbers. */
  readonly snapshots?: readonly CatalogSnapshot[] | undefined;
  /** By which rules the primary makes snapshots by itself; where it does not say, by none. */
  readonly snapshotSchedule?: readonly ScheduleRule[] | undefined;
  /** Of the newest change that was about snapshots, and the newest before it that a promotion cannot leave out. */
  readonly snapshotChange?: { readonly number: number; readonly after: number } | undefined;
  readonly areas: readonly CatalogArea[];
  readonly areaLayout: AreaLayout;
  readonly journalCapacityBytes: number;
  readonly onFull: OnFull;
  readonly syncIntervalMilliseconds: number;
  /** Where it does not say, `received`. */
  readonly release?: ReleaseRule;
  /** What branches may take; where it does not say, a quarter of the journal's capacity. */
  readonly branchBudgetBytes?: number;
  /** How long a follower keeps the file of a volume that its source deleted; where it does not say, 10 minutes. */
  readonly deleteDelayMilliseconds?: number;
  /** What hosts get of volumes while the group is secondary here; where it does not say, `read-only`. */
  readonly secondaryExports?: SecondaryExports;
  /** Whether checksums of its volumes are kept here; where it does not say, they are. */
  readonly checksums?: boolean;
  /** How far back this system can show the group; where it does not say, as far as somebody looks at it. */
  readonly history?: HistoryLimit | undefined;
  /** Contents of volumes go to followers at most this fast; where it does not say, without a bound. */
  readonly copyBytesPerSecond?: number;
  /** Of the newest record of that kind: whether replies to hosts wait for followers. */
  readonly protection?: Protection | undefined;
  /** Of each cut the newest marker in what a checkpoint covers. */
  readonly markers?: readonly CatalogMarker[] | undefined;
  /** A cut says how far this secondary may apply, beginning with what is applied when it is opened. */
  readonly holdsApply?: boolean | undefined;
  /** Where it does not say, as `synchronousDefaults`. */
  readonly synchronous?: SynchronousSettings;
}

/** The directories that a user named, or the one of its own. */
export function journalAreas({ areas }: Catalog): readonly CatalogArea[] {
  return areas.filter(({ role }) => role !== 'emergency');
}

/** A change of the catalog as it stands in the journal, so that followers learn it in order. */
export type CatalogChange =
  | { readonly change: 'volume_created'; readonly volume: CatalogVolume }
  | { readonly change: 'volume_changed'; readonly volume: CatalogVolume }
  | { readonly change: 'volume_deleted'; readonly id: number }
  | { readonly change: 'protection_changed'; readonly protection: ProtectionChange }
  | SnapshotChange
  | ScheduleChange
  | RollbackChange
  /** Nobody but that system may be primary behind this record (SAFETY 16). */
  | { readonly change: 'handed_over'; readonly to: number; readonly name: string };

export function changeCatalog(catalog: Catalog, change: CatalogChange, number: number): Catalog {
  assert(number > catalog.number, `catalog change ${number} follows ${catalog.number}`);
  switch (change.change) {
    case 'volume_created':
      return {
        ...catalog,
        number,
        nextVolumeId: Math.max(catalog.nextVolumeId, change.volume.id + 1),
        volumes: [...catalog.volumes, change.volume],
      };
    case 'volume_changed':
      return {
        ...catalog,
        number,
        volumes: catalog.volumes.map((volume) =>
          volume.id === change.volume.id ? change.volume : volume,
        ),
      };
    case 'handed_over': {
      const { to, name } = change;
      // A follower may know what came of it before it has it durably.
      const isSettled = catalog.lineage.some(({ firstNumber }) => firstNumber > number);
      const handedOver = isSettled ? undefined : { to, name };
      // Who gave it away still answers what it was written; the heir waits for nobody yet.
      const isGiver = catalog.role !== 'secondary';
      const protection = isGiver ? catalog.protection : undefined;
      return { ...catalog, number, role: 'secondary', handedOver, protection };
    }
    case 'protection_changed': {
      const after = lastingNumber(catalog);
      return { ...catalog, number, protection: { ...change.protection, number, after } };
    }
    case 'snapshot_created':
      return {
        ...catalog,
        number,
        nextVolumeId: Math.max(catalog.nextVolumeId, ...change.areas.map(({ id }) => id + 1)),
        volumes: [...catalog.volumes, ...change.areas],
        snapshotChange: { number, after: lastingNumber(catalog) },
        snapshots: changeSnapshots(catalog.snapshots ?? [], change, number),
      };
    case 'snapshots_scheduled':
      return {
        ...catalog,
        number,
        snapshotSchedule: change.rules,
        snapshotChange: { number, after: lastingNumber(catalog) },
      };
    case 'rollback_begun':
    case 'rollback_ended':
      return { ...catalog, number, volumes: changeRollback(catalog.volumes, change, number) };
    case 'volume_deleted':
    case 'snapshot_deleted': {
      const gone = deletedVolumes(change);
      const volumes = catalog.volumes.filter(({ id }) => !gone.includes(id));
      if (change.change === 'volume_deleted') return { ...catalog, number, volumes };
      const snapshots = changeSnapshots(catalog.snapshots ?? [], change, number);
      const snapshotChange = { number, after: lastingNumber(catalog) };
      return { ...catalog, number, volumes, snapshots, snapshotChange };
    }
  }
}

/** Volumes that it makes, areas of snapshots among them. */
export function createdVolumes(change: CatalogChange): readonly CatalogVolume[] {
  if (change.change === 'snapshot_created') return change.areas;
  return change.change === 'volume_created' ? [change.volume] : [];
}

/** Ids of volumes that it deletes. */
export function deletedVolumes(change: CatalogChange): readonly number[] {
  if (change.change === 'snapshot_deleted') return change.areas;
  return change.change === 'volume_deleted' ? [change.id] : [];
}

/**
 * Of the newest change that a promotion cannot leave out. On whom hosts wait is no such change: who is promoted
 * waits for nobody yet. Nor is a snapshot: volumes are the same without it.
 */
export function lastingNumber({ number, protection, snapshotChange }: Catalog): number {
  if (snapshotChange?.number === number) return snapshotChange.after;
  return protection?.number === number ? (protection.after ?? number) : number;
}

export function encodeChange(change: CatalogChange): Uint8Array {
  return Buffer.from(JSON.stringify(change));
}

/** The payload of a catalog record, its checksum proved, as it is to hold in a group of this catalog. */
export function decodeChange(
  payload: Uint8Array,
  { journalOnly = false }: Pick<Catalog, 'journalOnly'> = {},
): CatalogChange {
  const change = JSON.parse(Buffer.from(payload).toString('utf8')) as CatalogChange;
  if (!journalOnly) return change;
  if (change.change === 'snapshot_created')
    return { ...change, areas: change.areas.map((area) => ({ ...area, journalOnly })) };
  return 'volume' in change ? { ...change, volume: { ...change.volume, journalOnly } } : change;
}

/** Of a file that those who know no snapshots must not read: they would not preserve, and take areas for volumes. */
const formatWithSnapshots = 2;
/** Who knows no rollbacks would let hosts in on volumes that are halfway. */
const formatWithRollback = 3;

export function writeCatalog(disk: Disk, path: string, catalog: Catalog): void {
  writeSealedJson(disk, path, { ...catalog, formatVersion: formatOf(catalog) });
}

function formatOf({ volumes, snapshots = [] }: Catalog): number {
  if (volumes.some(({ rollback }) => rollback)) return formatWithRollback;
  return snapshots.length === 0 ? 1 : formatWithSnapshots;
}

/** Without the snapshots that were made behind that number. What was deleted behind it stays so. */
export function withoutSnapshotsBehind(
  { volumes, snapshots = [] }: Catalog,
  number: number,
): Pick<Catalog, 'volumes' | 'snapshots' | 'snapshotChange'> {
  const gone = snapshots.filter((snapshot) => snapshot.number > number);
  const areas = new Set(gone.flatMap((snapshot) => snapshot.areas.map(({ area }) => area)));
  return {
    volumes: volumes.filter(({ id }) => !areas.has(id)),
    snapshots: snapshots.filter((snapshot) => snapshot.number <= number),
    snapshotChange: undefined,
  };
}

/** Throws JnbdError: catalog_damaged, format_newer. */
export function readCatalog(disk: Disk, path: string): Catalog | undefined {
  const found = readSealedJson<Omit<Catalog, 'formatVersion'> & { readonly formatVersion: number }>(
    disk,
    path,
    formatWithRollback,
  );
  return found && { ...found, formatVersion: 1 };
}
